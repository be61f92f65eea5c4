"""The pictures of the documentation, all from the drawn data set: ``python docs/pictures/make.py runs/demo [STUDY]``.

``runs/demo`` is what ``make demo`` makes; STUDY is the folder of
``deft study localisation --systems demo_cam demo --data demo: --out STUDY``. ``report.webp`` alone is made by hand: the
top of ``runs/demo/demo/report.html`` in a browser window of 1280 x 1040 pixels.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import deft
from deft.report import seeds_over_image

HERE = Path(__file__).parent
STAGES = ("image", "seeds", "refined", "pseudo-mask", "prediction", "truth")
TRAINED_ON = ("train_0399", "train_0200", "train_0000")
"""Rows of the page: one that went well, one of two classes, one that did not."""
NEW = ("val_0084", "val_0087", "val_0021", "val_0042")
"""Held-out scenes that stand for new photographs; in two of them things are where they seldom were in training."""
SIDE, GAP, LINE = 168, 6, 20


def sheet(rows: Sequence[Sequence[Image.Image]], captions: tuple[str, ...], path: Path) -> None:
    """Rows of pictures of one size, with a caption above each column where there are captions."""
    font = ImageFont.load_default(13)
    top = LINE if captions else 0
    heights = [max(picture.height * SIDE // picture.width for picture in row) + GAP for row in rows]
    whole = Image.new("RGB", ((SIDE + GAP) * len(rows[0]) - GAP, top + sum(heights) - GAP), "white")
    for column, caption in enumerate(captions):
        ImageDraw.Draw(whole).text((column * (SIDE + GAP), 1), caption, "#2b3138", font)
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            fitted = picture.resize((SIDE, picture.height * SIDE // picture.width), Image.Resampling.LANCZOS)
            whole.paste(fitted, (column * (SIDE + GAP), top))
        top += height
    whole.save(path, "WEBP", quality=82, method=6)


def embedded(page: str, alt: str) -> bytes:
    """A picture of the report, by its description."""
    found = re.search(rf'src="data:image/\w+;base64,([^"]+)"[^>]*alt="{re.escape(alt)}"', page)
    if not found:
        raise SystemExit(f"expected a picture {alt!r} in the report, found none; make it again with `make demo`")
    return base64.b64decode(found[1])


def from_report(report: Path) -> None:
    """The stages of three photographs, and the threshold curve, as the page shows them."""
    page = report.read_text(encoding="utf-8")
    rows = [[Image.open(io.BytesIO(embedded(page, f"{kind} of {name}"))) for kind in STAGES] for name in TRAINED_ON]
    sheet(rows, STAGES, HERE / "stages.webp")
    (HERE / "thresholds.png").write_bytes(embedded(page, "Mean IoU against the background threshold"))


def of_new_photographs(run: Path, folder: Path) -> None:
    """What ``deft predict`` and ``deft seeds`` make of pictures that the run was not trained on."""
    data = deft.open_data("demo:").val
    assert data is not None
    photos, tags = folder / "photos", ["image,labels"]
    photos.mkdir()
    samples = [data[data.names.index(name)] for name in NEW]
    for sample in samples:
        Image.fromarray(sample.image).save(photos / f"{sample.name}.png")
        tags.append(f"{sample.name},{';'.join(data.classes[k] for k in np.flatnonzero(sample.labels))}")
    (folder / "tags.csv").write_text("\n".join(tags) + "\n", encoding="utf-8")
    command: list[str | Path] = [sys.executable, "-m", "deft"]
    subprocess.run([*command, "predict", run, photos, "--out", folder / "masks"], check=True)
    given: list[str | Path] = ["--tags", folder / "tags.csv", "--out", folder / "maps"]
    subprocess.run([*command, "seeds", run, photos, *given], check=True)
    images = [Image.open(photos / f"{name}.png") for name in NEW]
    overlays = [Image.open(folder / "masks" / "overlays" / f"{name}.jpg") for name in NEW]
    sheet([images, overlays], (), HERE / "predict.webp")
    lit = []
    for sample in samples:
        with np.load(folder / "maps" / f"{sample.name}.npz", allow_pickle=False) as stored:
            maps = stored["maps"].astype(np.float32) / 255
            lit.append(Image.fromarray(seeds_over_image(sample.image, maps, stored["classes"].tolist())))
    sheet([images, lit], (), HERE / "seeds.webp")


def main(runs: Path, study: Path | None) -> None:
    """Make all of them."""
    from_report(runs / "demo" / "report.html")
    with TemporaryDirectory() as folder:
        of_new_photographs(runs / "demo", Path(folder))
    if study is not None:
        shutil.copyfile(study / "localisation-scores.png", HERE / "study.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
