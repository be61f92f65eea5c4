"""Co-Mixup: labels that no expansion improves, the written-out cost of a new image, labels by area."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from deft.augment import co_mixup
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


def times_shown(settings: CoMixup, image: int, salience: np.ndarray, others: np.ndarray) -> float:
    """In how many cells of other new images (m, cells, cells) an image is shown, or one that is salient elsewhere.

    The latter counts by how far away that is, divided such that all distances between n images are n in all.
    """
    count, found = len(salience), 0.0
    places = [np.unravel_index(one.argmax(), one.shape) for one in salience]
    far = {(a, b): float(np.hypot(*np.subtract(places[a], places[b]))) for a, b in np.ndindex(count, count)}
    for label in others.ravel():
        found += (1 - settings.distance) * float(label == image)
        found += settings.distance * far[image, label] * count / sum(far.values())
    return found


def written_out(
    settings: CoMixup, z: np.ndarray, salience: np.ndarray, chances: np.ndarray, others: np.ndarray
) -> float:
    """Cost of one new image ``z`` (cells, cells) beside the others (n - 1, cells, cells), cell by cell."""
    cells, cost = len(z), 0.0
    often = [times_shown(settings, image, salience, others) for image in range(len(salience))]
    for y, x in np.ndindex(z.shape):
        cost -= salience[z[y, x], y, x]
        cost -= settings.prior / cells**2 * np.log(chances[z[y, x]] + 1e-8)
        if often[z[y, x]] > settings.allowed * cells**2:
            # The cost of a pair of new images counts for either of them.
            cost += 2 * settings.overlap / cells**2 * often[z[y, x]]
        for below, beside in ((y + 1, x), (y, x + 1)):
            if below < cells and beside < cells and z[y, x] != z[below, beside]:
                cost += settings.smooth / cells**2
    return cost


@pytest.mark.parametrize("seed", range(3))
def test_each_update_has_the_cost_that_is_written_out(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count, cells, source = 4, 3, np.random.default_rng(seed + 10)
    settings = CoMixup(smooth=0.7, overlap=0.6, prior=0.4, allowed=0.57, distance=0.3, rounds=3)
    salience = source.dirichlet(np.ones(cells**2), count).reshape(count, cells, cells)
    asked = []

    def any_labels(labels: np.ndarray, unary: np.ndarray, border: float) -> np.ndarray:
        asked.append((labels.copy(), unary, border, source.integers(0, count, labels.shape)))
        return asked[-1][-1]

    monkeypatch.setattr(co_mixup, "expanded", any_labels)
    found = settings.sources(salience, np.random.default_rng(seed))
    chances = np.random.default_rng(seed).dirichlet(np.full(count, settings.alpha))
    assert len(asked) == 3 * count  # one after the other, in each of the rounds
    now, dear = np.array([labels for labels, *_ in asked[:count]]), set()
    for turn, (labels, unary, border, improved) in enumerate(asked):
        index = turn % count
        assert np.array_equal(labels, now[index])
        others = np.delete(now, index, axis=0)
        for z in source.integers(0, count, (5, cells, cells)):
            expected = written_out(settings, z, salience, chances, others)
            assert energy(z, unary, border) == pytest.approx(expected, rel=1e-9)
        dear |= {times_shown(settings, image, salience, others) > 0.57 * cells**2 for image in range(count)}
        now[index] = improved
    assert dear == {False, True}
    assert np.array_equal(found, now)


@pytest.mark.parametrize("seed", range(3))
def test_in_the_end_no_expansion_improves_any_new_image(seed: int) -> None:
    """One seed in a hundred has no end: beyond the hard threshold, images may change in turns."""
    settings = CoMixup(smooth=0.1, overlap=0.3, prior=0.4, distance=0.3, rounds=100)
    salience = np.random.default_rng(seed + 10).dirichlet(np.ones(4), 3).reshape(3, 2, 2)
    found = settings.sources(salience, np.random.default_rng(seed))
    chances = np.random.default_rng(seed).dirichlet(np.full(3, settings.alpha))
    for index, new in product(range(3), range(3)):
        others = np.delete(found, index, axis=0)
        least = written_out(settings, found[index], salience, chances, others)
        for chosen in product((False, True), repeat=4):
            other = np.where(np.array(chosen).reshape(2, 2), new, found[index])
            assert least <= written_out(settings, other, salience, chances, others) + 1e-9


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
