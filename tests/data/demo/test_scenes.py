"""Layout and drawing of scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deft.contracts import IGNORE
from deft.data.demo.backdrops import CONTEXTS, GROUNDS
from deft.data.demo.scenes import CLASSES, HOME, Placed, Scene, draw, lay_out


def test_every_ground_is_shared_and_every_class_has_one() -> None:
    assert set(HOME) == set(CLASSES)
    assert all(list(HOME.values()).count(ground) >= 2 for ground in GROUNDS)


@pytest.mark.parametrize(("bias", "usual"), [(1.0, True), (0.0, False)])
def test_full_and_no_bias_place_every_object_accordingly(bias: float, usual: bool) -> None:
    for index in range(60):
        scene = lay_out((7, index), bias)
        assert 1 <= len(scene.objects) <= 3
        assert all(seen == usual for seen in scene.usual)


def test_the_same_key_gives_the_same_picture() -> None:
    first, second = draw(lay_out((1, 2), 0.5), 64), draw(lay_out((1, 2), 0.5), 64)
    assert all(np.array_equal(left, right) for left, right in zip(first, second, strict=True))
    assert first[0].dtype == first[1].dtype == first[2].dtype == np.uint8


def test_size_changes_sharpness_not_content() -> None:
    scene = lay_out((1, 5), 0.5)
    small, large = draw(scene, 48)[1], draw(scene, 144)[1][1::3, 1::3]
    assert (small == large).mean() > 0.97


def test_objects_can_be_seen_behind_each_other() -> None:
    for index in range(80):
        scene = lay_out((3, index), 0.5)
        _, mask, _ = draw(scene, 64)
        for kind in {thing.kind for thing in scene.objects}:
            assert (mask == kind + 1).mean() > 0.004


@pytest.mark.parametrize("kind", range(len(CLASSES)))
def test_a_lone_object_is_drawn_where_it_was_placed(kind: int) -> None:
    thing = Placed(kind, x=0.5, y=0.8, length=0.5, flip=True, tilt=0.0)
    _, mask, context = draw(Scene(0, 0.3, (thing,), (5, kind)), 100)
    rows, columns = np.nonzero(mask)
    assert set(np.unique(mask)) == {0, kind + 1}
    assert abs(int(rows.max()) - 80) <= 3  # it stands on its line
    assert columns.min() >= 20 and columns.max() <= 80
    assert set(np.unique(context)) == {0, 1, CONTEXTS.index("sky") + 1, IGNORE}


def test_clutter_and_hills_are_background_and_no_context() -> None:
    bush = Placed(-1, x=0.5, y=0.9, length=0.3, flip=False, tilt=0.0)
    scene = Scene(1, -0.5, (bush,), (4, 4))
    _, mask, context = draw(scene, 64)
    assert not mask.any()
    assert (context == IGNORE).any() and not (context == 0).any()
    _, _, empty = draw(replace(scene, things=()), 64)
    assert set(np.unique(empty)) == {2}


def test_a_thing_outside_the_picture_is_harmless() -> None:
    away = Placed(0, x=4.0, y=0.9, length=0.3, flip=False, tilt=0.0)
    _, mask, _ = draw(Scene(1, 0.3, (away,), (4, 4)), 64)
    assert not mask.any()
