"""The dense CRF beside pydensecrf2, the authors' C++ code with a Python face (``pip install pydensecrf2``).

    DEFT_BENCH_IMAGES=photographs python benchmarks/speed/crf.py

Photographs are those of the folder named by ``DEFT_BENCH_IMAGES``, scaled to 500 x 375; without it, generated scenes.
The cost depends on them: a CRF is slowest on noise, which no photograph is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from measure import Row, compare, peak_mb, seconds, show
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from deft.refine.crf import DenseCrf, dense_crf, unary_from_labels

try:
    import pydensecrf.densecrf as published
except ImportError:
    published = None

IMAGES = 4
CERTAINTY = 0.7
SETTINGS = DenseCrf()

Photograph = NDArray[np.uint8]


def rows(device: torch.device, quick: bool) -> Iterator[Row]:
    """Few and many labels, and images in parallel."""
    size = (48, 64) if quick else (375, 500)
    photographs = images(size)
    for count in (4, 21):
        yield beside_published(photographs, count, device, 1 if quick else 5)
    if device.type == "cpu":
        yield in_parallel(photographs, 4, 1 if quick else 5)


def beside_published(photographs: list[Photograph], count: int, device: torch.device, runs: int) -> Row:
    """Seconds an image, over all photographs; pydensecrf2 is on the CPU in any case."""
    chosen = [labels(photograph, count) for photograph in photographs]

    def ours() -> list[Tensor]:
        return [
            dense_crf(unary_from_labels(each.to(device), count, CERTAINTY), photograph, SETTINGS).argmax(0).cpu()
            for photograph, each in zip(photographs, chosen, strict=True)
        ]

    def theirs() -> list[Tensor]:
        return [cpp(photograph, each, count) for photograph, each in zip(photographs, chosen, strict=True)]

    height, width = photographs[0].shape[:2]
    what = f"dense CRF, {width} x {height}, {SETTINGS.iterations} iterations, {count} labels"
    goal = "as fast on two cores" if device.type == "cpu" else "20 times"
    if published is None:
        return Row(
            what=what,
            beside="pydensecrf2",
            theirs=None,
            ours=seconds(ours, device, runs) / len(photographs),
            difference="not measured",
            goal=f"{goal}, 99.9 % equal",
            note="pydensecrf2 is not installed: pip install pydensecrf2",
            runs=runs,
        )
    one, other = compare(theirs, ours, device, runs)
    equal = min(float((a == b).double().mean()) for a, b in zip(theirs(), ours(), strict=True))
    threads = (
        f"ours with {torch.get_num_threads()} threads" if device.type == "cpu" else "ours on the GPU, with transfer"
    )
    return Row(
        what=what,
        beside="pydensecrf2 (C++, one core)",
        theirs=one / len(photographs),
        ours=other / len(photographs),
        difference=f"{equal:.4%} of pixels equal in the worst image",
        goal=f"{goal}, 99.9 % equal",
        theirs_mb=peak_mb(theirs, torch.device("cpu")),
        ours_mb=peak_mb(ours, device),
        note=f"{threads}; mean of {len(photographs)} {'photographs' if folder() else 'generated scenes'}",
        runs=runs,
    )


def in_parallel(photographs: list[Photograph], count: int, runs: int) -> Row:
    """Two images at a time with one thread each, as the stages run, and one after the other with all threads."""
    chosen = [labels(photograph, count) for photograph in photographs]
    threads = torch.get_num_threads()
    workers = 2

    def one(place: int) -> Tensor:
        unary = unary_from_labels(chosen[place], count, CERTAINTY)
        return dense_crf(unary, photographs[place], SETTINGS)

    def serial() -> list[Tensor]:
        return [one(place) for place in range(len(photographs))]

    share = max(1, threads // workers)
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:

        def parallel() -> list[Tensor]:
            return list(pool.map(one, range(len(photographs))))

        theirs, ours = compare(_with_threads(serial, threads), parallel, torch.device("cpu"), runs, kept=True)
        apart = max(float((a - b).abs().max()) for a, b in zip(serial(), parallel(), strict=True))
        memory = peak_mb(parallel, torch.device("cpu"))
    torch.set_num_threads(threads)
    return Row(
        what=f"dense CRF, {len(photographs)} images, {workers} at a time, {count} labels",
        beside="one after the other",
        theirs=theirs,
        ours=ours,
        difference=f"{apart:.0e}",
        goal="images in parallel",
        theirs_mb=peak_mb(serial, torch.device("cpu")),
        ours_mb=memory,
        note=f"{share} threads an image beside {threads}",
        runs=runs,
    )


def _with_threads(work: Callable[[], object], threads: int) -> Callable[[], object]:
    def run() -> object:
        torch.set_num_threads(threads)
        return work()

    return run


def cpp(photograph: Photograph, chosen: Tensor, count: int) -> Tensor:
    """Labels (H, W) by pydensecrf2, from labels that are right with the same certainty."""
    height, width = photograph.shape[:2]
    crf = published.DenseCRF2D(width, height, count)
    unary = np.full((count, height * width), -np.log((1 - CERTAINTY) / (count - 1)), dtype=np.float32)
    unary[chosen.flatten().numpy(), np.arange(height * width)] = -np.log(CERTAINTY)
    crf.setUnaryEnergy(unary)
    crf.addPairwiseGaussian(sxy=SETTINGS.gaussian_sxy, compat=SETTINGS.gaussian_compat)
    crf.addPairwiseBilateral(
        sxy=SETTINGS.bilateral_sxy, srgb=SETTINGS.bilateral_srgb, rgbim=photograph, compat=SETTINGS.bilateral_compat
    )
    belief = np.array(crf.inference(SETTINGS.iterations))
    return torch.from_numpy(belief.argmax(0)).view(height, width)


def labels(photograph: Photograph, count: int) -> Tensor:
    """Smooth regions of all labels, int64 (H, W), as coarse as maps of a network are."""
    rng = torch.Generator().manual_seed(int(photograph[0, 0].sum()))
    maps = torch.rand(1, count, 9, 12, generator=rng)
    return F.interpolate(maps, size=photograph.shape[:2], mode="bicubic")[0].argmax(0)


def folder() -> str:
    return os.environ.get("DEFT_BENCH_IMAGES", "")


def images(size: tuple[int, int]) -> list[Photograph]:
    """Photographs (H, W, 3) spread over those of the folder, or scenes."""
    if not folder():
        return [scene(size, seed) for seed in range(IMAGES)]
    files = sorted(file for file in Path(folder()).rglob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not files:
        raise SystemExit(f"DEFT_BENCH_IMAGES names {folder()}, where no .jpg, .jpeg or .png is; unset it for scenes")
    chosen = [files[place * len(files) // IMAGES] for place in range(IMAGES)]
    return [np.array(Image.open(file).convert("RGB").resize(size[::-1], Image.Resampling.BICUBIC)) for file in chosen]


def scene(size: tuple[int, int], seed: int) -> Photograph:
    """Sky above textured ground, a few shaded discs, and the noise of a camera."""
    height, width = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / height
    picture = rng.uniform(60, 200, 3) + np.multiply.outer(y, rng.uniform(-60, 60, 3))
    rough = F.interpolate(
        torch.from_numpy(rng.normal(0, 18, (1, 3, height // 5 + 2, width // 5 + 2))), size=size, mode="bicubic"
    )[0].permute(1, 2, 0)
    ground = y > 0.55 + 0.05 * np.sin(3 * x + seed)
    picture[ground] = (rng.uniform(50, 160, 3) + rough.numpy())[ground]
    for _ in range(6):
        top, left, radius = rng.uniform(0.2, 0.9), rng.uniform(0, width / height), rng.uniform(0.05, 0.25)
        inside = (y - top) ** 2 + (x - left) ** 2 < radius**2
        shade = 1 - 0.5 * ((y - top + radius) / (2 * radius))[..., None]
        picture[inside] = (rng.uniform(30, 250, 3) * shade + 0.4 * rough.numpy())[inside]
    found: Photograph = np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
    return found


if __name__ == "__main__":
    show(rows(torch.device("cuda" if torch.cuda.is_available() else "cpu"), quick=False))
