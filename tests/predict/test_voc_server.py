from __future__ import annotations

import io
import itertools
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft.artifacts import mask_png, save_mask, write_json
from deft.cli.main import main
from deft.contracts import InputError
from deft.data.layouts.voc import VOC_CLASSES
from deft.predict.masks import load
from deft.predict.voc_server import faults_of, listed_images, pack, submit
from deft.segment.deeplab import save_network
from deft.segment.inference import Inference
from deft.settings import plain
from fakes import segmenter

NAMES = ("2008_000001", "2008_000002", "2008_000003")
SIZES = {name: (24 + index, 40) for index, name in enumerate(NAMES)}
"""(H, W)."""
FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three test images and their list; another image that is not listed."""
    root = tmp_path_factory.mktemp("voc")
    (root / "JPEGImages").mkdir()
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "test.txt").write_text("".join(f"{name}\n" for name in NAMES))
    for seed, (name, (height, width)) in enumerate([*SIZES.items(), ("other", (8, 8))]):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
    return root


def write_run(folder: Path, data: str, classes: tuple[str, ...] = VOC_CLASSES) -> Path:
    save_network(folder / "segment" / "model.safetensors", segmenter(len(classes)), classes, "key")
    write_json(folder / "segment" / "stage.json", {"key": "key", "state": "done"})
    inference = plain(Inference(scales=(1.0,), flip=False))
    write_json(folder / "run.json", {"settings": {"inference": inference}, "data": {"given": data}})
    return folder


@pytest.fixture(scope="module")
def finished(voc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", f"voc:{voc}")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run to add to."""
    return shutil.copytree(finished, tmp_path / "run")


def masks() -> dict[str, np.ndarray]:
    return {name: np.random.default_rng(0).integers(0, 21, size, dtype=np.uint8) for name, size in SIZES.items()}


