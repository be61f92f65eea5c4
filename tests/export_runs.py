"""A finished run without its training: photographs, two of which EXIF turns, with masks of every awkward shape."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from deft.artifacts import RunFolder, save_mask
from deft.artifacts.review import Review
from deft.cli.main import main
from deft.data.images import image_size
from userfiles import save_noise

CLASSES = ("cat", "tooth brush", "dog")
PHOTOGRAPHS: Mapping[str, tuple[tuple[int, int], int]] = {
    "a.jpg": ((40, 60), 1),
    "sub/b c.png": ((30, 30), 1),
    "turned.jpg": ((36, 50), 6),
    "upside.jpg": ((44, 40), 3),
    "held/out.jpg": ((33, 47), 1),
    "held/turned.jpg": ((31, 31), 8),
}
"""Stored (H, W) and EXIF orientation of each file; those in ``held`` are held out."""


def awkward(size: tuple[int, int], seed: int, classes: int = 3) -> np.ndarray:
    """A mask with a hole, an island in it, single pixels, a region at every border, and areas to ignore."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, dtype=np.uint8)
    height, width = size
    mask[3:18, 4:20] = 1
    mask[6:14, 7:16] = 0
    mask[9:11, 10:13] = min(2, classes)
    mask[height - 6 :, : width // 2] = classes
    mask[: height // 3, width - 5 :] = min(2, classes)
    mask[height - 9, width - 9] = 1
    mask[height - 12 : height - 10, 2:5] = 255
    rows, columns = rng.integers(0, height, 4), rng.integers(0, width, 4)
    mask[rows, columns] = 1
    return mask


def write_photographs(root: Path) -> Path:
    """A ``folder:`` dataset."""
    for name, (size, orientation) in PHOTOGRAPHS.items():
        save_noise(root / "images" / name, size, orientation)
    rows = "".join(f"{name.rpartition('.')[0]},cat;dog\n" for name in PHOTOGRAPHS)
    (root / "labels.csv").write_text("image,labels\n" + rows, encoding="utf-8")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    (root / "val.txt").write_text("held/out\nheld/turned\n", encoding="utf-8")
    return root


def write_run(run: Path, data: Path) -> Path:
    """A run on these photographs, with pseudo-masks of four and predictions of two."""
    record = {
        "recipe": "cam",
        "settings": {},
        "data": {"given": f"folder:{data}", "images": 4, "held out": 2, "classes": list(CLASSES)},
    }
    folder = RunFolder(run, record)
    for stage, inside in (("masks", ""), ("predictions", "val")):
        made = folder.stage(stage, f"key of {stage}")
        with made.making():
            for index, name in enumerate(PHOTOGRAPHS):
                if name.startswith("held/") == (stage == "predictions"):
                    mask = awkward(image_size(data / "images" / name), index)
                    save_mask(made.folder / inside / f"{name.rpartition('.')[0]}.png", mask, made.key)
    folder.seal()
    folder.close()
    return run


def exported(run: Path, form: str, *options: str) -> Path:
    """The folder of an export, next to the run."""
    out = run.parent / f"{form}{len(list(run.parent.iterdir()))}"
    assert main(["export", str(run), "--format", form, "--out", str(out), *options]) == 0
    return out


def imported(run: Path, files: Path, form: str, *options: str) -> dict[str, np.ndarray]:
    """The reviewed masks after an import, by the name of their image."""
    assert main(["import", str(run), str(files), "--format", form, *options]) == 0
    review = Review(run, CLASSES)
    found = {name: review.load(name, each) for name, each in review.read().items()}
    return found


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], share: float = 0) -> None:
    """All images, and each mask equal but for a share of its pixels."""
    assert found.keys() == expected.keys()
    for name, mask in found.items():
        assert mask.shape == expected[name].shape
        assert np.count_nonzero(mask != expected[name]) <= share * mask.size, name


def own_masks(run: Path) -> dict[str, np.ndarray]:
    """The pseudo-masks of the run, by the name of their image."""
    folder = run / "masks"
    files = sorted(folder.rglob("*.png"))
    return {path.relative_to(folder).with_suffix("").as_posix(): np.array(Image.open(path)) for path in files}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
