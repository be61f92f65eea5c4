"""What each stage makes, what it keeps, and how often a method is prepared; methods here draw instead of learning."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deft.artifacts import Stage, load_mask, load_seeds, read_json, save_mask
from deft.artifacts.review import Review
from deft.classify.classifier import save_classifier
from deft.contracts import InputError, Sample, SeedMaps, Splits
from deft.data.examples import MaskedImages
from deft.engine.corrections import Corrections
from deft.engine.method import MethodContext
from deft.pipeline import Pipeline
from deft.recipes import cam
from deft.seedmaps import to_mask, upsample
from deft.segment.deeplab import DeepLab, save_network
from deft.segment.inference import Inference
from deft.stages import make
from deft.stages.context import Run
from deft.stages.corrections import take_over
from deft.stages.make import make_all, predict_some
from fakes import begun, classifier, segmenter

Begin = Callable[..., Run]

PREPARED: list[tuple[str, str]] = []
"""Kind of the method and folder of the stage, once for each time that one was prepared."""
ASKED: list[str] = []
"""Names of the images that were drawn on."""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    PREPARED.clear()
    ASKED.clear()
    yield


@dataclass(frozen=True)
class Stripes:
    """Maps of an image's tags that rise from left to right; nothing is learned."""

    height: float = 1.0

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps | None]:
        PREPARED.append(("stripes", context.folder.name))
        return self.draw

    def draw(self, sample: Sample) -> SeedMaps | None:
        ASKED.append(sample.name)
        classes = tuple(int(k) for k in np.flatnonzero(sample.labels))
        row = torch.linspace(0, self.height, 16)
        return SeedMaps(classes, row.expand(len(classes), 16, 16).clone(), (64, 64))


@dataclass(frozen=True)
class LearnedStripes(Stripes):
    """The same, with a height that is learned: a file in the folder of its stage."""

    learning: float = 0.5

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps | None]:
        PREPARED.append(("stripes", context.folder.name))
        path = context.folder / "height.txt"
        if not path.exists():
            path.write_text(str(self.learning * self.height))
        return dataclasses.replace(self, height=float(path.read_text())).draw


@dataclass(frozen=True)
class Faint:
    """Leaves an image without maps where it is not among the training images."""

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps | None]:
        known = set(context.data.names)
        return lambda sample: Stripes().draw(sample) if sample.name in known else None


@dataclass(frozen=True)
class Turned:
    """A refiner that turns maps upside down, or, where it has learned to, to the side."""

    background: float = 0.5
    learning: str | None = None

    def prepare(self, context: MethodContext) -> Callable[[Sample, SeedMaps], SeedMaps]:
        PREPARED.append(("turned", context.folder.name))
        (context.folder / "first.txt").write_text(str(context.seeds(0).maps.max().item()))
        dims = (1,) if self.learning is None else (2,)
        return lambda sample, seeds: dataclasses.replace(seeds, maps=seeds.maps.flip(dims))


@dataclass(frozen=True)
class Files:
    """Maps of a file of the user's."""

    path: str

    def check(self, splits: Splits) -> None:
        assert splits.train

    def fingerprint(self) -> str:
        return Path(self.path).read_text()

    def prepare(self, context: MethodContext) -> Callable[[Sample], SeedMaps | None]:
        return Stripes().prepare(context)


def pipeline(seeds: Any, refine: Any = None, **more: Any) -> Pipeline:
    """One without a classifier."""
    return Pipeline(
        classifier=None,
        seeds=seeds,
        seed_threshold=0.3,
        refine=refine,
        segment=None,
        inference=Inference(scales=(1.0,), flip=False),
        backbone="test_resnet",
        weights="none",
        precision="32-true",
        **more,
    )


def times(run: Run) -> dict[str, int]:
    """When each file of a run was written, but for those that belong to the folder itself."""
    files = [path for path in sorted(run.out.path.rglob("*")) if path.is_file() and path.parent != run.out.path]
    return {path.relative_to(run.out.path).as_posix(): path.stat().st_mtime_ns for path in files}


