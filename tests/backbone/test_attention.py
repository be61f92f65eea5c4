from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deft.backbone.attention import Listening


@pytest.mark.parametrize(
    ("tokens", "images", "grid", "before", "mask", "taken"),
    [
        (13, 1, (3, 4), 1, None, True),
        (12, 1, (3, 4), 0, None, True),
        (13, 1, (3, 4), 0, None, False),  # a cell that was padded
        (12, 2, (3, 4), 0, None, False),  # two windows
        (12, 1, (3, 4), 0, torch.zeros(12, 12), False),  # a bias of positions
    ],
)
def test_what_is_heard_counts_if_its_tokens_are_the_cells(
    tokens: int, images: int, grid: tuple[int, int], before: int, mask: Tensor | None, taken: bool
) -> None:
    query = torch.rand(images, 2, tokens, 8)
    with Listening() as heard:
        F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
    found = heard.attention(1, grid, before)
    assert (found is not None) == taken
    if found is not None:
        assert found.query is query and found.scale == 8**-0.5
