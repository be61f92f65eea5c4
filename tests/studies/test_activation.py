from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import load_tensors
from deft.backbone import build_backbone
from deft.contracts import InputError
from deft.data import open_data
from deft.runner.run import working
from deft.settings import assign
from deft.studies.activation import activation, probe_steps, probe_watch
from deft.studies.probe import ActivationProbe, ProbeSettings
from deft.studies.rows import recipe
from deft.studies.runner import StudyRunner

TINY = (
    "backbone=test_resnet",
    "weights=none",
    *(f"classifier.plan.{item}" for item in ("min_steps=6", "epochs=2", "batch=4", "workers=0")),
    "classifier.head.swap_epoch=2",
)
FEW = ProbeSettings(images=4, points=4, pair_images=1)


@pytest.mark.parametrize("head", ["cam", "irn_deft"])
def test_measuring_does_not_change_the_training(head: str, voc_data: Path, tmp_path: Path) -> None:
    data = f"voc:{voc_data}"
    settings = [item for item in TINY if head == "irn_deft" or "swap_epoch" not in item]
    pipeline = replace(assign(recipe(head), settings), refine=None, segment=None)
    probe = ActivationProbe(open_data(data).train, FEW)
    steps = pipeline.own_classifier.loader_plan.steps(8)
    weights = []
    for name, watch in (("plain", None), ("watched", probe_watch(probe, tmp_path / "curve.json", steps))):
        with working(pipeline, data, tmp_path / name, watch=watch):
            weights.append(load_tensors(tmp_path / name / "classifier" / "model.safetensors")[0])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert {int(step) for step in json.loads((tmp_path / "curve.json").read_text())} == probe_steps(steps, 4)


def test_measurements_are_kept_when_a_training_resumes(voc_data: Path, tmp_path: Path) -> None:
    """A training that resumes from its checkpoint keeps the measurements made before it was killed."""
    probe = ActivationProbe(open_data(f"voc:{voc_data}").train, FEW)
    network = torch.nn.ModuleDict({"backbone": build_backbone("test_resnet")})
    for steps in ((0, 1, 2), (2, 3, 4, 5, 6)):
        watch = probe_watch(probe, tmp_path / "curve.json", 6)
        for step in steps:
            watch(step, network)
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [int(step) for step in curve] == [0, 2, 4, 6]
    assert len(curve["0"]["signed"]) == len(probe.groups)


def test_the_study_writes_its_curves_and_reuses_its_runs(voc_data: Path, tmp_path: Path) -> None:
    runner = StudyRunner(f"voc:{voc_data}", tmp_path, seeds=(0, 1), settings=TINY)
    outcome = activation(runner, FEW)
    assert not outcome.failures
    found = json.loads((tmp_path / "activation.json").read_text())["found"]
    assert set(found) == {"cam", "irn_deft"}
    for values in found.values():
        assert values["steps"] == sorted(probe_steps(6, 4))
        afa = np.array(values["signed"]["afa"], dtype=float)
        assert afa.shape == (2, len(values["groups"]), len(values["steps"]))
        assert -1 <= values["signed"]["correlation"][0][0] <= 1
        assert (np.array(values["rectified"]["aba"], dtype=float)[:, 0] >= 0).all()
    page = (tmp_path / "activation.md").read_text()
    assert "| any object | irn_deft | 2 |" in page
    assert (tmp_path / "activation-curves.png").exists()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/**/*") if path.is_file()}
    activation(runner, FEW)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/**/*") if path.is_file()}


def test_data_without_masks_are_refused_before_training(folder_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "photos"
    data.mkdir()
    (data / "images").symlink_to(folder_data / "images")
    for name in ("labels.csv", "classes.txt"):
        (data / name).write_bytes((folder_data / name).read_bytes())
    with pytest.raises(InputError, match="ground-truth masks of some"):
        activation(StudyRunner(f"folder:{data}", tmp_path / "out", settings=TINY))
    assert not (tmp_path / "out").exists()
