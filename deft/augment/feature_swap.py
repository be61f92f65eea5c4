"""Two-way feature swapping (DEFT, Sec. 3.2, Eq. 4-6): break the tie between an object and its usual scene.

An image is described by two vectors, one of its objects and one of its background. Within a batch each vector is paired
with a vector of another image; labels always follow the object. Backgrounds are always detached: the swap loss must
teach the classifier to ignore them, not change them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def swap_background(z_fg: Tensor, z_bg: Tensor, perm: Tensor) -> Tensor:
    """Give every object the background of another image; its labels do not change.

    Args:
        z_fg: object vectors, (N, C).
        z_bg: background vectors, (N, C); detached here.
        perm: int64 permutation of ``range(N)``, (N,).

    Returns:
        ``[object, foreign background]``, (N, 2C); its labels are ``labels``.

    >>> objects, backgrounds = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])
    >>> swap_background(objects, backgrounds, torch.tensor([1, 0])).tolist()
    [[1.0, 20.0], [2.0, 10.0]]
    """
    return torch.cat([z_fg, z_bg[perm].detach()], dim=1)


def swap_object(z_fg: Tensor, z_bg: Tensor, perm: Tensor) -> Tensor:
    """Give every background the object of another image; the labels move with the object.

    The paper detaches "z_bg and z_swap_bg". Detaching the whole swapped pair would train only f_swap, so the object
    vectors keep their gradient.

    Args:
        z_fg: object vectors, (N, C).
        z_bg: background vectors, (N, C); detached here.
        perm: int64 permutation of ``range(N)``, (N,).

    Returns:
        ``[foreign object, background]``, (N, 2C); its labels are ``labels[perm]``.

    >>> objects, backgrounds = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]])
    >>> swap_object(objects, backgrounds, torch.tensor([1, 0])).tolist()
    [[2.0, 10.0], [1.0, 20.0]]
    """
    return torch.cat([z_fg[perm], z_bg.detach()], dim=1)
