"""CDA end to end, tiny: its rounds, what they take over, and going on after a stop anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import deft
from deft.artifacts import load_tensors, read_json
from deft.augment import Cda
from deft.classify.classifier import Classifier
from deft.classify.deft import DeftHead
from deft.contracts import InputError, SampleAugmentation
from deft.data import open_data
from deft.pipeline import Pipeline
from deft.recipes import cda, cda_deft, irn, irn_deft
from deft.runner.recorded import reopen
from deft.runner.run import working
from deft.settings import assign, plain, restore
from references import stored_miou
from short import tiny


def short(pipeline: Pipeline, *more: str) -> Pipeline:
    """Shorter than the other recipes: there are up to three rounds."""
    return tiny(pipeline, "segment=none", "refine.steps=8", *more, steps=2)


def products(out: Path) -> dict[str, bytes]:
    patterns = ("**/masks/*.png", "**/seeds/*/*.npz", "**/model.safetensors")
    return {str(path.relative_to(out)): path.read_bytes() for pattern in patterns for path in out.glob(pattern)}


@pytest.fixture(scope="module")
def base(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "irn"
    deft.run(short(irn()), f"folder:{folder_data}", out, name="irn")
    return out


@pytest.fixture(scope="module")
def twice(folder_data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds, the first taken over from the run of IRN."""
    out = tmp_path_factory.mktemp("runs") / "cda"
    pipeline = short(cda(), "classifier.augment.rounds=2")
    deft.run(pipeline, f"folder:{folder_data}", out, reuse=[base], name="cda")
    return out


def stage(folder: Path, name: str) -> dict[str, object]:
    record: dict[str, object] = read_json(folder / name / "stage.json")
    return record


def test_the_first_round_is_the_system_without_cda(base: Path, twice: Path) -> None:
    for name in ("classifier", "seeds", "refine", "refined", "masks"):
        assert stage(twice / "round-0", name) == stage(base, name)
    assert "instances" not in stage(base, "classifier")


def test_every_round_trains_anew_on_the_masks_before(twice: Path, folder_data: Path) -> None:
    rounds = [twice / "round-0", twice / "round-1", twice]
    assert not (twice / "round-2").exists()
    assert not (twice / "round-1" / "round-0").exists()
    assert len({(folder / "classifier" / "model.safetensors").read_bytes() for folder in rounds}) == 3
    for folder in rounds[1:]:
        counts = stage(folder, "classifier")["instances"]
        assert isinstance(counts, dict)
        assert set(counts) == {"cat", "cow", "dog"}
        assert sum(counts.values()) > 0


def test_one_round_is_taken_over_from_two(twice: Path, base: Path, folder_data: Path, tmp_path: Path) -> None:
    """The round in the middle of two is the run of one, and is taken over as such."""
    with working(short(cda()), f"folder:{folder_data}", tmp_path / "one", reuse=[twice], name="cda"):
        assert stage(tmp_path / "one", "masks") == stage(twice / "round-1", "masks")
        assert stage(tmp_path / "one" / "round-0", "masks") == stage(base, "masks")


def test_a_round_is_a_run_that_can_be_read(twice: Path, folder_data: Path) -> None:
    for number, rounds in ((0, None), (1, 1)):
        run = reopen(twice / f"round-{number}")
        try:
            assert run.pipeline.classifier is not None
            assert getattr(run.pipeline.classifier.augment, "rounds", None) == rounds
            assert run.pipeline.segment is None
        finally:
            run.out.close()
    scores = json.loads((twice / "scores.json").read_text())
    train = open_data(f"folder:{folder_data}").train
    assert scores["train"]["masks"]["used"]["miou"] == pytest.approx(stored_miou(twice / "masks", train))


class Stopped(Exception):
    """The run is stopped here."""


def test_stopped_in_any_round_it_ends_at_the_same_files(
    twice: Path, folder_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deft.stages import shares

    pipeline = short(cda(), "classifier.augment.rounds=2")
    save, left = shares.save_mask, [3]

    def stop(*given: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped
        save(*given)  # type: ignore[arg-type]

    def run() -> None:
        deft.run(pipeline, f"folder:{folder_data}", tmp_path / "run", name="cda")

    for masks in (3, 9):  # in round 0, and after its other five in round 1
        left[0] = masks
        with monkeypatch.context() as patch:
            patch.setattr(shares, "save_mask", stop)
            with pytest.raises(Stopped):
                run()
    assert (tmp_path / "run" / "round-1" / "masks").exists()
    run()
    assert products(tmp_path / "run") == products(twice)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*") if path.is_file()}
    run()
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path.name for path in before if before[path] != after[path]} <= {"report.html"}


def test_masks_with_nothing_to_cut_are_told(base: Path, folder_data: Path, tmp_path: Path) -> None:
    pipeline = short(cda(), "classifier.augment.share=(0.00001, 0.0001)")
    with pytest.raises(InputError, match="nothing to paste"):
        deft.run(pipeline, f"folder:{folder_data}", tmp_path / "run", reuse=[base])
    assert not (tmp_path / "run" / "classifier" / "model.safetensors").exists()


def test_with_deft_every_round_has_its_head(folder_data: Path, tmp_path: Path) -> None:
    pipeline = short(cda_deft())
    deft.run(pipeline, f"folder:{folder_data}", tmp_path / "run", name="cda_deft")
    for folder in (tmp_path / "run" / "round-0", tmp_path / "run"):
        tensors, _ = load_tensors(folder / "classifier" / "model.safetensors")
        assert any("f_swap" in name for name in tensors)


def test_the_systems_differ_from_their_bases_by_the_augmentation() -> None:
    for recipe, plain_system in ((cda, irn), (cda_deft, irn_deft)):
        pipeline = recipe()
        assert isinstance(pipeline.own_classifier.augment, SampleAugmentation)
        assert assign(pipeline, ["classifier.augment=none"]) == plain_system()
        assert restore(plain(pipeline)) == pipeline
    assert isinstance(cda_deft().own_classifier.head, DeftHead)


def test_a_step_sees_sixteen_images_half_of_them_changed_and_the_rate_falls_over_all_steps() -> None:
    """VOC's 10,582 images: 1,323 steps an epoch, 6,615 in all, and no rate of nothing half way."""
    classifier = cda().own_classifier
    assert (classifier.plan.batch, classifier.loader_plan.batch) == (16, 8)
    steps = classifier.loader_plan.steps(10_582)
    assert steps == 6_615
    assert classifier.plan.optimiser.factor(steps // 2, steps) > 0.5
    assert irn().own_classifier.loader_plan == irn().own_classifier.plan


def test_an_odd_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"even classifier\.plan\.batch"):
        assign(cda(), ["classifier.plan.batch=5"])
    assert isinstance(assign(irn(), ["classifier.plan.batch=5"]).own_classifier, Classifier)


def test_defaults_are_the_published_ones() -> None:
    assert Cda() == Cda(rounds=1, share=(0.1, 0.7), rotate=90.0, scale=(1.0, 1.0), largest=0.7, blur=0.0)
