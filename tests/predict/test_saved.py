from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deft
from deft.artifacts import read_json, write_json
from deft.contracts import InputError
from deft.predict.masks import predict_folder
from deft.predict.saved import config_of, fetched, is_saved, network_in, repository, saved_inference, saved_side
from deft.refine.crf import DenseCrf
from deft.segment.deeplab import save_network
from deft.segment.inference import Inference
from deft.settings import plain
from fakes import noise, segmenter

INFERENCE = Inference(scales=(1.0, 1.5), flip=False, max_side=99)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    save_network(folder / "model.safetensors", segmenter(), ("cat", "cow", "dog"))
    write_json(folder / "config.json", config_of(("cat", "cow", "dog"), INFERENCE, 512))
    return folder


@pytest.fixture
def hub(model: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The model is what the hub has; returns what was asked for."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def download(repo: str, **more: Any) -> str:
        asked.append((repo, more))
        return str(model)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked


def test_what_is_written_is_read(model: Path) -> None:
    assert is_saved(model)
    assert saved_inference(model) == INFERENCE
    assert saved_side(model) == 512
    assert network_in(model) == model / "model.safetensors"
    found = deft.load(model)
    assert (found.inference, found.max_side, found.classes) == (INFERENCE, 512, ("cat", "cow", "dog"))
    assert deft.load(model, Inference(), max_side=None).max_side is None


def test_a_photograph_is_masked_from_such_a_folder(model: Path, own_folder: Path, tmp_path: Path) -> None:
    assert predict_folder(model, own_folder / "images", tmp_path / "out") == 6
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 6


@pytest.mark.parametrize(("name", "revision"), [("hub:jane/birds", None), ("hub:jane/birds@v1.0", "v1.0")])
def test_a_model_is_loaded_from_the_hub(name: str, revision: str | None, hub: list[Any], model: Path) -> None:
    image = noise(40, 56)
    expected = deft.load(model, precision="32-true").predict(image).mask
    assert (deft.load(name, precision="32-true").predict(image).mask == expected).all()
    repo, more = hub[0]
    assert (repo, more["revision"]) == ("jane/birds", revision)
    assert set(more["allow_patterns"]) == {"model.safetensors", "classifier.safetensors", "config.json"}
    assert deft.load(Path(name)).classes == ("cat", "cow", "dog")


@pytest.mark.parametrize("error", [OSError("404 Client Error\nRequest ID"), ValueError("offline"), RuntimeError("")])
def test_what_cannot_be_downloaded_is_told(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(InputError, match="hub:jane/birds could not be downloaded from the hub") as told:
        deft.load("hub:jane/birds")
    assert "\n" not in str(told.value)


def test_models_of_other_programs_are_refused(hub: list[Any], model: Path) -> None:
    write_json(model / "config.json", {"model_type": "segformer"})
    with pytest.raises(InputError, match="it was made by another program"):
        fetched("hub:jane/birds")


@pytest.mark.parametrize("name", ["hub:", "hub:birds", "hub:a/b/c", "hub:jane/birds@", "hub:jane birds/x"])
def test_names_are_owner_and_name(name: str, hub: list[Any]) -> None:
    with pytest.raises(InputError, match="expected OWNER/NAME"):
        deft.load(name)
    assert not hub


def test_a_repository_has_an_owner_a_name_and_perhaps_a_revision() -> None:
    assert repository("jane/birds") == ("jane/birds", None)
    assert repository("jane/birds@refs/pr/1") == ("jane/birds", "refs/pr/1")


SETTINGS = {"class": "deft.segment.inference.Inference"}
CRF = {"class": "deft.refine.crf.DenseCrf"}


def nested(deep: int) -> dict[str, Any]:
    """Settings of inference with so many brackets around its scales."""
    return {"class": "deft.segment.inference.Inference", "scales": json.loads("[" * deep + "1.0" + "]" * deep)}


@pytest.mark.parametrize(
    ("entry", "value", "told"),
    [
        ("format", 2, "expected format 1, got 2; update deft"),
        ("format", None, "expected format 1, got None"),
        ("inference", None, "expected settings of inference"),
        ("inference", {"class": "os.system"}, "not part of deft"),
        ("inference", {"class": "deft.segment.deeplab.DeepLab"}, "expected settings of inference"),
        ("inference", {"scales": {"class": "deft.pipeline.Pipeline"}}, "expected settings of inference"),
        (
            "inference",
            {**SETTINGS, "crf": {**CRF, "iterations": {"class": "deft.pipeline.Pipeline"}}},
            "expected settings",
        ),
        ("inference", {**SETTINGS, "crf": SETTINGS}, "crf: expected settings of DenseCrf or none"),
        ("inference", {**SETTINGS, "crf": {**CRF, "iterations": -1}}, "iterations"),
        ("inference", {"scales": [1.0] * 5000}, "expected settings of inference"),
        ("inference", nested(40), "scales"),
        ("inference", nested(200), "brackets nested too deeply"),
        ("inference", nested(900), "brackets nested too deeply"),
        ("inference", {"class": "deft.segment.inference.Inference", "scales": [-1.0]}, "scales"),
        ("max_side", "large", "max_side"),
        ("max_side", 3, "max_side"),
    ],
)
def test_other_versions_and_edited_configurations_are_refused(entry: str, value: Any, told: str, model: Path) -> None:
    write_json(model / "config.json", read_json(model / "config.json") | {entry: value})
    with pytest.raises(InputError, match=told):
        deft.load(model)


def test_a_crf_is_read_with_the_settings_of_inference(model: Path) -> None:
    wanted = Inference(scales=(1.0,), flip=False, crf=DenseCrf(iterations=3))
    write_json(model / "config.json", read_json(model / "config.json") | {"inference": plain(wanted)})
    assert deft.load(model).inference == wanted


def test_a_folder_without_its_network_says_why(model: Path) -> None:
    (model / "model.safetensors").rename(model / "classifier.safetensors")
    with pytest.raises(InputError, match="its run had no segmentation network"):
        deft.load(model)
    (model / "classifier.safetensors").unlink()
    with pytest.raises(InputError, match="it is incomplete"):
        deft.load(model)


def test_a_config_of_another_program_beside_a_network_changes_nothing(model: Path) -> None:
    write_json(model / "config.json", {"model_type": "segformer"})
    assert not is_saved(model)
    assert deft.load(model / "model.safetensors").inference == Inference()
    image = np.zeros((8, 8, 3), np.uint8)
    assert deft.load(model / "model.safetensors").predict(image).mask.shape == (8, 8)
