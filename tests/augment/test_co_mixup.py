"""Co-Mixup: labels that no expansion improves, images that differ, labels by area."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from deft.augment.cells import cut
from deft.augment.co_mixup import CoMixup, expanded
from deft.classify.gradients import ImageGradients
from deft.contracts import InputError, SalientAugmentation
from fakes import rng

gradients = ImageGradients(lambda x, labels: (torch.zeros_like(labels), x.square()), torch.ones(3, 1, 1))
"""Brighter pixels count more."""


def energy(labels: np.ndarray, unary: np.ndarray, border: float) -> float:
    own = sum(unary[y, x, labels[y, x]] for y, x in np.ndindex(labels.shape))
    return float(own + border * ((labels[1:] != labels[:-1]).sum() + (labels[:, 1:] != labels[:, :-1]).sum()))


@pytest.mark.parametrize("seed", range(4))
def test_labels_are_those_that_no_expansion_improves(seed: int) -> None:
    source = np.random.default_rng(seed)
    unary, start = source.random((2, 3, 3)), source.integers(0, 3, (2, 3))
    found = expanded(start, unary, 0.2)
    assert energy(found, unary, 0.2) <= energy(start, unary, 0.2)
    for new, chosen in product(range(3), product((False, True), repeat=6)):
        other = np.where(np.array(chosen).reshape(2, 3), new, found)
        assert energy(found, unary, 0.2) <= energy(other, unary, 0.2) + 1e-9
    every = [np.array(one).reshape(2, 3) for one in product(range(3), repeat=6)]
    # Boykov, Veksler and Zabih: costs that are not negative are at most twice the least.
    assert energy(found, unary, 0.2) <= 2 * min(energy(one, unary, 0.2) for one in every)


def test_two_labels_are_the_best_of_all() -> None:
    source = np.random.default_rng(0)
    unary = source.normal(size=(2, 3, 2))
    found = expanded(np.zeros((2, 3), dtype=np.int64), unary, 0.4)
    every = [np.array(one).reshape(2, 3) for one in product(range(2), repeat=6)]
    assert energy(found, unary, 0.4) == pytest.approx(min(energy(one, unary, 0.4) for one in every))


def test_what_is_shown_already_costs_and_so_images_differ() -> None:
    salience = np.full((4, 4, 4), 0.01)
    salience[0] = 1.0  # one image would fill all others
    salience /= salience.sum(axis=(1, 2), keepdims=True)
    salience[0] += 0.05
    free = CoMixup(overlap=0).sources(salience, np.random.default_rng(0))
    apart = CoMixup(overlap=1).sources(salience, np.random.default_rng(0))
    assert (free == 0).mean() > (apart == 0).mean()
    assert len(np.unique(apart)) > 1


def test_cells_stay_in_place_and_labels_are_shares_of_area() -> None:
    x, labels = torch.randn(5, 3, 16, 16, generator=rng()), torch.eye(5)
    before = x.clone(), labels.clone()
    mixed, soft = CoMixup(part=3, clean=False)(x, labels, rng(1), gradients)
    assert torch.equal(x, before[0]) and torch.equal(labels, before[1])
    assert len(mixed) == len(soft) == 5
    pieces, found = cut(x, 4), cut(mixed, 4)
    shares = torch.zeros(5, 5)
    for new, cell in product(range(5), range(16)):
        (source,) = [old for old in range(5) if torch.equal(pieces[old, cell], found[new, cell])]
        assert (source < 3) == (new < 3)  # parts are mixed among themselves
        shares[new, source] += 1 / 16
    assert torch.allclose(soft, shares)
    again = CoMixup(part=3)(x, labels, rng(1), gradients)
    assert torch.equal(again[0], torch.cat([mixed, x])) and torch.equal(again[1], torch.cat([soft, labels]))


def test_settings() -> None:
    assert isinstance(CoMixup(), SalientAugmentation)
    alone = torch.randn(1, 3, 8, 8, generator=rng())
    assert torch.equal(CoMixup(clean=False)(alone, torch.ones(1, 2), rng(), gradients)[0], alone)
    with pytest.raises(InputError, match=r"^CoMixup\.cells: expected a whole number from 1 to 8"):
        CoMixup(cells=9)