def keys(run: Run) -> dict[str, str]:
    return {path.parent.name: read_json(path)["key"] for path in run.out.path.glob("*/stage.json")}


def test_every_stage_is_made_once_and_kept(begin: Begin) -> None:
    run = begin(pipeline(LearnedStripes(), Turned(learning="aside")))
    make_all(run)
    assert PREPARED == [("stripes", "localiser"), ("turned", "refine")]
    assert sorted(ASKED) == sorted([*run.train.names, *run.val.names])
    assert keys(run).keys() == {"localiser", "seeds", "refine", "refined", "masks"}
    assert all(run.stored(name).done for name in keys(run))
    stored = run.files("seeds", run.train, ".npz", "train"), run.map_files(), run.files("masks", run.train, ".png")
    for index, (seed, refined, mask) in enumerate(zip(*stored, strict=True)):
        drawn = LearnedStripes(height=0.5).draw(run.train[index])
        assert drawn is not None
        # What is drawn is kept in 8 bits; a refiner sees what was kept.
        seeds = load_seeds(seed)
        assert seeds.classes == drawn.classes
        torch.testing.assert_close(seeds.maps, drawn.maps, atol=1 / 255, rtol=0)
        assert torch.equal(load_seeds(refined).maps, seeds.maps.flip(2))
        expected = to_mask(upsample(load_seeds(refined)), seeds.classes, 0.5)
        assert np.array_equal(load_mask(mask), expected)

    before = times(run)
    make_all(begin(run.pipeline))
    assert len(PREPARED) == 2
    assert times(run) == before


def test_a_method_that_learns_nothing_is_prepared_where_its_maps_go(begin: Begin) -> None:
    run = begin(pipeline(Stripes(), Turned()))
    make_all(run)
    assert PREPARED == [("stripes", "seeds"), ("turned", "refined")]
    assert keys(run).keys() == {"seeds", "refined", "masks"}
    assert (run.out.path / "refined" / "first.txt").read_text() == "1.0"  # it could ask for the seeds that were stored


def test_without_a_refiner_masks_are_made_of_the_seeds(begin: Begin) -> None:
    run = begin(pipeline(Stripes()))
    make_all(run)
    assert keys(run).keys() == {"seeds", "masks"}
    for seed, mask in zip(run.map_files(), run.files("masks", run.train, ".png"), strict=True):
        maps = load_seeds(seed)
        assert np.array_equal(load_mask(mask), to_mask(upsample(maps), maps.classes, 0.3))


def test_what_is_learned_does_not_depend_on_how_it_is_read(begin: Begin) -> None:
    run = begin(pipeline(LearnedStripes(height=1.0)))
    make_all(run)
    first, learned = keys(run), times(run)["localiser/height.txt"]
    other = begin(pipeline(LearnedStripes(height=0.8)))
    make_all(other)
    assert PREPARED == [("stripes", "localiser")] * 2  # to read it; what it had learned was there
    assert times(other)["localiser/height.txt"] == learned
    assert keys(other)["localiser"] == first["localiser"]
    assert keys(other)["seeds"] != first["seeds"] and keys(other)["masks"] != first["masks"]
    third = begin(pipeline(LearnedStripes(learning=0.25)))
    make_all(third)
    assert keys(third)["localiser"] != first["localiser"]
    assert load_seeds(third.map_files()[0]).maps.max().item() == pytest.approx(0.25, abs=1 / 255)


def test_stages_follow_from_what_is_before_them_and_from_nothing_behind(begin: Begin) -> None:
    known = {}
    for name, settings in {
        "base": pipeline(Stripes(), Turned()),
        "seeds": pipeline(Stripes(0.9), Turned()),
        "refined": pipeline(Stripes(), Turned(learning="aside")),
        "cut": pipeline(Stripes(), Turned(background=0.6)),
        "seed cut": dataclasses.replace(pipeline(Stripes(), Turned()), seed_threshold=0.4),
    }.items():
        run = begin(settings, name)
        make_all(run)
        known[name] = keys(run)
    changed = {
        name: {stage for stage in ("seeds", "refined", "masks") if found[stage] != known["base"][stage]}
        for name, found in known.items()
    }
    assert changed == {
        "base": set(),
        "seeds": {"seeds", "refined", "masks"},
        "refined": {"refined", "masks"},
        "cut": {"refined", "masks"},
        "seed cut": set(),
    }


