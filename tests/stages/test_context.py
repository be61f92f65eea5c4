"""A run's data, the places of its files, its thresholds, and what it gives a method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import RunFolder, Stage, read_json, save_seeds, write_json
from deft.classify.classifier import save_classifier
from deft.contracts import InputError, SeedMaps, Splits
from deft.data.examples import typical_side
from deft.engine.method import covers_as_seeds
from deft.pipeline import Pipeline
from deft.recipes import cam, irn
from deft.refine.affinity import FeatureAffinity
from deft.refine.irn import Irn
from deft.refine.pamr import Pamr
from deft.refine.par import Par
from deft.refine.psa import Psa
from deft.refine.sam_vote import SamVote
from deft.settings import key_of
from deft.stages.context import Run
from deft.thresholds import Tuned, choose, choose_refined, measure, write_tuned
from fakes import begun, classifier
from short import tiny

Begin = Callable[..., Run]
PLAIN = tiny(cam(), "segment=none", "precision=32-true")
REFINED = tiny(irn(), "segment=none", "precision=32-true")


def seeds_of(index: int, power: float = 1.0) -> SeedMaps:
    """A blob that is brightest in the middle, of the first tag of every image."""
    rows, columns = np.mgrid[:16, :16]
    away = np.hypot(rows - 7.5, columns - 7.5 + index % 3) / 10
    return SeedMaps((index % 3,), torch.from_numpy(np.clip(1 - away, 0, 1).astype(np.float32))[None] ** power, (64, 64))


def store(run: Run, stage: str, power: float = 1.0) -> list[SeedMaps]:
    """Maps of the training images as a finished stage leaves them."""
    found = [seeds_of(index, power) for index in range(len(run.train))]
    paths = run.files("seeds", run.train, ".npz", "train") if stage == "seeds" else run.map_files()
    for path, maps in zip(paths, found, strict=True):
        save_seeds(path, maps)
    begun(run.out.path, stage, f"key of {stage}", "done")
    return found


def test_it_knows_its_data(begin: Begin, splits: Splits) -> None:
    run = begin(PLAIN)
    assert splits.val is not None
    assert (run.data_key, run.val_key) == (splits.train.fingerprint(), splits.val.fingerprint())
    assert run.side == typical_side(splits.train) == 64
    assert run.parts() == [("train", splits.train), ("val", splits.val)]
    alone = begin(PLAIN, "alone", data=Splits(splits.train, None))
    assert alone.val_key == ""
    assert alone.parts() == [("train", splits.train)]


def test_files_are_named_after_the_images(begin: Begin, tmp_path: Path) -> None:
    run = begin(PLAIN)
    assert run.files("masks", run.train, ".png") == [
        tmp_path / "run" / "masks" / f"{name}.png" for name in run.train.names
    ]
    assert run.files("seeds", run.val, ".npz", "val")[0] == tmp_path / "run" / "seeds" / "val" / "img_08.npz"

    odd = dataclasses.replace(run.train, names=("deep/a", "../up", *run.train.names[2:]))
    found = [path.relative_to(tmp_path / "run" / "masks").as_posix() for path in run.files("masks", odd, ".png")]
    assert found[:2] == ["deep/a.png", "%2E%2E/up.png"]


def test_masks_are_made_of_the_last_maps(begin: Begin, tmp_path: Path) -> None:
    assert begin(PLAIN).map_files()[0] == tmp_path / "run" / "seeds" / "train" / "img_00.npz"
    assert begin(REFINED, "other").map_files()[0] == tmp_path / "other" / "refined" / "img_00.npz"


def test_a_stage_is_known_by_name_settings_and_inputs(begin: Begin) -> None:
    run = begin(PLAIN)
    stage = run.stage("seeds", PLAIN.seeds, "made of this")
    assert (stage.name, stage.folder) == ("seeds", run.out.path / "seeds")
    assert stage.key == key_of("seeds", PLAIN.seeds, "made of this")
    assert not stage.done
    with run.making(stage) as notes:
        notes["images"] = 3
    assert stage.done and stage.record["images"] == 3
    assert run.stored("seeds").key == stage.key
    assert not run.stage("seeds", PLAIN.seeds, "made of something else").done


@pytest.mark.parametrize("place", [".", "round-0"])
def test_a_stage_is_taken_over_from_another_run_or_a_round_of_it(place: str, begin: Begin, tmp_path: Path) -> None:
    key = key_of("seeds", PLAIN.seeds)
    other = Stage("seeds", tmp_path / "other" / place / "seeds", key)
    with other.making():
        (other.folder / "a.npz").write_text("made there")
    run = begin(PLAIN, reuse=[tmp_path / "other"])
    assert run.stage("seeds", PLAIN.seeds).done
    assert (run.out.path / "seeds" / "a.npz").read_text() == "made there"


def test_what_is_begun_here_is_not_what_another_run_finished(begin: Begin, tmp_path: Path) -> None:
    other = Stage("seeds", tmp_path / "other" / "seeds", key_of("seeds", PLAIN.seeds))
    with pytest.raises(RuntimeError), other.making():
        raise RuntimeError
    assert not begin(PLAIN, reuse=[tmp_path / "other"]).stage("seeds", PLAIN.seeds).done


def test_the_trained_classifier_is_a_copy_in_eval_mode(begin: Begin) -> None:
    run, trained = begin(PLAIN), classifier()
    save_classifier(run.out.path / "classifier" / "model.safetensors", trained, run.train.classes, "key")
    one, other = run.trained_classifier(), run.trained_classifier()
    assert not one.training and one is not other
    assert one.state_dict().keys() == trained.state_dict().keys()
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in one.state_dict().items())
    without = begin(dataclasses.replace(PLAIN, classifier=None), "other")
    with pytest.raises(InputError, match="read from a classifier and the recipe has none"):
        without.trained_classifier()


def test_statistics_are_measured_once_for_each_stage_that_is_made(begin: Begin) -> None:
    run = begin(REFINED)
    found = {}
    for stage, power in (("seeds", 1.0), ("refined", 3.0)):
        maps = store(run, stage, power)
        found[stage] = run.statistics(stage)
        expected = measure(run.train, maps.__getitem__)
        assert np.array_equal(found[stage].counts, expected.counts)
        assert found[stage].information == pytest.approx(expected.information, abs=1e-9)
        record = read_json(run.out.path / stage / "statistics.json")
        assert record["made_by"] == f"key of {stage}"
    assert not np.array_equal(found["seeds"].counts, found["refined"].counts)

    path = run.out.path / "seeds" / "statistics.json"
    write_json(path, {**read_json(path), "images": 99})
    assert run.statistics("seeds").images == 99  # it is read, not measured again
    begun(run.out.path, "seeds", "another key", "done")
    assert run.statistics("seeds").images == found["seeds"].images


def set_to(pipeline: Pipeline, seeds: float | str, background: float | str) -> Pipeline:
    assert pipeline.refine is not None
    refine = dataclasses.replace(pipeline.refine, background=background)  # type: ignore[type-var]
    return dataclasses.replace(pipeline, seed_threshold=seeds, refine=refine)


def test_thresholds_are_the_numbers_that_were_set(begin: Begin) -> None:
    run = begin(set_to(REFINED, 0.35, 0.6))
    store(run, "seeds")
    store(run, "refined", 2.0)
    assert (run.cuts("seeds").field, run.cuts("seeds").used, run.cuts("seeds").how) == ("seed_threshold", 0.35, "fixed")
    assert (run.cuts("refined").field, run.cuts("refined").used) == ("refine.background", 0.6)
    assert run.mask_threshold == 0.6
    plain = begin(dataclasses.replace(PLAIN, seed_threshold=0.35), "plain")
    store(plain, "seeds")
    assert plain.mask_threshold == 0.35


def test_thresholds_that_are_not_set_are_chosen_from_the_maps(begin: Begin) -> None:
    run = begin(REFINED)
    seeds, refined = (measure(run.train, maps.__getitem__) for maps in (store(run, "seeds"), store(run, "refined", 2)))
    assert (run.cuts("seeds").choice, run.cuts("seeds").how) == (choose(seeds), "auto")
    assert run.cuts("refined").choice == choose_refined(refined, seeds)
    assert run.mask_threshold == run.cuts("refined").used
    assert run.mask_threshold != run.cuts("seeds").used


def test_a_refiner_may_show_less_than_its_seeds_do(begin: Begin) -> None:
    run = begin(dataclasses.replace(REFINED, refine=Pamr()))
    seeds, refined = (measure(run.train, maps.__getitem__) for maps in (store(run, "seeds"), store(run, "refined", 2)))
    assert run.cuts("refined").choice == choose(refined) != choose_refined(refined, seeds)
    assert not any(covers_as_seeds(one) for one in (FeatureAffinity(), Pamr(), Par()))
    assert all(covers_as_seeds(one) for one in (Irn(), Psa(), SamVote()))


def test_maps_of_one_value_give_no_threshold(begin: Begin) -> None:
    run = begin(PLAIN)
    for path in run.map_files():
        save_seeds(path, SeedMaps((0,), torch.full((1, 16, 16), 0.5), (64, 64)))
    begun(run.out.path, "seeds", state="done")
    with pytest.raises(InputError, match=r"seed_threshold.*one value"):
        _ = run.mask_threshold


def test_thresholds_that_were_tuned_go_first_and_are_of_the_run_itself(begin: Begin, splits: Splits) -> None:
    run = begin(set_to(REFINED, 0.35, 0.6))
    store(run, "seeds")
    store(run, "refined")
    write_tuned(run.out.path, Tuned({"seeds": 0.41, "refined": 0.52}, ("img_00",), {"seeds": 0.0, "refined": 0.0}))
    assert (run.cuts("seeds").used, run.cuts("refined").used, run.cuts("seeds").how) == (0.41, 0.52, "tuned")
    round_of_it = Run(run.pipeline, splits, RunFolder(run.out.path, {}, own=False), home=run.out.path.parent)
    assert round_of_it.cuts("refined").used == 0.6


def test_a_method_is_given_the_classifier_the_stage_and_data_without_truth(begin: Begin) -> None:
    run, trained = begin(dataclasses.replace(PLAIN, seed=5)), classifier()
    save_classifier(run.out.path / "classifier" / "model.safetensors", trained, run.train.classes, "key")
    stage = run.stage("localiser", "settings")
    context = run.context(stage, seeds_of)
    assert (context.folder, context.made_by) == (stage.folder, stage.key)
    assert (context.side, context.seed, context.precision) == (64, 5, "32-true")
    assert context.data.names == run.train.names
    assert context.data[0].mask is None and run.train[0].mask is not None
    assert context.seeds is seeds_of
    assert context.backbone is context.classifier.backbone
    assert torch.equal(context.classifier.head.classifier.weight, trained.head.classifier.weight)
    assert run.context(stage).classifier is not context.classifier


def test_without_a_classifier_a_method_begins_from_the_same_backbone_every_time(begin: Begin) -> None:
    run = begin(dataclasses.replace(PLAIN, classifier=None))
    one, other = (run.context(run.stage("localiser", "settings")) for _ in range(2))
    assert one.network is None and not one.backbone.training and one.backbone.stride == PLAIN.stride
    states = one.backbone.state_dict(), other.backbone.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    different = begin(dataclasses.replace(PLAIN, classifier=None, seed=1), "different")
    third = different.context(different.stage("localiser", "settings")).backbone.state_dict()
    assert any(not torch.equal(value, third[name]) for name, value in states[0].items())


def test_seeds_cannot_be_asked_for_while_they_are_made(begin: Begin) -> None:
    run = begin(dataclasses.replace(PLAIN, classifier=None))
    with pytest.raises(LookupError, match="seeds of image 3 are asked for while seeds are made"):
        run.context(run.stage("seeds", "settings")).seeds(3)
