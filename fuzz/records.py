"""Records of a run that were edited: what its page, a study, a resumed command and `deft predict` read again."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from deft.contracts import InputError
from fuzz.damage import damaged, sometimes_damaged
from fuzz.pictures import mask
from fuzz.reader import Files, Reader
from fuzz.values import altered, filled, json_file

DATA = "demo:train=2,val=1,size=32"
_KEY = "k" * 16


@cache
def _opened() -> Any:
    from deft.data.opening import open_data

    return open_data(DATA)


@cache
def _pipeline() -> Any:
    from deft import recipes
    from deft.settings import assign

    return assign(recipes.irn_deft(), ["segment=none", "weights=none"])


@cache
def run_json() -> Any:
    """The record of a run, as JSON."""
    from deft.runner.run import description

    return json.loads(json.dumps(description(_pipeline(), DATA, _opened(), "irn_deft")))


@cache
def scores_json() -> Any:
    """Scores of a run with every part that there may be."""
    classes = list(_opened().train.classes)
    names = list(_opened().train.names)
    iou: dict[str, Any] = {"miou": 0.5, "iou": [0.5, None, *[0.25] * (len(classes) - 1)]}
    cuts: dict[str, Any] = {
        name: {"threshold": 0.3, **iou} for name in ("fixed", "auto", "tuned", "swept", "chosen on train")
    }
    curve: dict[str, Any] = {"curve": [0.1, 0.5, 0.2], "thresholds": [0.0, 0.5, 0.99]}
    sweep = {**curve, **cuts, "used": {"chosen": "auto", **cuts["auto"]}}
    tags = {"ap": [None, *[0.5] * (len(classes) - 1)], "map": 0.5}
    group = {"count": 2, "map": 0.5, "seeds": sweep, "segmentation": iou}
    equal = {"equal pixels": 0.99, "miou": 0.5, "miou of float32": 0.49}
    rows = [[1.0] * (len(classes) + 1) for _ in range(7)]
    tag = {"image": names[0], "class": classes[0], "given": True, "prediction": 0.1, "doubt": 0.9}
    return {
        **{"made_of": [_KEY], "truth": "t", "classes": classes},
        "train": {"seeds": sweep, "masks": sweep, "images": dict.fromkeys(names, 0.5)},
        "val": {"tags": tags, "seeds": sweep, "segmentation": iou, "groups": {"aligned": group}},
        "coverage": {"images": 2, "pixels": 2048, "sums": [*rows, [None] * (len(classes) + 1)]},
        "left out": {names[0]: "a mask of another size"},
        "thresholds": {"seeds": {"threshold": 0.3}},
        "refinement": {"harmed": True, "seeds": {"colours": 0.5}, "refined": {"colours": 0.1}},
        "precision": {"precision": "bf16-mixed", "images": 2, "seeds": equal, "segmentation": equal},
        "doubtful": {"images": 2, "features": "trained", "doubted": 1, "tags": [tag]},
    }


def _study_json() -> Any:
    classes = len(_opened().train.classes)
    counts = {name: {str(k): [3, 9] for k in range(classes + 1)} for name in _opened().train.names}
    return {**scores_json(), "counted": {"seeds": counts, "masks": counts}}


_HISTORY = {"classification": [[10, 0.7], [20, 0.1]], "swap": [[10, 3e9]]}
_STAGE = {"key": _KEY, "state": "done", "seconds": 1.5}


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def _page(draw: st.DrawFn) -> Files:
    """A run folder in which one record is odd."""
    whole: dict[str, Any] = {
        **{"scores.json": scores_json(), "run.json": run_json(), "classifier/history.json": _HISTORY},
        "tuned.json": {"thresholds": {"seeds": 0.3}, "images": ["a"], "off": {"seeds": 0.01}},
        "seeds/stage.json": _STAGE,
    }
    odd = draw(st.sampled_from((*["scores.json"] * 4, *whole)))
    return {f"run/{name}": draw(json_file(one)) if name == odd else _encoded(one) for name, one in whole.items()}


def _read_page(folder: Path) -> None:
    from deft.artifacts import RunFolder
    from deft.evaluate.compare import compare
    from deft.evaluate.page import collect
    from deft.evaluate.stored import read_scores
    from deft.report.summary import summary
    from deft.report.tables import class_table, coverage_table, score_table
    from deft.stages.context import Run

    run = folder / "run"
    page = collect(Run(_pipeline(), _opened(), RunFolder(run, {}, own=False)))
    for part in (summary, score_table, class_table, coverage_table):
        part(page)
    compare({"one": read_scores(run), "other": scores_json()})


@st.composite
def _study(draw: st.DrawFn) -> Files:
    return {"study.json": draw(json_file(_study_json()))}


def _read_study(folder: Path) -> None:
    from deft.artifacts import read_json
    from deft.studies.ablation import LAYOUT
    from deft.studies.rows import Finding, Row
    from deft.studies.runner import StudyRunner

    runner = StudyRunner(DATA, folder)
    rows = [Row(name, name, _pipeline(), against=("one",)) for name in ("one", "other")]
    value = read_json(folder / "study.json")
    runner.composed([Finding(rows[0], 0, value), Finding(rows[1], 0, _study_json())], LAYOUT.compose, "study.json")


_MADE_FROM = {"run": "x", "tags": "", "settings": {"class": "deft.segment.inference.Inference", "flip": True}}


@st.composite
def _resumed(draw: st.DrawFn) -> Files:
    """What another command in the same folder reads before it begins."""
    from deft.runner.images import Images

    images = Images.of(_opened())
    stored = {"train": images.train.to_json(), "val": images.val.to_json() if images.val else None}
    known = {"files": {"/photos": {"a.png": ["0" * 40, [9, 1, 1, 5]], "b.png": ["1" * 40, [9, 1, 1, 6]]}}}
    whole = {
        **{"run/run.json": run_json(), "run/images.json": stored, "run/contents.json": known},
        **{"run/seeds/stage.json": _STAGE, "run/made.json": {"run.json": "0" * 64}},
        "out/made-from.json": _MADE_FROM,
    }
    odd = draw(st.sampled_from(tuple(whole)))
    files = {name: draw(json_file(one)) if name == odd else _encoded(one) for name, one in whole.items()}
    lock = draw(sometimes_damaged(filled("«process 12 on host»").map(lambda text: text.encode("utf-8", "replace"))))
    return {**files, "run/seeds/a.npz": b"", "run/lock": lock}


def _read_resumed(folder: Path) -> None:
    from deft.artifacts import RunFolder
    from deft.artifacts.contents import Contents
    from deft.predict.shards import agree
    from deft.runner.images import Images, told

    run, refused = folder / "run", None
    images = Images.of(_opened())
    Contents(run / "contents.json")
    images.held_out_remark(run)
    try:
        opened = RunFolder(run, run_json(), told=told(run, run_json(), _pipeline(), images))
        opened.seal()
        opened.close()
    except InputError as error:
        refused = error
    agree(folder / "out", _MADE_FROM)
    if refused is not None:
        raise refused


@cache
def _network() -> tuple[Any, bytes]:
    """The header of a small segmentation network, and its tensors."""
    import tempfile

    from deft.backbone import build_backbone
    from deft.segment.deeplab import DeepLab, SegmentationNetwork, save_network

    network = SegmentationNetwork(build_backbone("resnet10t", "none"), 2, DeepLab(channels=8), 32)
    with tempfile.TemporaryDirectory() as folder:
        save_network(Path(folder) / "a", network, ("cow", "dog"), _KEY)
        content = (Path(folder) / "a").read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


@st.composite
def _networks(draw: st.DrawFn) -> Files:
    """The file of a network whose header was changed, in what deft or in what safetensors keeps there."""
    header, tensors = _network()
    own = {name: json.loads(value) for name, value in header["__metadata__"].items()}
    changed = draw(altered(own))
    if isinstance(changed, dict):
        changed = {str(name): json.dumps(value) for name, value in changed.items()}
    text = json.dumps({**header, "__metadata__": changed}).encode("utf-8", "surrogatepass")
    return {"w.safetensors": len(text).to_bytes(8, "little") + text + tensors}


def _read_network(folder: Path) -> None:
    from deft.classify.classifier import load_classifier
    from deft.classify.linear import LinearHead
    from deft.segment.deeplab import load_network

    network, classes = load_network(folder / "w.safetensors")
    if network.classes != len(classes):
        raise AssertionError(f"{network.classes} classes, named {classes}")
    with suppress(InputError):
        load_classifier(folder / "w.safetensors", LinearHead())


_MEMBERS = (
    *[f"results/VOC2012/Segmentation/comp5_test_cls/{name}.png" for name in ("a", "a", "b", "b", "b", "c")],
    *("results/VOC2012/Segmentation/comp6_test_cls/a.png", "results", "../a.png", "a.png", "", "\x1b[31m"),
)


@st.composite
def _archive(draw: st.DrawFn) -> bytes:
    """An archive of masks for VOC's server."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in draw(st.lists(st.sampled_from(_MEMBERS), min_size=1, max_size=4)):
            content = draw(st.one_of(st.just(mask()), st.just(mask(False)), damaged(st.just(mask()), 1)))
            info = tarfile.TarInfo(name)
            kinds = (*[tarfile.REGTYPE] * 8, tarfile.DIRTYPE, tarfile.SYMTYPE)
            info.size, info.type, info.linkname = len(content), draw(st.sampled_from(kinds)), "/etc/hostname"
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _archives() -> st.SearchStrategy[Files]:
    packed = st.one_of(_archive(), sometimes_damaged(_archive())).map(lambda data: gzip.compress(data, 1, mtime=0))
    return sometimes_damaged(packed).map(lambda data: {"a.tar.gz": data})


def _read_archive(folder: Path) -> None:
    from deft.predict.voc_server import faults_of

    with open(folder / "a.tar.gz", "rb") as file:
        faults = faults_of(file, {"a": (7, 9), "b": (7, 9)})
    if broken := [fault for fault in faults if fault.startswith("no archive")]:
        raise InputError(broken[0])


READERS = (
    Reader("pages", _page(), _read_page),
    Reader("studies", _study(), _read_study, share=0.05),
    Reader("resumed", _resumed(), _read_resumed),
    Reader("networks", _networks(), _read_network, share=0.05),
    Reader("archives", _archives(), _read_archive),
)