def archive(entries: Mapping[str, bytes]) -> io.BytesIO:
    """A .tar.gz with exactly these entries."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as out:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    file.seek(0)
    return file


def good() -> dict[str, bytes]:
    return {f"{FOLDER}/{name}.png": mask_png(mask) for name, mask in masks().items()}


def test_the_archive_is_what_the_network_sees(run: Path, voc: Path, tmp_path: Path) -> None:
    assert main(["voc-submit", str(run), "--out", str(tmp_path / "r.tar.gz"), "--comp", "5"]) == 0
    predictor = load(run)
    with tarfile.open(tmp_path / "r.tar.gz") as packed:
        assert packed.getnames() == [f"results/VOC2012/Segmentation/comp5_test_cls/{name}.png" for name in NAMES]
        for member, name in zip(packed.getmembers(), NAMES, strict=True):
            content = packed.extractfile(member)
            assert content is not None
            with Image.open(content) as image:
                assert image.mode == "P" and image.size == SIZES[name][::-1]
                expected = predictor.predict(voc / "JPEGImages" / f"{name}.jpg").mask
                np.testing.assert_array_equal(np.asarray(image), expected)
    assert main(["voc-submit", "--check", str(tmp_path / "r.tar.gz"), "--data", f"voc:{voc}"]) == 0
    assert main(["voc-submit", "--check", str(tmp_path / "r.tar.gz"), "--data", f"voc:{voc}", "--comp", "6"]) == 2


def test_masks_are_kept_and_equal_masks_make_equal_bytes(run: Path, voc: Path, tmp_path: Path) -> None:
    images = listed_images(f"voc:{voc}")
    assert submit(run, tmp_path / "a.tgz", 6, images) == 3
    first = (tmp_path / "a.tgz").read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in (run / "submission").glob("*.png")}
    assert len(kept) == 3
    os.utime(next(iter(kept)), ns=(1, 1))
    submit(run, tmp_path / "b.tgz", 6, images)
    assert (tmp_path / "b.tgz").read_bytes() == first
    assert [path.stat().st_mtime_ns for path in kept] == [1, *list(kept.values())[1:]]


def test_a_stopped_submission_goes_on(run: Path, voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = listed_images(f"voc:{voc}")
    predict, calls = Inference.predict, itertools.count()  # counted where a call begins: threads overlap

    def stops(*arguments: object) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return predict(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Inference, "predict", stops)
    with pytest.raises(KeyboardInterrupt):
        submit(run, tmp_path / "a.tgz", 6, images)
    monkeypatch.undo()
    before = {path: path.stat().st_mtime_ns for path in (run / "submission").glob("*.png")}
    assert submit(run, tmp_path / "a.tgz", 6, images) == 3
    assert before and all(path.stat().st_mtime_ns == time for path, time in before.items())
    shutil.rmtree(run / "submission")
    submit(run, tmp_path / "b.tgz", 6, images)
    assert (tmp_path / "a.tgz").read_bytes() == (tmp_path / "b.tgz").read_bytes()


def test_any_folder_and_list_will_do(run: Path, voc: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("other\n")
    words = ["voc-submit", str(run), "--out", str(tmp_path / "r.tar.gz"), "--images", str(voc / "JPEGImages")]
    assert main([*words, "--ids", str(ids)]) == 0
    with tarfile.open(tmp_path / "r.tar.gz") as packed:
        assert packed.getnames() == [f"{FOLDER}/other.png"]
    assert main(words) == 2


def test_a_good_archive_has_no_fault() -> None:
    assert faults_of(archive(good()), SIZES) == []
    assert faults_of(archive({f"./{name}": content for name, content in good().items()}), SIZES) == []


def rgb(_: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", SIZES[NAMES[0]][::-1]).save(file, format="PNG")
    return file.getvalue()


def grey(_: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("L", SIZES[NAMES[0]][::-1]).save(file, format="PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (rgb, "expected an indexed PNG of 8 bits"),
        (grey, "expected an indexed PNG of 8 bits"),
        (lambda _: mask_png(np.zeros((40, 24), np.uint8)), "24 x 40 pixels, its image has 40 x 24"),
        (lambda _: mask_png(np.full((24, 40), 21, np.uint8)), "holds 21, expected 0 to 20"),
        (lambda _: mask_png(np.full((24, 40), 255, np.uint8)), "holds 255, expected 0 to 20"),
        (lambda content: content[:-40], "damaged"),
        (lambda _: b"", "no PNG"),
    ],
)
def test_masks_that_the_server_would_refuse(spoil: Callable[[bytes], bytes], words: str) -> None:
    entries = good()
    first = f"{FOLDER}/{NAMES[0]}.png"
    entries[first] = spoil(entries[first])
    (fault,) = faults_of(archive(entries), SIZES)
    assert fault.startswith(first) and words in fault


def test_names_and_folders_that_the_server_would_refuse() -> None:
    entries = good()
    content = entries.pop(f"{FOLDER}/{NAMES[0]}.png")
    assert faults_of(archive(entries), SIZES) == [f"{NAMES[0]}.png is missing"]
    for wrong in (f"{NAMES[0]}.png", f"VOC2012/{NAMES[0]}.png", f"{FOLDER[:-14]}comp5_test_cls/{NAMES[0]}.png"):
        faults = faults_of(archive(entries | {wrong: content}), SIZES)
        assert any(fault.startswith(wrong) and "expected results/VOC2012" in fault for fault in faults)
    (extra,) = faults_of(archive(good() | {f"{FOLDER}/9999.png": content}), SIZES)
    assert "no image of that name" in extra
    assert len(faults_of(archive({}), {f"{index}": (1, 1) for index in range(30)})) == 11


def test_links_doubles_and_other_files_are_faults(tmp_path: Path) -> None:
    file = archive(good())
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as out:
        for name, content in [*good().items(), *list(good().items())[:1]]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo(f"{FOLDER}/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        out.addfile(link)
    with (tmp_path / "a.tgz").open("rb") as opened:
        faults = faults_of(opened, SIZES)
    assert any("there twice" in fault for fault in faults) and any("neither a file" in fault for fault in faults)
    cut = io.BytesIO(file.getvalue()[: len(file.getvalue()) // 2])
    for broken in (io.BytesIO(b"PK no tar"), io.BytesIO(b""), cut):
        assert any("no archive" in fault for fault in faults_of(broken, SIZES))


def test_a_bad_archive_is_never_written(run: Path, voc: Path, tmp_path: Path) -> None:
    images = listed_images(f"voc:{voc}")
    submit(run, tmp_path / "a.tgz", 6, images)
    save_mask(run / "submission" / f"{NAMES[1]}.png", np.full((5, 5), 255, np.uint8))
    with pytest.raises(InputError, match=rf"not written.*\n.*{NAMES[1]}.png: 5 x 5 pixels"):
        submit(run, tmp_path / "b.tgz", 6, images)
    assert not (tmp_path / "b.tgz").exists()


def test_packing_needs_a_competition(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected 5 .* or 6"):
        pack({}, 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "--out", "a.zip"], "takes .tar.gz or .tgz"),
        (["RUN"], "expected a run and --out ARCHIVE, or --check ARCHIVE"),
        (["RUN", "--out", "a.tgz", "--data", "folder:x"], "expected data voc:PATH"),
        (["RUN", "--out", "a.tgz", "--data", "voc:/nowhere"], "VOC's test set is a download of its own"),
        (["/nowhere", "--out", "a.tgz"], "expected a run folder"),
        (["--check", "/nowhere.tgz", "--data", "VOC"], "cannot be opened"),
        (["--check", "a.tgz"], "expected data voc:PATH"),
    ],
)
def test_what_is_wrong_is_told(
    words: list[str], message: str, run: Path, voc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put = {"RUN": str(run), "VOC": f"voc:{voc}"}
    assert main(["voc-submit", *(put.get(word, word) for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_other_classes_are_refused(voc: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", f"voc:{voc}", ("cat", "cow"))
    with pytest.raises(InputError, match="expected a network for VOC's 20 classes"):
        submit(other, tmp_path / "a.tgz", 6, listed_images(f"voc:{voc}"))
