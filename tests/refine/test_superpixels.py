"""Superpixels are label maps from 1 on; without scikit-image one message says what to install."""

from __future__ import annotations

import numpy as np
import pytest

from deft.contracts import InputError
from deft.refine.superpixels import Felzenszwalb, Slic, segmentation
from fakes import noise, scene, uninstall


@pytest.mark.parametrize("make", [Slic(count=20), Felzenszwalb(smallest=20)])
def test_they_follow_the_edges_of_objects(make: Slic | Felzenszwalb) -> None:
    pytest.importorskip("skimage")
    image, inside = scene(48, 60, 1)
    labels = make(image)
    assert labels.shape == inside.shape and labels.min() == 1
    shares = [inside[labels == value].mean() for value in np.unique(labels)]
    assert len(shares) >= 2
    pure = np.mean([max(share, 1 - share) for share in shares])
    assert pure > 0.9


def test_settings_change_how_many_there_are() -> None:
    pytest.importorskip("skimage")
    image, _ = scene(64, 80, 2)
    assert Slic(count=5)(image).max() < Slic(count=80)(image).max()
    assert Felzenszwalb(smallest=400)(image).max() < Felzenszwalb(smallest=10)(image).max()


@pytest.mark.parametrize("make", [Slic(), Felzenszwalb()])
def test_without_scikit_image_the_extra_is_named(make: Slic | Felzenszwalb, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall("skimage", monkeypatch)
    for work in (segmentation, lambda: make(noise(8, 8))):
        with pytest.raises(InputError, match=r"need scikit-image.*pip install 'deft-wsss\[superpixels\]'"):
            work()


@pytest.mark.parametrize(
    ("make", "settings"), [(Slic, {"count": 0}), (Slic, {"compactness": 0.0}), (Felzenszwalb, {"scale": -1.0})]
)
def test_settings_out_of_range_are_refused(make: type, settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"^{make.__name__}"):
        make(**settings)
