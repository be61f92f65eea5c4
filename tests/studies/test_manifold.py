from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.contracts import InputError
from deft.data import open_data
from deft.studies.manifold import ManifoldSettings, choose_images, embed, manifold
from deft.studies.runner import StudyRunner
from deft.studies.vectors import Vectors

TINY = (
    "backbone=test_resnet",
    "weights=none",
    *(f"classifier.plan.{item}" for item in ("min_steps=4", "epochs=2", "batch=4", "workers=0")),
    "classifier.head.swap_epoch=2",
)


def test_separate_clusters_have_high_silhouettes(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    indices = tuple(choose_images(data, ManifoldSettings()))
    assert all(data.labels[index].sum() == 1 for index in indices)
    rng = np.random.default_rng(0)
    own = torch.from_numpy(10.0 * data.labels[list(indices)] @ np.eye(3, 6)).float()
    noise = torch.from_numpy(rng.normal(size=own.shape)).float()
    found = embed(Vectors(indices, own + 0.01 * noise, 30 + noise), data, ManifoldSettings(), seed=0)["silhouette"]
    assert found["objects by class"] > 0.9
    assert found["backgrounds by class"] < 0.5
    assert found["objects and backgrounds"] > 0.7


def test_too_few_images_are_refused(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    assert len(choose_images(data, ManifoldSettings(images=4, single_tag=False))) == 4

    class Few:
        labels = data.labels[:2]

    with pytest.raises(InputError, match="exactly one tag"):
        choose_images(Few(), ManifoldSettings())  # type: ignore[arg-type]


def test_the_study_plots_and_measures(voc_data: Path, tmp_path: Path) -> None:
    outcome = manifold(StudyRunner(f"voc:{voc_data}", tmp_path, seeds=(0, 1), settings=TINY))
    assert not outcome.failures
    found = json.loads((tmp_path / "manifold.json").read_text())["found"]["irn_deft"]
    assert set(found) == {"0", "1"}
    one = found["0"]
    assert len(one["names"]) == len(one["classes"]) == len(one["objects"]) == len(one["backgrounds"])
    assert -1 <= one["silhouette"]["objects and backgrounds"] <= 1
    for name in ("classes", "kinds"):
        assert (tmp_path / f"manifold-irn_deft-{name}.png").exists()
    assert "| irn_deft | 2 |" in (tmp_path / "manifold.md").read_text()


def test_systems_without_defts_head_are_refused(voc_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no system 'cam'"):
        manifold(StudyRunner(f"voc:{voc_data}", tmp_path, systems=("cam",)))