def test_what_another_run_made_is_taken_over(begin: Begin) -> None:
    one = begin(pipeline(LearnedStripes()), "one")
    make_all(one)
    other = begin(pipeline(LearnedStripes(), Turned()), "other", reuse=[one.out.path])
    make_all(other)
    assert PREPARED == [("stripes", "localiser"), ("turned", "refined")]
    assert other.files("seeds", other.train, ".npz", "train")[0].samefile(one.map_files()[0])


def test_a_stopped_stage_goes_on_with_what_is_missing(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Stripes.draw

    def stopped(self: Stripes, sample: Sample) -> SeedMaps | None:
        if len(ASKED) == 5:
            raise RuntimeError("stopped")
        return draw(self, sample)

    run = begin(pipeline(LearnedStripes()))
    monkeypatch.setattr(Stripes, "draw", stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        make_all(run)
    monkeypatch.setattr(Stripes, "draw", draw)
    made = {name: time for name, time in times(run).items() if name.endswith(".npz")}
    assert run.stored("localiser").done and not run.stored("seeds").done
    assert 0 < len(made) <= 5
    ASKED.clear()
    again = begin(run.pipeline)
    make_all(again)
    assert PREPARED == [("stripes", "localiser")] * 2
    assert len(ASKED) == len(run.train) + len(run.val) - len(made)
    assert made.items() <= times(again).items()


def test_a_held_out_image_may_have_no_maps(begin: Begin) -> None:
    run = begin(pipeline(Faint()))
    make_all(run)
    assert run.stored("seeds").done
    assert all(path.exists() for path in run.map_files())
    assert not any(path.exists() for path in run.files("seeds", run.val, ".npz", "val"))


def test_maps_are_read_again_when_their_files_change(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "maps.txt").write_text("one")
    settings = pipeline(Files(str(tmp_path / "maps.txt")))
    for state, prepared in (("one", 1), ("one", 1), ("two", 2)):
        (tmp_path / "maps.txt").write_text(state)
        make_all(begin(settings))
        assert len(PREPARED) == prepared


def test_seeds_of_one_value_end_the_run_before_masks_are_made(begin: Begin) -> None:
    settings = dataclasses.replace(pipeline(Stripes(height=0.0), Turned()), seed_threshold="auto")
    run = begin(settings)
    with pytest.raises(InputError, match="seed_threshold"):
        make_all(run)
    assert not (run.out.path / "masks").exists()


def with_classifier(**more: Any) -> Pipeline:
    return dataclasses.replace(
        cam(), segment=None, backbone="test_resnet", weights="none", precision="32-true", seed_threshold=0.3, **more
    )


def untrained(*given: object, **more: object) -> None:
    raise AssertionError("trained")


def test_a_classifier_that_was_kept_before_the_kill_is_not_trained_again(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill may come between a result and its record."""
    monkeypatch.setattr(make, "fit", untrained)
    run = begin(with_classifier())
    with pytest.raises(AssertionError, match="trained"):
        make.train_classifier(run)
    stage, network = run.stored("classifier"), classifier()
    assert stage.record["state"] == "begun"
    save_classifier(stage.folder / "model.safetensors", network, run.train.classes, stage.key)
    kept = (stage.folder / "model.safetensors").read_bytes()
    assert make.train_classifier(run).done
    assert (stage.folder / "model.safetensors").read_bytes() == kept
    assert stage.record["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert make.train_classifier(begin(run.pipeline)).key == stage.key


def test_without_a_classifier_the_key_says_what_is_begun_from(begin: Begin) -> None:
    found = {}
    for name, change in {
        "base": {},
        "seed": {"seed": 1},
        "stride": {"stride": 8},
        "cut": {"seed_threshold": 0.9},
    }.items():
        run = begin(dataclasses.replace(pipeline(Stripes()), **change), name)
        found[name] = make.train_classifier(run).key
        assert not (run.out.path / "classifier").exists()
    assert found["cut"] == found["base"]
    assert len({found["base"], found["seed"], found["stride"]}) == 3


@pytest.mark.parametrize("from_classifier", [False, True])
def test_a_segmentation_network_learns_from_masks_that_hold_something_and_is_kept(
    from_classifier: bool, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def fit(network: torch.nn.Module, examples: Any, *given: object, **more: object) -> None:
        asked.append((network, examples))

    monkeypatch.setattr(make, "fit", fit)
    settings = dataclasses.replace(DeepLab(channels=16), from_classifier=from_classifier)
    run = begin(dataclasses.replace(with_classifier(), segment=settings))
    trained = classifier()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter += 0.01
    save_classifier(run.out.path / "classifier" / "model.safetensors", trained, run.train.classes, "key")
    masks = make.Masks(begun(run.out.path, "masks", state="done"))
    for index, path in enumerate(run.files("masks", run.train, ".png")):
        save_mask(path, np.full((64, 64), 255 if index in (0, 3) else 1, dtype=np.uint8))
    stage = make.train_segmentation(run, masks)
    assert stage is not None and stage.done
    ((network, examples),) = asked
    assert examples.indices == (1, 2, 4, 5, 6, 7)
    own, theirs = network.backbone.state_dict(), trained.backbone.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in own) == from_classifier
    assert all(parameter.requires_grad for parameter in network.head.parameters())
    assert stage.record["parameters"] == sum(parameter.numel() for parameter in network.parameters())

    assert make.train_segmentation(begin(run.pipeline), masks) == stage
    assert len(asked) == 1


def test_masks_that_hold_nothing_cannot_be_learned_from(begin: Begin) -> None:
    run = begin(dataclasses.replace(pipeline(Stripes()), segment=DeepLab(channels=16)))
    for path in run.files("masks", run.train, ".png"):
        save_mask(path, np.full((64, 64), 255, dtype=np.uint8))
    with pytest.raises(InputError, match="hold nothing to learn from: look at the seeds"):
        make.train_segmentation(run, make.Masks(begun(run.out.path, "masks", state="done")))
    assert make.train_segmentation(begin(pipeline(Stripes()), "none"), make.Masks(run.stored("masks"))) is None


@pytest.mark.parametrize("held_out", [True, False])
def test_predictions_are_of_the_last_split_there_is(held_out: bool, begin: Begin, splits: Splits) -> None:
    run = begin(pipeline(Stripes()), data=splits if held_out else Splits(splits.train, None))
    network = segmenter()
    save_network(run.out.path / "segment" / "model.safetensors", network, run.train.classes, "key")
    make.predict(run, make.Segmented(begun(run.out.path, "segment", state="done")))
    part, data = run.parts()[-1]
    paths = run.files("predictions", data, ".png", part)
    assert sorted((run.out.path / "predictions").rglob("*.png")) == sorted(paths)
    for index, path in enumerate(paths):
        expected = run.pipeline.inference.predict(network, data[index].image, data.classes)
        assert np.array_equal(load_mask(path), expected.mask)


def test_some_predictions_are_added_and_those_there_are_kept(begin: Begin) -> None:
    run, network = begin(pipeline(Stripes())), segmenter()
    save_network(run.out.path / "segment" / "model.safetensors", network, run.train.classes, "key")
    begun(run.out.path, "predictions", state="done")
    paths = run.files("predictions", run.train, ".png", "train")
    paths[4].parent.mkdir(parents=True)
    paths[4].write_bytes(b"kept")
    predict_some(run, "train", [1, 4])
    assert paths[4].read_bytes() == b"kept"
    assert sorted(path for path in paths if path.exists()) == [paths[1], paths[4]]
    expected = run.pipeline.inference.predict(network, run.train[1].image, run.train.classes)
    assert np.array_equal(load_mask(paths[1]), expected.mask)
    (run.out.path / "segment" / "model.safetensors").unlink()
    predict_some(run, "train", [4, 1])  # nothing is missing, so that no network is needed


def reviewed(begin: Begin, given: Pipeline, folder: Path) -> Run:
    """A run that has taken over the masks of images 0, which is held out by its name, and 2, and a rejected one."""
    review = Review(folder, ("cat", "cow", "dog"))
    for name in ("img_00", "img_02"):
        review.write(name, np.full((64, 64), 3, np.uint8), "corrected")
    review.write("img_05", None, "rejected")
    run = begin(given)
    take_over(run.out.path, run.splits, given.corrections, folder)
    return begin(given)


def test_the_network_learns_reviewed_masks_more_often_and_nothing_of_held_out_images(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dataclasses.replace(pipeline(Stripes()), segment=DeepLab(channels=16), corrections=Corrections(repeats=3))
    run = reviewed(begin, given, tmp_path / "reviewed")
    shown: list[MaskedImages] = []

    def train(run: Run, stage: Stage, network: Any, examples: MaskedImages, *_: Any) -> int:
        shown.append(examples)
        return 0

    monkeypatch.setattr(make, "_train", train)
    masks = make.make_masks(run, make.find_seeds(run, make.train_classifier(run)))
    make.train_segmentation(run, masks)
    names = [shown[0].name(index) for index in range(len(shown[0]))]
    assert names == ["img_01", "img_02", "img_02", "img_02", "img_03", "img_04", "img_06", "img_07"]
    values = {name: set(np.unique(load_mask(shown[0].masks[run.train.names.index(name)]))) for name in names}
    assert values["img_02"] == {3} and 3 not in values["img_03"]


@dataclass(frozen=True)
class Remembers:
    """A refiner that keeps what a run gives it to learn from."""

    background: float = 0.5
    learning: str | None = None

    def prepare(self, context: MethodContext) -> Callable[[Sample, SeedMaps], SeedMaps]:
        given = [context.data.names[index] for index in sorted(context.reviewed)]
        held_out = [context.data.names[index] for index in sorted(context.held_out)]
        (context.folder / "given.txt").write_text(
            f"{given} {held_out} {context.repeats} {'img_05' in context.data.names}"
        )
        return lambda sample, seeds: seeds


def test_only_a_refiner_that_learns_is_given_reviewed_masks(begin: Begin, tmp_path: Path) -> None:
    run = reviewed(begin, pipeline(Stripes(), Remembers(learning="labels")), tmp_path / "reviewed")
    make_all(run)
    assert (run.out.path / "refine" / "given.txt").read_text() == "['img_02'] ['img_00'] 5 False"
    learned = keys(run)
    shutil.rmtree(run.out.path / "corrected")
    assert {name for name, key in keys_of(begin(run.pipeline)).items() if learned[name] != key} == {
        *("seeds", "refine", "refined", "masks")  # without the review the rejected image is among the others again
    }


def test_a_refiner_that_learns_nothing_does_not_depend_on_reviewed_masks(begin: Begin, tmp_path: Path) -> None:
    given = pipeline(Stripes(), Remembers())
    Review(tmp_path / "reviewed", ("cat", "cow", "dog")).write("img_02", np.full((64, 64), 3, np.uint8), "corrected")
    before = keys_of(begin(given))
    run = begin(given)
    take_over(run.out.path, run.splits, given.corrections, tmp_path / "reviewed")
    after = keys_of(begin(given))
    assert after.pop("corrected") and after == before
    assert (run.out.path / "refined" / "given.txt").read_text() == "[] [] 5 True"


def keys_of(run: Run) -> dict[str, str]:
    """The keys of a run when all of it is made."""
    make_all(run)
    return keys(run)
