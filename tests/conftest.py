"""Generators of tiny datasets: 64 pixel pictures of coloured shapes, as folder and in VOC layout."""

from __future__ import annotations

import gc
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# One thread, whatever else the machine does, so that runs can be compared: networks are so small here that more would
# only wait for each other. Set for the processes of pytest-xdist too, which inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Workers of Ray wait for all other processes otherwise, those of pytest-xdist too.
os.environ.setdefault("RAY_worker_niceness", "0")

_modules_frozen = 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take long first: at the end, one process would work on the last of them alone."""
    size = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], -size[item.path]))  # stable: files keep the order of their tests


def pytest_runtest_logfinish() -> None:
    """Exempt what imports have created from garbage collection; or it takes half a second, at the end of a training."""
    global _modules_frozen
    if len(sys.modules) > _modules_frozen + 200:
        gc.collect()
        gc.freeze()
        _modules_frozen = len(sys.modules)


CLASSES = ("cat", "cow", "dog")
CONTEXTS = ("grass", "road")
COLOURS = ((220, 40, 40), (40, 60, 220), (230, 210, 40))
GROUNDS = ((60, 140, 60), (120, 120, 120))


def draw(labels: tuple[int, ...], context: int, seed: int, side: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (H, W, 3), mask (H, W) and context mask (H, W): one disc or square per class on a noisy ground."""
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(GROUNDS[context], 12, (side, side, 3)), 0, 255).astype(np.uint8)
    mask = np.zeros((side, side), dtype=np.uint8)
    ground = np.full((side, side), context + 1, dtype=np.uint8)
    rows, columns = np.mgrid[:side, :side]
    for k in labels:
        radius = int(rng.integers(side // 8, side // 5))
        y, x = rng.integers(radius, side - radius, size=2)
        away = np.maximum(abs(rows - y), abs(columns - x)) if k % 2 else np.hypot(rows - y, columns - x)
        image[away < radius] = COLOURS[k % 3]
        mask[away < radius], ground[away < radius] = k + 1, 0
        mask[abs(away - radius) < 1] = 255
    return image, mask, ground


def save_palette(mask: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(mask, "P")
    picture.putpalette([(37 * value) % 256 for value in range(768)])
    picture.save(path)


def scenes(count: int) -> list[tuple[str, tuple[int, ...], int]]:
    """Name, class indices and context of ``count`` images: one class, two classes, none, in turn."""
    kinds: list[tuple[int, ...]] = [(0,), (1,), (2,), (0, 1), (1, 2), ()]
    return [(f"img_{index:02d}", kinds[index % len(kinds)], index % 2) for index in range(count)]


def write_folder(root: Path, count: int = 12, side: int = 64) -> Path:
    (root / "images").mkdir(parents=True)
    rows = ["image,labels"]
    for index, (name, labels, context) in enumerate(scenes(count)):
        image, mask, _ = draw(labels, context, index, side)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        save_palette(mask, root / "masks" / f"{name}.png")
        rows.append(f"{name}," + ";".join(CLASSES[k] for k in labels))
    (root / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    (root / "val.txt").write_text("".join(f"{name}\n" for name, _, _ in scenes(count)[-count // 3 :]), encoding="utf-8")
    return root


def write_voc(root: Path, count: int = 12, side: int = 64) -> Path:
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    rows, contexts = ["image,labels"], ["image,labels"]
    for index, (name, labels, context) in enumerate(scenes(count)):
        image, mask, ground = draw(labels, context, index, side)
        Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        save_palette(mask, root / "SegmentationClass" / f"{name}.png")
        save_palette(ground, root / "SegmentationContext" / f"{name}.png")
        rows.append(f"{name}," + " ".join(CLASSES[k] for k in labels))
        contexts.append(f"{name},{CONTEXTS[context]}")
    names = [name for name, _, _ in scenes(count)]
    cut = count - count // 3
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names[:cut]), encoding="utf-8")
    (lists / "val.txt").write_text("".join(f"{name}\n" for name in names[cut:]), encoding="utf-8")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    (root / "context_classes.txt").write_text("\n".join(CONTEXTS) + "\n", encoding="utf-8")
    (root / "image_labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "context_labels.csv").write_text("\n".join(contexts) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def folder_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``folder:`` dataset of 12 images (8 train, 4 val), 3 classes, with masks; read only."""
    return write_folder(tmp_path_factory.mktemp("data") / "folder")


@pytest.fixture(scope="session")
def voc_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``voc:`` dataset of 12 images (8 train, 4 val), 3 classes, 2 contexts, with masks; read only."""
    return write_voc(tmp_path_factory.mktemp("data") / "voc")


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A ``folder:`` dataset to spoil."""
    return write_folder(tmp_path / "folder", count=6, side=16)


@pytest.fixture
def own_voc(tmp_path: Path) -> Path:
    """A ``voc:`` dataset to spoil."""
    return write_voc(tmp_path / "voc", count=6, side=16)


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    """``make_folder(root, count=12, side=64)`` writes a ``folder:`` dataset."""
    return write_folder


@pytest.fixture(scope="session")
def make_voc() -> Callable[..., Path]:
    """``make_voc(root, count=12, side=64)`` writes a ``voc:`` dataset."""
    return write_voc


@pytest.fixture(scope="session")
def tree_state() -> Callable[[Path], str]:
    """Digest of every file below a folder: names, contents and times of change."""

    def state(root: Path) -> str:
        digest = hashlib.sha256()
        for path in sorted(root.rglob("*")):
            status = os.stat(path)
            digest.update(f"{path.relative_to(root)!s} {status.st_size} {status.st_mtime_ns}\n".encode())
            if path.is_file():
                digest.update(path.read_bytes())
        return digest.hexdigest()

    return state
