from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deft.backbone import build_backbone
from deft.classify.classifier import ClassifierNetwork
from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.classify.sma import SmaHead
from deft.contracts import InputError
from deft.data import open_data
from deft.studies.manifold import Looking, choose_images, manifold, place
from deft.studies.runner import StudyRunner
from deft.studies.vectors import Vectors, deft_part, read_vectors

TINY = (
    "backbone=test_resnet",
    "weights=none",
    *(f"classifier.plan.{item}" for item in ("min_steps=4", "epochs=2", "batch=4", "workers=0")),
    "classifier.head.swap_epoch=2",
)


def network(head: DeftHead | LinearHead) -> ClassifierNetwork:
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet")
    return ClassifierNetwork(backbone, head.build(backbone.channels[-1], 3)).eval()


def test_vectors_are_those_the_head_pools(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    classifier = network(DeftHead(maps=4))
    found = read_vectors(classifier, data, [3, 0])
    head = deft_part(classifier)
    for place_, index in enumerate((3, 0)):
        image = torch.from_numpy(data[index].image).permute(2, 0, 1)[None]
        with torch.no_grad():
            features = classifier.backbone(image)[-1]
            assert torch.allclose(found.z_fg[place_], head.m_fg(features)[0], atol=1e-6)
            assert torch.allclose(found.z_bg[place_], head.m_bg(features)[0], atol=1e-6)


def test_a_background_of_all_stages_is_pooled_as_in_training(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    backbone = build_backbone("test_resnet")
    head = SmaHead().build_on(backbone.channels, 3)
    found = read_vectors(ClassifierNetwork(backbone, head).eval(), data, [1])
    assert head.sides is not None
    with torch.no_grad():
        maps = backbone(torch.from_numpy(data[1].image).permute(2, 0, 1)[None])
        assert torch.allclose(found.z_bg[0], head.deft.m_bg(head.sides(maps))[0], atol=1e-6)
        assert torch.allclose(found.z_fg[0], head.deft.m_fg(maps[-1])[0], atol=1e-6)


def test_a_plain_classifier_has_no_two_vectors() -> None:
    with pytest.raises(InputError, match="take irn_deft"):
        deft_part(network(LinearHead()))


def test_vectors_that_are_apart_are_measured_as_apart(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    indices = tuple(choose_images(data, Looking()))
    assert all(data.labels[index].sum() == 1 for index in indices)
    rng = np.random.default_rng(0)
    own = torch.from_numpy(10.0 * data.labels[list(indices)] @ np.eye(3, 6)).float()
    noise = torch.from_numpy(rng.normal(size=own.shape)).float()
    found = place(Vectors(indices, own + 0.01 * noise, 30 + noise), data, Looking(), seed=0)["silhouette"]
    assert found["objects by class"] > 0.9
    assert found["backgrounds by class"] < 0.5
    assert found["objects and backgrounds"] > 0.7


def test_too_few_images_are_refused(voc_data: Path) -> None:
    data = open_data(f"voc:{voc_data}").train
    assert len(choose_images(data, Looking(images=4, single_tag=False))) == 4

    class Few:
        labels = data.labels[:2]

    with pytest.raises(InputError, match="exactly one tag"):
        choose_images(Few(), Looking())  # type: ignore[arg-type]


def test_the_study_draws_and_measures(voc_data: Path, tmp_path: Path) -> None:
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


def test_a_plain_classifier_is_no_system_of_it(voc_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no system 'cam'"):
        manifold(StudyRunner(f"voc:{voc_data}", tmp_path, systems=("cam",)))
