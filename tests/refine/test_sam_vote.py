"""The vote keeps classes, grid and size, and reads masks of the photograph or of the image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deft.artifacts import file_stem
from deft.contracts import InputError, Sample, SeedMaps
from deft.data.layouts.run_lengths import mask_to_counts
from deft.engine.class_free import Stack, partition
from deft.refine.sam import Sam
from deft.refine.sam_vote import MaskFolder, SamVote, stored, vote
from deft.refine.superpixels import Slic
from deft.refine.votes import MeanVote, OverlapVote
from deft.seedmaps import grid, upsample
from deft.thresholds import MapStatistics
from fakes import Scenes, method_context, uninstall


def blurred(index: int) -> SeedMaps:
    """Maps that are high on a corner of the object only, and a little around it."""
    seeds = Scenes().seeds(index)
    inside = seeds.maps[0].numpy()
    rows, columns = np.nonzero(inside)
    weak = 0.1 + 0.3 * inside
    weak[rows.min() : rows.min() + 3, columns.min() : columns.min() + 3] = 1.0
    return replace(seeds, maps=torch.from_numpy(weak.astype(np.float32))[None])


def write(folder: Path) -> Path:
    """The object of each scene and what is around it, as label maps."""
    for index, name in enumerate(Scenes().names):
        path = folder / f"{file_stem(name)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((Scenes().scenes[index][1] + 1).astype(np.uint8)).save(path)
    return folder


@pytest.mark.parametrize("rule", [MeanVote(), OverlapVote(threshold=0.35)])
def test_masks_complete_the_object(rule: MeanVote | OverlapVote, tmp_path: Path) -> None:
    settings = SamVote(MaskFolder(str(write(tmp_path / "masks"))), rule)
    assert settings.learning is None
    refine = settings.prepare(method_context(Scenes(), tmp_path, seeds=blurred))
    for index in range(4):
        seeds, (_, inside) = blurred(index), Scenes().scenes[index]
        found = refine(Scenes()[index], seeds)
        assert (found.classes, found.size) == (seeds.classes, seeds.size)
        assert found.maps.shape == (1, *grid(seeds.size)) and found.maps.dtype == torch.float32
        assert ((found.maps[0] > 0.5).numpy() == inside[::4, ::4]).all()


def test_superpixels_vote_too(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    refine = SamVote(Slic(count=30)).prepare(method_context(Scenes(), tmp_path, seeds=blurred))
    for index in range(4):
        inside = Scenes().scenes[index][1][::4, ::4]
        own, found = ((one.maps[0] > 0.5).numpy() for one in (blurred(index), refine(Scenes()[index], blurred(index))))
        assert (found == inside).mean() >= (own == inside).mean() > 0.5


def test_a_threshold_of_the_rule_is_chosen_from_the_seeds(tmp_path: Path) -> None:
    settings = SamVote(MaskFolder(str(write(tmp_path / "masks"))), OverlapVote())
    assert settings.learning == (OverlapVote(),)
    refine = settings.prepare(method_context(Scenes(), tmp_path / "stage", seeds=blurred))
    kept = MapStatistics.from_json(json.loads((tmp_path / "stage" / "statistics.json").read_text()))
    assert kept.images == 4
    assert ((refine(Scenes()[0], blurred(0)).maps[0] > 0.5).numpy() == Scenes().scenes[0][1][::4, ::4]).any()


def test_images_without_tags_need_no_masks(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    refine = SamVote(MaskFolder(str(tmp_path / "masks"))).prepare(method_context(Scenes(), tmp_path))
    empty = SeedMaps((), torch.zeros(0, *grid((40, 56))), (40, 56))
    assert refine(Scenes()[0], empty) is empty
    with pytest.raises(InputError, match="no masks of image 'folder/scene 0'"):
        refine(Scenes()[0], blurred(0))


def test_masks_of_the_photograph_are_brought_to_the_image(tmp_path: Path) -> None:
    large = np.zeros((20, 30), dtype=bool)
    large[4:12, 10:20] = True
    small = Sample("one", np.zeros((10, 15, 3), np.uint8), np.array([True]), photograph=(20, 30))
    entry = {"segmentation": {"size": [20, 30], "counts": mask_to_counts(large)}}
    (tmp_path / "one.json").write_text(json.dumps([entry]))
    segments = stored(tmp_path, small)
    assert isinstance(segments, Stack)
    assert (segments.mask(0) == large[1::2, 1::2]).all()
    (tmp_path / "one.json").unlink()
    Image.fromarray(large.astype(np.uint8) * 9).save(tmp_path / "one.png")
    onto = np.zeros((1, 10, 15))
    stored(tmp_path, small).paint(onto, np.ones((1, 1)), [0])
    assert (onto[0] > 0).tolist() == large[1::2, 1::2].tolist()
    with pytest.raises(InputError, match=r"expected masks of 10 x 15 or 40 x 60 pixels"):
        stored(tmp_path, replace(small, photograph=(40, 60)))


def test_a_mask_for_an_unknown_class_is_told() -> None:
    seeds = Scenes().seeds(0)
    whole = np.ones((1, *seeds.size), dtype=bool)
    segments = {
        name: Stack(seeds.size, (name,), lambda index: whole[index]) for name in ("square", "nothing", "unicorn")
    }
    without = vote(seeds, Stack(seeds.size, (), lambda index: whole[index]), MeanVote(), Scenes.classes)
    assert (vote(seeds, segments["square"], MeanVote(), Scenes.classes).maps != without.maps).any()
    other = vote(seeds, segments["nothing"], MeanVote(), Scenes.classes)  # a class that this image is not tagged with
    assert (other.maps == without.maps).all()
    with pytest.raises(InputError, match="got one for 'unicorn'"):
        vote(seeds, segments["unicorn"], MeanVote(), Scenes.classes)


def test_one_mask_a_pixel_changes_only_the_scale() -> None:
    seeds = Scenes().seeds(0)
    labels = np.arange(seeds.size[0] * seeds.size[1]).reshape(seeds.size) + 1
    found = vote(seeds, partition(labels), MeanVote(power=1.0), Scenes.classes)
    torch.testing.assert_close(found.maps, upsample(seeds)[:, ::4, ::4].float())


def test_missing_packages_and_folders_are_told_before_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uninstall("skimage", monkeypatch)
    uninstall("transformers", monkeypatch)
    splits: object = None  # nothing of the data is looked at
    for source, said in (
        (MaskFolder(), r"refine\.masks\.folder"),
        (MaskFolder(str(tmp_path / "none")), r"refine\.masks\.folder"),
        (Slic(), "scikit-image"),
        (Sam("model"), "transformers"),
    ):
        with pytest.raises(InputError, match=said):
            SamVote(source).check(splits)  # type: ignore[arg-type]


def test_only_files_have_a_fingerprint(tmp_path: Path) -> None:
    folder = write(tmp_path / "masks")
    settings = SamVote(MaskFolder(str(folder)))
    before = settings.fingerprint()
    assert before != "" == SamVote(Slic()).fingerprint()
    moved = SamVote(MaskFolder(str(folder.rename(tmp_path / "moved"))))
    assert moved.fingerprint() == before
    Image.new("L", (56, 40)).save(next(iter((tmp_path / "moved").rglob("*.png"))))
    assert moved.fingerprint() != before


def test_a_name_that_no_file_can_have_is_in_the_fingerprint(tmp_path: Path) -> None:
    settings = SamVote(MaskFolder(str(tmp_path)))
    found = []
    for content in ("[]", "[ ]"):
        (tmp_path / "a%3Fb.json").write_text(content)  # of the image a?b
        found.append(settings.fingerprint())
    assert found[0] != found[1]


@pytest.mark.parametrize("background", [1.5, -0.1, 0.123])
def test_thresholds_out_of_range_are_refused(background: float) -> None:
    with pytest.raises(InputError, match=r"refine\.background"):
        SamVote(background=background)
