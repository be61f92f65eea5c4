"""Maps for the page: the run's own threshold gives the run's own masks, and the packed form is what the page reads."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deft.artifacts import load_mask, load_seeds, save_seeds
from deft.contracts import InputError
from deft.export.source import PSEUDO, Source
from deft.review.maps import final, map_file, maps_of, mask_at, own_threshold, packed
from review_runs import SEED_THRESHOLD, THRESHOLD, write_run


@pytest.mark.parametrize("refined", [True, False])
@pytest.mark.parametrize("max_side", [None, 40])
def test_the_runs_own_threshold_gives_the_runs_own_masks(
    refined: bool, max_side: int | None, voc_data: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", f"voc:{voc_data}", refined=refined, max_side=max_side)
    source = Source.of(run)
    threshold = own_threshold(source)
    assert threshold == (THRESHOLD if refined else SEED_THRESHOLD)
    assert final(source) == ("refined" if refined else "seeds")
    for item in source.items.values():
        if item.part == "train":
            mask = mask_at(source, item, threshold)
            assert mask.shape == (64, 64)
            assert (mask == source.mask(PSEUDO, item)).all()
    assert len(np.unique(load_mask(run / "masks" / "img_03.png"))) == 3  # it is no trivial comparison


def test_another_threshold_gives_another_mask(made: Path) -> None:
    source = Source.of(made)
    item = source.items["img_00"]
    areas = [np.count_nonzero(mask_at(source, item, threshold)) for threshold in (0.1, 0.3, 0.6, 0.99)]
    assert areas == sorted(areas, reverse=True)
    assert len(set(areas)) == 4


def test_held_out_images_have_no_maps_that_masks_are_made_from(made: Path) -> None:
    source = Source.of(made)
    for kind in ("final", "refined", "seeds"):
        assert map_file(source, kind, source.items["img_10"]) is None
        with pytest.raises(InputError, match="has no"):
            maps_of(source, kind, source.items["img_10"])


def test_packed_maps_are_what_the_page_reads(made: Path) -> None:
    maps = load_seeds(made / "refined" / "img_03.npz")
    content = packed(maps)
    assert struct.unpack("<7I", content[:28]) == (2, 16, 16, 64, 64, 1, 2)
    assert (np.frombuffer(content[28:], "<f4").reshape(2, 16, 16) == maps.maps.numpy()).all()
    none = packed(load_seeds(made / "refined" / "img_05.npz"))
    assert struct.unpack("<5I", none) == (0, 16, 16, 64, 64)


@pytest.mark.parametrize("thresholds", [None, {}, {"refined": {}}, {"refined": {"threshold": "x"}}, {"refined": 3}])
def test_a_run_without_its_threshold_has_none(thresholds: object, run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"thresholds": thresholds}))
    assert own_threshold(Source.of(run)) is None


def test_maps_of_classes_that_the_run_does_not_have_are_refused(run: Path) -> None:
    path = run / "refined" / "img_00.npz"
    save_seeds(path, replace(load_seeds(path), classes=(7,)))
    with pytest.raises(InputError, match="img_00"):
        maps_of(Source.of(run), "refined", Source.of(run).items["img_00"])
    path.write_bytes(b"no maps")
    with pytest.raises(InputError, match=r"img_00\.npz"):
        mask_at(Source.of(run), Source.of(run).items["img_00"], 0.3)
