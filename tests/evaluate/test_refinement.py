from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import deft
from deft.artifacts import load_seeds, save_seeds, write_json
from deft.contracts import SeedMaps
from deft.evaluate.refinement import KEPT, check_refinement, sentence, smoothed
from deft.evaluate.scores import evaluate
from deft.recipes import irn
from deft.runner.recorded import reopen
from deft.seedmaps import to_mask, upsample
from short import tiny


@pytest.fixture(scope="module")
def finished(folder_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "irn"
    numbers = ("seed_threshold=0.5", "refine.background=0.5", "segment=none", "precision=32-true")
    deft.run(tiny(irn(), *numbers, steps=4), f"folder:{folder_data}", out, name="irn")
    return out


def test_a_run_says_how_refinement_compares(finished: Path) -> None:
    found = json.loads((finished / "scores.json").read_text())["refinement"]
    assert found["harmed"] == (found["refined"]["colours"] < KEPT * found["seeds"]["colours"])
    run = reopen(finished)
    try:
        train = run.train
        paths = {"seeds": run.files("seeds", train, ".npz", "train"), "refined": run.map_files()}
        for stage, files in paths.items():
            statistics, equal, pixels = run.statistics(stage), 0, 0
            for index, path in enumerate(files):
                maps = load_seeds(path)
                mask = to_mask(upsample(maps), maps.classes, 0.5)
                equal += int((smoothed(mask, maps, train[index].image) == mask).sum())
                pixels += mask.size
            colours = float(statistics.information[50]) / train.labels.any(axis=1).sum()  # one image has no tag
            assert found[stage] == {"colours": round(colours, 5), "crf": round(equal / pixels, 5)}
    finally:
        run.out.close()


def test_the_crf_is_asked_once_for_the_same_maps(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = finished / "scores.json"
    scores = json.loads(path.read_text())
    asked: list[int] = []

    def smooth(mask: np.ndarray, *rest: object) -> np.ndarray:
        asked.append(1)
        return mask

    monkeypatch.setattr("deft.evaluate.refinement.smoothed", smooth)
    write_json(path, scores | {"made_of": []})
    run = reopen(finished)
    try:
        assert evaluate(run) == scores and not asked
        write_json(path, scores | {"made_of": [], "parts": scores["parts"] | {"refinement": "other maps"}})
        assert evaluate(run)["refinement"]["seeds"]["crf"] == 1 and asked
    finally:
        run.out.close()
        write_json(path, scores)


@pytest.mark.parametrize("worse", ["seeds", "refined"])
def test_masks_that_leave_the_objects_are_found_out(finished: Path, worse: str, tmp_path: Path) -> None:
    run = reopen(finished)
    try:
        paths = {"seeds": run.files("seeds", run.train, ".npz", "train"), "refined": run.map_files()}
        kept = {path: path.read_bytes() for group in paths.values() for path in group}
        for stage, group in paths.items():
            for index, path in enumerate(group):
                old, truth = load_seeds(path), run.train[index].mask
                maps = np.stack([truth == k + 1 for k in old.classes]) if old.classes else np.zeros((0, *truth.shape))
                maps = np.roll(maps, 20, axis=2) if stage == worse else maps  # beside the objects
                cells = torch.from_numpy(maps[:, ::4, ::4].astype(np.float32))
                save_seeds(path, replace(old, maps=cells), "test")
            (run.out.path / stage / "statistics.json").unlink()
        found = check_refinement(run)
        assert found["harmed"] is (worse == "refined")
        assert bool(sentence(found)) is found["harmed"]
        other = "seeds" if worse == "refined" else "refined"
        assert found[worse]["crf"] < found[other]["crf"]
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
        run.out.close()


def test_a_crf_keeps_what_follows_the_picture() -> None:
    image = np.full((40, 40, 3), 30, dtype=np.uint8)
    image[10:30, 10:30] = 220
    maps = SeedMaps((2,), torch.ones(1, 10, 10), (40, 40))
    square = np.zeros((40, 40), dtype=np.uint8)
    square[10:30, 10:30] = 3
    assert np.array_equal(smoothed(square, maps, image), square)
    shifted = np.roll(square, 12, axis=1)
    assert (smoothed(shifted, maps, image) != shifted).any()
    nothing = SeedMaps((), torch.zeros(0, 10, 10), (40, 40))
    assert not smoothed(np.zeros((40, 40), dtype=np.uint8), nothing, image).any()
