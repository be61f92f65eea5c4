"""Peak memory of ``deft predict --tiles`` on photographs of 12 to 400 megapixels: ``python benchmarks/tiles.py``.

    python benchmarks/tiles.py --only 12 --backbone test_resnet

Makes synthetic JPEGs of 12, 50 and 200 megapixels (smoothed noise) and a tiled GeoTIFF of 20,000 x 20,000 pixels, and
segments each in a process of its own under ``/usr/bin/time -v``, with a network of random weights: memory depends on
the sizes alone, and the masks mean nothing. It looks at one scale, without the mirror image, so that it takes minutes.
Writes ``benchmarks/tiles.md`` and ``benchmarks/tiles.json``; rows that are not measured again are kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import commit, machine, versions
from PIL import Image

from deft.backbone import build_backbone
from deft.predict.saved import CONFIG, NETWORK, config_of
from deft.segment.deeplab import DeepLab, SegmentationNetwork, save_network
from deft.segment.inference import Inference

HERE = Path(__file__).parent
TIME = Path("/usr/bin/time")
CLASSES = ("red", "green", "blue")
SIZES = {"12": (3000, 4000), "50": (6200, 8000), "200": (12250, 16330), "400": (20000, 20000)}
"""(H, W) by megapixels; the last one is the GeoTIFF."""
BLOCK = 512


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--only", nargs="+", choices=SIZES, default=list(SIZES), help="megapixels")
    reader.add_argument("--backbone", default="test_resnet")
    reader.add_argument("--tiles", default="auto")
    reader.add_argument("--scale", default="1")
    reader.add_argument("--write", type=Path, default=HERE / "tiles", help="the page, without suffix")
    given = reader.parse_args()
    path = given.write.with_suffix(".json")
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows = {(row["megapixels"], row["tiles"], row["scale"], row["network"]): row for row in stored.get("rows", [])}
    for name in given.only:
        with tempfile.TemporaryDirectory() as folder:
            network, image = model(Path(folder), given.backbone), photograph(Path(folder), name)
            words = ["predict", str(network), str(image), "--out", str(Path(folder) / "out"), "--tiles", given.tiles]
            found = measured([*words, "--scale", given.scale, "--precision", "32"])
        row = {"megapixels": name, "file": image.suffix[1:], "tiles": given.tiles, "scale": given.scale}
        rows[name, given.tiles, given.scale, given.backbone] = {
            **row,
            "network": given.backbone,
            "size": list(SIZES[name]),
            "commit": commit(),
            **found,
        }
        record = {
            "rows": sorted(rows.values(), key=lambda one: (int(one["megapixels"]), one["scale"], one["network"])),
            "versions": versions(),
            "machine": machine(torch.device("cpu")),
        }
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        given.write.with_suffix(".md").write_text(page(record), encoding="utf-8")
    print(given.write.with_suffix(".md").read_text(encoding="utf-8"))
    return int(any(row["exit_code"] for row in rows.values()))


def model(folder: Path, backbone: str) -> Path:
    """A saved network of random weights that looks at one scale."""
    torch.manual_seed(0)
    place = folder / "model"
    place.mkdir()
    network = SegmentationNetwork(build_backbone(backbone, "none", 16), len(CLASSES), DeepLab(channels=64), 512)
    save_network(place / NETWORK, network, CLASSES)
    config = config_of(CLASSES, Inference(scales=(1.0,), flip=False), 1024)
    (place / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    return place


def photograph(folder: Path, name: str) -> Path:
    """A synthetic photograph; the GeoTIFF is written in its own tiles."""
    height, width = SIZES[name]
    small = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    if name != "400":
        Image.fromarray(small).resize((width, height)).save(folder / "scene.jpg", quality=90)
        return folder / "scene.jpg"
    import rasterio
    from rasterio.windows import Window

    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": height, "width": width, "tiled": True}
    profile |= {"blockxsize": BLOCK, "blockysize": BLOCK, "photometric": "RGB", "compress": "deflate"}
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(500_000, 5_000_000, 0.2, 0.2)}
    tile = np.asarray(Image.fromarray(small).resize((BLOCK, BLOCK))).transpose(2, 0, 1)
    with rasterio.open(folder / "scene.tif", "w", **profile, **place) as file:
        for top in range(0, height, BLOCK):
            for left in range(0, width, BLOCK):
                rows, columns = min(BLOCK, height - top), min(BLOCK, width - left)
                file.write(tile[:, :rows, :columns], window=Window(left, top, columns, rows))
    return folder / "scene.tif"


def measured(words: list[str]) -> dict[str, Any]:
    """Peak memory in GB, as the system and as the command tell it, seconds and exit code."""
    command = [str(TIME), "-v", sys.executable, "-m", "deft", *words]
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    peak = re.search(r"Maximum resident set size \(kbytes\): (\d+)", done.stderr)
    said = re.search(r"peak memory: ([\d.]+) GB", done.stdout)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    return {
        "peak_gb": round(1024 * int(peak[1]) / 1e9, 2) if peak else None,
        "told_gb": float(said[1]) if said else None,
        "seconds": round(time.monotonic() - begun),
        "exit_code": done.returncode,
    }


def page(record: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "# Large photographs in tiles",
        "",
        "Peak resident memory of `deft predict --tiles` on one synthetic photograph, with a network of random weights, "
        "one scale and no mirror image. Measured with `/usr/bin/time -v` by `python benchmarks/tiles.py`.",
        "",
        "| megapixels | file | tiles | scale | network | peak memory, GB | the command says | seconds | commit |",
        "|---:|---|---|---:|---|---:|---:|---:|---|",
    ]
    for row in record["rows"]:
        height, width = row["size"]
        lines.append(
            f"| {row['megapixels']} ({width} x {height}) | {row['file']} | {row['tiles']} | {row['scale']} | "
            f"{row['network']} | {row['peak_gb']} | {row['told_gb']} | {row['seconds']} | {row['commit']} |"
        )
    about = [
        "Seconds are those of a machine that did other work at the same time; only memory is compared.",
        *("; ".join(f"{name}: {value}" for name, value in record[part].items()) for part in ("versions", "machine")),
    ]
    return "\n".join([*lines, "", *(f"{line}  " for line in about), ""])


if __name__ == "__main__":
    sys.exit(main())
