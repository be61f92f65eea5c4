from __future__ import annotations

from pathlib import Path

import deft
from deft.data import open_data
from deft.data.opening import places
from deft.data.places import HasPlaces, places_of


def test_folders_of_files_and_files_that_are_links(tmp_path: Path) -> None:
    (tmp_path / "b.png").symlink_to("elsewhere/c.png")
    assert places_of([tmp_path / "a.png", None, tmp_path / "b.png"]) == {tmp_path, tmp_path / "b.png"}


def test_every_layout_knows_its_places(folder_data: Path, voc_data: Path) -> None:
    for kind, root, inner in (("folder", folder_data, "masks"), ("voc", voc_data, "SegmentationContext")):
        splits = open_data(f"{kind}:{root}")
        assert isinstance(splits.train, HasPlaces)
        found = set(places(splits, f"{kind}:{root}"))
        assert {root, root / inner} <= found
    assert not list(places(open_data("demo:train=2,val=0"), "demo:train=2,val=0"))


def test_a_dataset_of_ones_own_names_its_files(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    data = deft.ImageDataset(("owl",), deft.multi_hot([[0]], 1), lambda index: None, files=[tmp_path / "photos"])  # type: ignore[arg-type,return-value]
    assert list(places(deft.Splits(data, None))) == [tmp_path / "photos"]
