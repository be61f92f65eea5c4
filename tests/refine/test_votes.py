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
        under = np.zeros_like(own)
        for m, mask in enumerate(masks):
            if m not in taken:
                under |= mask
            common = (mask & own).sum()
            most = own.sum() > 0 and common / max(own.sum(), 1) >= rule.covered
            if m not in taken and (common / mask.sum() > rule.inside or most):
                taken.add(m)
                found[mask] = c
        found[own & ~under] = c
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


@pytest.mark.parametrize(("rule", "wins"), [(MeanVote(), 1), (OverlapVote(threshold=0.1, inside=0.1), 0)])
def test_a_mask_that_was_prompted_votes_for_its_class_alone(rule: MeanVote | OverlapVote, wins: int) -> None:
    maps = np.full((2, 4, 4), 0.3)
    maps[0] = 0.9
    whole = np.ones((1, 4, 4), dtype=bool)
    free, first, second, neither = (rule(maps, stack(whole), [only]) for only in (None, 0, 1, -1))
    assert free[0].min() > 0.5 and first[0].min() > 0.5
    assert second[wins].min() > 0.5 and not second[1 - wins].any()  # by overlap, the second class has no pixel there
    assert (neither == rule(maps, stack(whole[:0]), [])).all()  # of a class that the image is not tagged with


@pytest.mark.parametrize("rule", [MeanVote(), OverlapVote(threshold=0.1, inside=0.1)])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("only", [-1, 1])
def test_a_false_box_erases_no_object(rule: MeanVote | OverlapVote, order: tuple[int, int], only: int) -> None:
    maps = np.zeros((2, 6, 6))
    maps[0, 1:4, 1:5] = 0.9  # the cow
    cow, box = np.zeros((6, 6), dtype=bool), np.zeros((6, 6), dtype=bool)
    cow[1:4, 1:5], box[:, 2:] = True, True
    allowed = [(None, only)[place] for place in order]
    found = rule(maps, stack(np.stack([cow, box])[list(order)]), allowed)
    assert (found[0] > 0.5).tolist() == cow.tolist() and not found[1].any()


def test_where_the_maps_see_another_class_a_prompted_mask_is_unsure() -> None:
    maps = np.zeros((2, 4, 8))
    maps[0, :, :4], maps[1, :, 4:], maps[1, :, :4] = 0.9, 0.8, 0.08
    cow, boat, box = (np.zeros((4, 8), dtype=bool) for _ in range(3))
    cow[:, :4], boat[:, 4:], box[:, :4] = True, True, True
    found = MeanVote()(maps, stack(np.stack([cow, boat, box])), [None, None, 1])
    assert (found.argmax(axis=0) == np.repeat([0, 1], 4)).all() and found.max(axis=0).min() > 0.5


def test_surely_background_is_painted_over_an_unsure_object() -> None:
    maps = np.zeros((1, 4, 4))
    maps[0, :, :2], maps[0, 0, 0] = 0.9, 1.0
    object_, nothing, sure = (np.zeros((4, 4), dtype=bool) for _ in range(3))
    object_[1:, :3], nothing[1:, 1:], sure[0, :1] = True, True, True
    found = MeanVote()(maps, stack(np.stack([object_, nothing, sure])), FREE[:3])
    assert (found[0] > 0.5).tolist() == [[True, True, False, False], *[[True, False, False, False]] * 3]


def test_a_mask_with_exactly_the_share_is_taken() -> None:
    maps = np.zeros((1, 1, 40))
    maps[0, 0, :20] = 1.0
    mask = np.zeros((1, 1, 40), dtype=bool)
    mask[0, 0, 3:] = True  # 17 of the 20 pixels: 0.85 of the class, and not half of the mask
    found = OverlapVote(threshold=0.5)(maps, stack(mask), FREE[:1])
    assert found[0, 0].tolist() == [1.0] * 40
    mask[0, 0, 3] = False
    assert OverlapVote(threshold=0.5)(maps, stack(mask), FREE[:1])[0, 0].sum() == 4


def test_a_class_keeps_what_lies_under_a_mask_of_another() -> None:
    maps = np.zeros((2, 1, 10))
    maps[0, 0, :6], maps[1, 0, 6:] = 1.0, 1.0
    found = OverlapVote(threshold=0.5)(maps, stack(np.ones((1, 1, 10), dtype=bool)), FREE[:1])
    assert found.argmax(axis=0)[0].tolist() == [0] * 6 + [1] * 4


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
