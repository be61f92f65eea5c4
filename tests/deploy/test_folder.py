from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import deft
from deft.artifacts import read_json, write_json
from deft.classify.deft import DeftHead
from deft.contracts import InputError
from deft.deploy.folder import Exported, export_model
from deft.seedmaps import full_mask
from deft.seeds.cam import Cam
from deft.segment.inference import Inference
from fakes import classifier, noise
from trained_run import CLASSES, pipeline, write_run


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Graphs are not traced: each file has the name of its graph in it. Returns the notes of each."""
    notes: list[dict[str, str]] = []

    def written(graph: Any, told: dict[str, str]) -> tuple[bytes, float]:
        notes.append(told)
        return graph.file.encode(), 1e-6

    monkeypatch.setattr("deft.deploy.folder.onnx_file", written)
    monkeypatch.setattr("deft.deploy.folder.program_file", written)
    return notes


FILES = {"README.md", "config.json", "made.sha256", "model.safetensors", "classifier.safetensors"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_has_everything(exported: tuple[Path, Exported]) -> None:
    out, done = exported
    assert names(out) == FILES | {"segment.onnx", "classifier.onnx", "run_onnx.py"}
    assert list(done.files) == ["segment.onnx", "classifier.onnx"]
    assert done.remarks == () and done.address == ""
    assert (out / "README.md").read_text(encoding="utf-8").startswith("---\n")


def test_programs_of_torch_need_no_extra(
    trained: Path, quick: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise InputError("the extra is missing")

    monkeypatch.setattr("deft.deploy.folder.needs_export", refused)
    export_model(trained, tmp_path / "out", "torch")
    assert names(tmp_path / "out") == FILES | {"segment.pt2", "classifier.pt2"}
    with pytest.raises(InputError, match="the extra is missing"):
        export_model(trained, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("size", [(75, 101), (37, 53), (64, 64)])
def test_the_program_beside_the_model_makes_the_masks_of_inference(
    size: tuple[int, int], trained: Path, exported: tuple[Path, Exported], tmp_path: Path
) -> None:
    image = np.kron(noise(size[0] // 8 + 1, size[1] // 8 + 1), np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]]
    Image.fromarray(image).save(tmp_path / "photo.png")
    said = run_onnx(exported[0], tmp_path)
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:6] == [0, 0, 0, 128, 0, 0]  # type: ignore[index]
        mask = np.asarray(picture)
    expected = deft.load(trained, Inference(scales=(1.0,), flip=False), "32-true").predict(image).mask
    assert (mask != expected).mean() < 0.005
    assert said == ", ".join(("background", *CLASSES)[value] for value in np.unique(mask))


def test_a_photograph_larger_than_the_run_reads_them_has_a_mask_of_its_size(
    trained: Path, exported: tuple[Path, Exported], tmp_path: Path
) -> None:
    image = np.kron(noise(27, 41), np.ones((40, 40, 1), np.uint8))
    Image.fromarray(image).save(tmp_path / "photo.png")
    run_onnx(exported[0], tmp_path)
    expected = deft.load(trained, Inference(scales=(1.0,), flip=False), "32-true").predict(image).mask
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.size == (1640, 1080)
        assert (np.asarray(picture) != expected).mean() < 0.005


def test_the_program_turns_photographs_upright(exported: tuple[Path, Exported], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(40, 64)).save(tmp_path / "photo.png", exif=exif)
    run_onnx(exported[0], tmp_path)
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.size == (40, 64)


def run_onnx(model: Path, folder: Path) -> str:
    words = [sys.executable, str(model / "run_onnx.py"), str(folder / "photo.png"), str(folder / "mask.png")]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_the_programs_import_three_packages_and_are_short(exported: tuple[Path, Exported]) -> None:
    for path in (Path(deft.__file__).parent / "deploy").glob("*.template"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert imported == {"json", "sys", "pathlib", "numpy", "onnxruntime", "PIL"}
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    template = Path(deft.__file__).parent / "deploy" / "run_segment.template"
    assert (exported[0] / "run_onnx.py").read_bytes() == template.read_bytes()


def test_the_folder_is_loaded_as_the_run_is(trained: Path, exported: tuple[Path, Exported]) -> None:
    image = noise(40, 60)
    ours, theirs = deft.load(trained, precision="32-true"), deft.load(exported[0], precision="32-true")
    assert (theirs.predict(image).mask == ours.predict(image).mask).all()
    assert (theirs.inference, theirs.max_side, theirs.classes) == (ours.inference, ours.max_side, CLASSES)


@pytest.mark.slow
def test_a_run_without_segmentation_exports_its_classifier_alone(
    exported: tuple[Path, Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The classifier is that of the exported run, and so is its graph, which takes long to write.
    written = (exported[0] / "classifier.onnx").read_bytes(), exported[1].files["classifier.onnx"]
    monkeypatch.setattr("deft.deploy.folder.onnx_file", lambda graph, notes: written)
    run = write_run(tmp_path / "run", pipeline("segment=none"))
    done = export_model(run, tmp_path / "out")
    assert done.remarks == ("the run has no segmentation network: only its classifier is exported",)
    assert names(tmp_path / "out") == FILES - {"model.safetensors"} | {"classifier.onnx", "run_onnx.py"}
    with pytest.raises(InputError, match="its run had no segmentation network"):
        deft.load(tmp_path / "out")
    image = noise(75, 101)
    Image.fromarray(image).save(tmp_path / "photo.png")
    assert run_onnx(tmp_path / "out", tmp_path).startswith("cat 0.")
    network = classifier(DeftHead(maps=8))
    seeds = Cam(scales=(1.0,), flip=False)(network, image)
    with Image.open(tmp_path / "mask.png") as picture:
        assert (np.asarray(picture) != full_mask(seeds, 0.3)).mean() < 0.01


def test_a_run_on_maps_of_another_tool_exports_its_segmentation_network_alone(quick: list[Any], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", pipeline("classifier=none"))
    done = export_model(run, tmp_path / "out")
    assert done.remarks == ("the run has no classifier: only its segmentation network is exported",)
    assert names(tmp_path / "out") == FILES - {"classifier.safetensors"} | {"segment.onnx", "run_onnx.py"}


def test_what_takes_the_place_of_a_crf_is_told(trained: Path, quick: list[Any], tmp_path: Path) -> None:
    assert export_model(trained, tmp_path / "plain").remarks == ()
    run = write_run(tmp_path / "run", pipeline("inference.crf=DenseCrf"))
    (remark,) = export_model(run, tmp_path / "out").remarks
    assert remark.startswith("the graph has PAMR where deft predict has its CRF")


def test_a_run_with_neither_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", pipeline("classifier=none", "segment=none"))
    with pytest.raises(InputError, match="expected a run with a segmentation network or a classifier"):
        export_model(run, tmp_path / "out", "torch")


@pytest.mark.parametrize("stage", ["segment", "classifier"])
def test_an_unfinished_run_is_refused(stage: str, quick: list[Any], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / stage / "model.safetensors").unlink()
    with pytest.raises(InputError, match=f"expected a finished run, found no {stage}/model.safetensors"):
        export_model(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def spoil_format(run: Path) -> None:
    from deft.artifacts import load_tensors, save_tensors

    tensors, header = load_tensors(run / "segment" / "model.safetensors")
    save_tensors(run / "segment" / "model.safetensors", tensors, header | {"format": 99})


def spoil_classifier(run: Path) -> None:
    from deft.artifacts import load_tensors, save_tensors

    tensors, header = load_tensors(run / "classifier" / "model.safetensors")
    save_tensors(run / "classifier" / "model.safetensors", dict(list(tensors.items())[:-1]), header)


def swap_files(run: Path) -> None:
    (run / "classifier" / "model.safetensors").write_bytes((run / "segment" / "model.safetensors").read_bytes())


def truncate(run: Path) -> None:
    path = run / "classifier" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def other_settings(run: Path) -> None:
    record = read_json(run / "run.json")
    record["settings"]["classifier"]["head"]["gone"] = 1
    write_json(run / "run.json", record)


def no_record(run: Path) -> None:
    (run / "run.json").unlink()


def another_program(run: Path) -> None:
    write_json(run / "run.json", {"model": "resnet"})


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_format, "expected format 1, got 99"),
        (spoil_classifier, "model.safetensors is damaged: "),
        (swap_files, "model.safetensors is damaged: "),
        (truncate, "expected a safetensors file"),
        (other_settings, "another version of deft, in which DeftHead had a field 'gone'"),
        (no_record, r"found no run\.json"),
        (another_program, "found no entry 'settings'"),
    ],
)
def test_runs_of_other_versions_and_damaged_ones_are_refused(
    spoil: Callable[[Path], None], told: str, quick: list[Any], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    spoil(run)
    with pytest.raises(InputError, match=told):
        export_model(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "form"), [("birds.onnx", None), ("birds.pt2", None), ("birds.pt2", "torch")])
def test_a_file_is_the_segmentation_network_alone(
    name: str, form: str | None, trained: Path, quick: list[dict[str, str]], tmp_path: Path
) -> None:
    done = export_model(trained, tmp_path / name, form)
    assert done.files == {name: 1e-6}
    assert (tmp_path / name).read_bytes() == b"segment"
    assert ("opset" in quick[0]) == name.endswith(".onnx")
    with pytest.raises(InputError, match="expected a name that is free"):
        export_model(trained, tmp_path / name, form)


@pytest.mark.parametrize(("name", "form"), [("birds.onnx", "torch"), ("birds.pt2", "onnx")])
def test_the_name_of_a_file_fits_its_format(
    name: str, form: str, trained: Path, quick: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"expected a name that ends in .* for --format {form}"):
        export_model(trained, tmp_path / name, form)


def test_places_that_hold_something_else_are_left_alone(trained: Path, quick: list[Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies inside"):
        export_model(trained, trained / "exported")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"expected a folder without README\.md"):
        export_model(trained, tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_the_same_command_again_writes_the_same(trained: Path, quick: list[Any], tmp_path: Path) -> None:
    export_model(trained, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name != "made.sha256"}
    export_model(trained, tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before


def test_a_folder_is_pushed_with_its_address_in_the_card(
    trained: Path, quick: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[Any] = []
    monkeypatch.setattr("deft.deploy.folder.push", lambda *given: pushed.append(given) or "https://hub/jane/birds")
    done = export_model(trained, tmp_path / "out", repo="jane/birds")
    assert done.address == "https://hub/jane/birds"
    ((folder, files, name),) = pushed
    assert (folder, name) == (tmp_path / "out", "jane/birds")
    assert set(files) == names(tmp_path / "out") - {"made.sha256"}
    assert 'deft.load("hub:jane/birds")' in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_what_cannot_be_pushed_is_refused_before_anything_is_made(
    trained: Path, quick: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="expected OWNER/NAME"):
        export_model(trained, tmp_path / "out", repo="birds")
    with pytest.raises(InputError, match="expected a folder as --out, got the file"):
        export_model(trained, tmp_path / "birds.onnx", repo="jane/birds")
    assert not list(tmp_path.iterdir())


def test_notes_hold_the_threshold_of_seeds(quick: list[dict[str, str]], tmp_path: Path) -> None:
    for thresholds, expected in (({"seeds": {"threshold": 0.42}}, "0.42"), ({}, "0.15")):
        run = write_run(tmp_path / expected, thresholds=thresholds)
        export_model(run, tmp_path / f"out {expected}")
        assert quick[-1]["threshold"] == expected
        assert "threshold" not in quick[-2]
