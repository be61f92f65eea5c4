"""The rules equal their formulas, pixel by pixel and mask by mask."""

from __future__ import annotations

import numpy as np
import pytest

from deft.contracts import InputError
from deft.engine.class_free import Stack, partition
from deft.refine.votes import MeanVote, OverlapVote

FREE = (None,) * 9


def stack(masks: np.ndarray) -> Stack:
    return Stack(masks.shape[1:], ("",) * len(masks), lambda index: masks[index])


def given(seed: int, masks: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Maps (3, 9, 11) and masks (M, 9, 11) that overlap and leave pixels out."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 7, (masks, 2))
    inside = np.zeros((masks, 9, 11), dtype=bool)
    for mask, (y, x) in zip(inside, corners, strict=True):
        mask[y : y + 4, x : x + 5] = True
    return rng.random((3, 9, 11)), inside


def slow_mean(maps: np.ndarray, masks: np.ndarray, power: float) -> np.ndarray:
    """FMA's label map, 0 for background; pixels without a mask by their own maps."""
    means = np.array([[maps[k][mask].mean() for k in range(len(maps))] for mask in masks])
    votes = means / means.max(axis=0)
    labels, sure = [], []
    for vote in votes:
        scores = [(1 - vote.max()) ** power, *vote]
        labels.append(int(np.argmax(scores)))
        sure.append(max(scores))
    found = np.zeros(maps.shape[1:], dtype=int)
    for y in range(maps.shape[1]):
        for x in range(maps.shape[2]):
            over = [m for m in range(len(masks)) if masks[m, y, x]]
            if over:
                found[y, x] = labels[max(over, key=lambda m: (sure[m], m))]
            else:
                found[y, x] = int(np.argmax([(1 - maps[:, y, x].max()) ** power, *maps[:, y, x]]))
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("power", [0.7, 2.0])
def test_the_mean_vote_is_fmas_argmax(seed: int, power: float) -> None:
    maps, masks = given(seed)
    found = MeanVote(power)(maps, stack(masks), FREE[: len(masks)])
    assert found.min() >= 0 and found.max() <= 1
    labels = np.where(found.max(axis=0) > 0.5, found.argmax(axis=0) + 1, 0)
    assert (labels == slow_mean(maps, masks, power)).all()


def test_shares_are_class_over_largest_class_and_background() -> None:
    maps = np.zeros((2, 4, 4))
    maps[0, :2], maps[1, :2], maps[0, 2:], maps[1, 2:] = 0.8, 0.2, 0.4, 0.4
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[0, :2], masks[1, 2:] = True, True
    found = MeanVote(power=1.0)(maps, stack(masks), FREE[:2])
    assert found[:, 0, 0] == pytest.approx([1.0, 0.5])  # means (1, 0.5), so that no background is left
    assert found[:, 3, 0] == pytest.approx([0.5, 1.0])
    maps[:, 2:] = 0.2
    found = MeanVote(power=1.0)(maps, stack(masks), FREE[:2])
    assert found[:, 3, 0] == pytest.approx([0.25, 1.0])  # means (0.25, 1): 0.2 is the largest of the second class


def slow_overlap(maps: np.ndarray, masks: np.ndarray, rule: OverlapVote) -> np.ndarray:
    """SEPL's label map, 0 for background."""
    labels = np.where(maps.max(axis=0) > rule.threshold, maps.argmax(axis=0) + 1, 0)
    found, taken = np.zeros_like(labels), set()
    for c in range(1, len(maps) + 1):
        own = labels == c
        for m, mask in enumerate(masks):
            common = (mask & own).sum()
            most = own.sum() > 0 and common / max(own.sum(), 1) >= rule.covered
            if m not in taken and (common / mask.sum() > rule.inside or most):
                taken.add(m)
                found[mask] = c
        found[own & ~masks.any(axis=0)] = c
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("inside", [0.2, 0.5])
def test_the_overlap_vote_is_sepls(seed: int, inside: float) -> None:
    maps, masks = given(seed)
    rule = OverlapVote(inside=inside, covered=0.4, threshold=0.6)
    found = rule(maps, stack(masks), FREE[: len(masks)])
    assert set(np.unique(found)) <= {0.0, 1.0}
    expected = slow_overlap(maps, masks, rule)
    assert len(np.unique(expected)) > 2
    assert (np.where(found.any(axis=0), found.argmax(axis=0) + 1, 0) == expected).all()


@pytest.mark.parametrize("rule", [MeanVote(), OverlapVote(threshold=0.5, inside=0.1)])
def test_a_label_map_votes_as_its_masks(rule: MeanVote | OverlapVote) -> None:
    maps, _ = given(3)
    labels = np.random.default_rng(4).integers(0, 5, (9, 11)) * 7
    masks = np.stack([labels == value for value in (7, 14, 21, 28)])
    found = rule(maps, partition(labels), FREE[:4])
    assert found == pytest.approx(rule(maps, stack(masks), FREE[:4]))


@pytest.mark.parametrize("rule", [MeanVote(), OverlapVote(threshold=0.1, inside=0.1)])
def test_a_mask_that_was_prompted_votes_for_its_class_alone(rule: MeanVote | OverlapVote) -> None:
    maps = np.full((2, 4, 4), 0.3)
    maps[0] = 0.9
    whole = np.ones((1, 4, 4), dtype=bool)
    free, first, second, neither = (rule(maps, stack(whole), [only]) for only in (None, 0, 1, -1))
    assert free[0].min() > 0.5 and first[0].min() > 0.5
    assert not second[0].any() and not neither.any()


@pytest.mark.parametrize("rule", [MeanVote(), OverlapVote(threshold=0.5)])
def test_without_masks_the_maps_decide(rule: MeanVote | OverlapVote) -> None:
    maps, masks = given(1)
    for none in (stack(masks[:0]), partition(np.zeros((9, 11), dtype=int)), stack(masks[:1] & False)):
        found = rule(maps, none, FREE[: len(none.classes)])
        assert (found.argmax(axis=0) == maps.argmax(axis=0))[found.any(axis=0)].all() and found.any()
    assert not rule(maps * 0, stack(masks), FREE[: len(masks)]).any()


@pytest.mark.parametrize(
    ("rule", "settings"),
    [(MeanVote, {"power": 0.0}), (OverlapVote, {"inside": 1.5}), (OverlapVote, {"covered": -0.1})],
)
def test_settings_out_of_range_are_refused(rule: type, settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"^{rule.__name__}"):
        rule(**settings)
    with pytest.raises(InputError, match=r"refine\.rule\.threshold"):
        OverlapVote(threshold=1.5)
