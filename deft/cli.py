"""The command ``deft``: one verb for each thing a user does. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import argparse
import difflib
import errno
import hashlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deft import __version__
from deft.contracts import InputError, Progress
from deft.engine.stop import EXIT_CODE, Stopped, ending_on_sigterm
from deft.settings import assign, fields_of

if TYPE_CHECKING:
    from deft.pipeline import Pipeline

DATA_HELP = """KIND:PATH. folder:PATH  images/ with labels.csv or labels.json, or one folder a tag; masks/ optional.
voc:PATH  the layout of PASCAL VOC.  coco:PATH  COCO 2014 or 2017 (coco:PATH?empty=drop).
demo:  the embedded data set (demo:bias=0.9,train=600)."""


PRECISIONS = {"auto": "auto", "32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
PRECISION_HELP = "of networks (default auto: bf16 where the machine computes it faster, else 32)"
STUDIES_HELP = """localisation, augmentations, masks, segmentation, ablation, context, activation, manifold or bias."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="deft",
        description="Masks from photographs and the names of what is in them.",
        epilog="Start with: deft check folder:PHOTOS, then deft run irn_deft --data folder:PHOTOS --out runs/mine",
    )
    top.add_argument("--version", action="version", version=f"deft {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    run = verbs.add_parser("run", help="train, make masks, score them and write a report", allow_abbrev=False)
    run.add_argument("recipe", help="cam, irn, irn_deft, or a .py file with a function recipe()")
    run.add_argument("--data", required=True, help=DATA_HELP)
    run.add_argument("--out", required=True, type=Path, help="the run folder; the same command goes on in it")
    run.add_argument("--backbone", help="any timm model with feature maps (default: the recipe's, resnet50)")
    run.add_argument("--weights", help="hub, none, or a .safetensors or .pth file")
    run.add_argument("--precision", choices=PRECISIONS, help=PRECISION_HELP)
    run.add_argument("--devices", type=int, default=1, metavar="N", help="GPUs or processes a machine (default 1)")
    run.add_argument("--num-nodes", type=int, default=1, metavar="N", help="machines; see docs/scale.md (default 1)")
    run.add_argument("--seed", type=int, help="of everything random (default 0)")
    run.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="any field; see --show")
    run.add_argument(
        "--reuse", action="append", default=[], type=Path, metavar="RUN", help="copy equal stages from RUN"
    )
    run.add_argument("--show", action="store_true", help="print every field with its value and stop")
    run.set_defaults(act=_run)

    join = verbs.add_parser("join", help="help a run that another machine holds", allow_abbrev=False)
    join.add_argument("run", type=Path, help="its folder, on storage that both machines see")
    join.add_argument("--data", help="KIND:PATH of its data, where that is at another place on this machine")
    join.set_defaults(act=_join)

    check = verbs.add_parser("check", help="read a whole data set and name every fault", allow_abbrev=False)
    check.add_argument("data", help=DATA_HELP)
    check.set_defaults(act=_check)

    predict = verbs.add_parser("predict", help="masks and overlays of new photographs", allow_abbrev=False)
    predict.add_argument("run", type=Path, help="a run folder, or a saved network (.safetensors)")
    _photographs(predict)
    predict.add_argument("--out", required=True, type=Path, help="where masks/ and overlays/, or shards of masks, go")
    predict.add_argument("--overlays", action="store_true", help="pictures in shards too (a folder always gets them)")
    predict.set_defaults(act=_predict)

    seeds = verbs.add_parser("seeds", help="class maps of new photographs", allow_abbrev=False)
    seeds.add_argument("run", type=Path, help="a run folder with a trained classifier")
    _photographs(seeds)
    seeds.add_argument("--out", required=True, type=Path, help="where NAME.npz, or shards of them, go")
    seeds.set_defaults(act=_seeds)

    report = verbs.add_parser("report", help="write a run's page again, beside other runs", allow_abbrev=False)
    report.add_argument("run", type=Path, help="a finished run folder")
    report.add_argument("--beside", action="append", default=[], type=Path, metavar="RUN", help="a run to compare with")
    report.set_defaults(act=_report)

    study = verbs.add_parser("study", help="make a table or figure of the paper on any data", allow_abbrev=False)
    study.add_argument("study", metavar="NAME", help=STUDIES_HELP)
    study.add_argument("--data", required=True, help=DATA_HELP)
    study.add_argument("--out", required=True, type=Path, help="folder of NAME.md and runs/; the command goes on in it")
    study.add_argument("--seeds", type=int, default=3, metavar="N", help="how many seeds (default 3)")
    study.add_argument("--first-seed", type=int, default=0, metavar="SEED", help="the first of them (default 0)")
    study.add_argument("--systems", nargs="+", default=[], metavar="NAME", help="rows to make (default: the paper's)")
    study.add_argument("--backbone", help="any timm model with feature maps (default: the recipes', resnet50)")
    study.add_argument("--weights", help="hub, none, or a .safetensors or .pth file")
    study.add_argument("--precision", choices=PRECISIONS, help=PRECISION_HELP)
    study.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="any field, in every row that has it"
    )
    study.set_defaults(act=_study)

    submit = verbs.add_parser("voc-submit", help="the archive that VOC 2012's test server takes", allow_abbrev=False)
    submit.add_argument("run", type=Path, nargs="?", help="a finished run on voc: (not with --check)")
    submit.add_argument("--out", type=Path, help="the archive to write, .tar.gz or .tgz")
    submit.add_argument("--comp", type=int, choices=[5, 6], help="5: images of VOC alone, 6: any (default)")
    submit.add_argument("--data", help="voc:PATH with the test images (default: the run's)")
    submit.add_argument("--images", type=Path, help="a folder of test images instead, with --ids")
    submit.add_argument("--ids", type=Path, help="their names, one a line")
    submit.add_argument(
        "--check", type=Path, metavar="ARCHIVE", help="only say what the server would refuse in ARCHIVE"
    )
    submit.set_defaults(act=_voc_submit)

    labels = verbs.add_parser("import-labels", help="cls_labels.npy to a table of labels; runs no code in the file")
    labels.add_argument("source", type=Path, help="cls_labels.npy, as other tools keep VOC's labels")
    labels.add_argument("table", type=Path, help="the CSV file to write, header image,labels")
    labels.add_argument("--classes", type=Path, help="class names, one a line (default: VOC's 20)")
    labels.set_defaults(act=_import_labels)

    contexts = verbs.add_parser("import-contexts", help="masks of PASCAL-Context to the contexts of voc: data")
    contexts.add_argument("masks", type=Path, help="folder of PNGs named after the images")
    contexts.add_argument("names", type=Path, help="names of their values, one a line: 1: aeroplane")
    contexts.add_argument("out", type=Path, help="where to write; the VOC folder itself, for one")
    contexts.add_argument("--classes", type=Path, help="object classes (default: OUT/classes.txt, else VOC's 20)")
    contexts.set_defaults(act=_import_contexts)

    demo = verbs.add_parser("demo", help="the whole job on an embedded data set", allow_abbrev=False)
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the demo's runs")
    demo.set_defaults(act=_demo)
    return top


def _photographs(verb: argparse.ArgumentParser) -> None:
    """Arguments that say which new photographs, and what is in them."""
    verb.add_argument("images", help="a folder of photographs, one, or 'shards:PATTERN' (docs/data.md)")
    verb.add_argument("--tags", type=Path, help="table image,labels (CSV or JSON): the classes there are in an image")
    verb.add_argument("--tags-from", default="", metavar="SUFFIX", help="of the shards' members with tags, as in json")
    verb.add_argument("--precision", choices=PRECISIONS, default="auto", help=PRECISION_HELP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 2 bad input, 130 stopped by Ctrl-C, 143 by SIGTERM."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = parser().parse_args(words)
    given.command = shlex.join(["deft", *words])
    again = f"\nstopped; what is done is kept. To go on, give the same command:\n  {given.command}"

    def last_words() -> None:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes one is enough
            print(again, file=sys.stderr, flush=True)

    try:
        with ending_on_sigterm(last_words):
            return _act(given, words)
    except InputError as error:
        print(f"deft: {error}", file=sys.stderr)
        return 2
    except Stopped:
        last_words()
        return EXIT_CODE
    except KeyboardInterrupt:
        last_words()
        return 130
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"deft: no space left on the disk ({error.filename or 'while writing'}); what is done is kept. "
            "Make room, then give the same command to go on",
            file=sys.stderr,
        )
        return 2


def _act(given: argparse.Namespace, words: Sequence[str]) -> int:
    """What the verb does, in as many processes as were asked for."""
    act: Callable[[argparse.Namespace], int] = given.act
    devices, nodes = getattr(given, "devices", 1), getattr(given, "num_nodes", 1)
    if devices < 1 or nodes < 1:
        raise InputError(f"expected --devices and --num-nodes of at least 1, got {devices} and {nodes}")
    if not hasattr(given, "devices") or getattr(given, "show", False):
        return act(given)
    from deft.engine import launch, ranks

    if not launch.launched():
        return act(given) if devices * nodes == 1 else launch.start(words, devices, nodes)
    launch.join()
    try:
        code = act(given)
    except Exception:
        if not ranks.first():
            time.sleep(3)  # where the first process failed too it says why, and this one is ended meanwhile
        raise
    launch.leave()
    return code


def _run(given: argparse.Namespace) -> int:
    name, pipeline = _recipe(given.recipe)
    pipeline = assign(pipeline, _assignments(given, "backbone", "weights", "precision", "seed"))
    if given.show:
        print("\n".join(f"{field} = {value!r}" for field, value in fields_of(pipeline).items()))
        return 0
    from deft.engine import ranks
    from deft.pipeline import run

    page = run(pipeline, given.data, given.out, given.reuse, name)
    if ranks.first():
        print(f"report: {page}")
    return 0


def _join(given: argparse.Namespace) -> int:
    from deft.join import join

    print(f"{join(given.run, given.data)} files of {given.run} made here; the run is finished")
    return 0


def _study(given: argparse.Namespace) -> int:
    from deft.studies import STUDIES, Laboratory

    if given.study not in STUDIES:
        near = difflib.get_close_matches(given.study, STUDIES, n=1, cutoff=0.0)
        raise InputError(f"no study {given.study!r}; did you mean {near[0]!r}? There are: {', '.join(STUDIES)}")
    if given.seeds < 1 or given.first_seed < 0:
        raise InputError(
            f"expected --seeds of at least 1 and --first-seed of at least 0, got {given.seeds}, {given.first_seed}"
        )
    laboratory = Laboratory(
        data=given.data,
        out=given.out,
        seeds=tuple(range(given.first_seed, given.first_seed + given.seeds)),
        settings=tuple(_assignments(given, "backbone", "weights", "precision")),
        systems=tuple(given.systems),
        command=given.command,
    )
    outcome = STUDIES[given.study](laboratory)
    print(f"study: {laboratory.publish(outcome)}")
    for failure in outcome.failures:
        print(f"deft: failed: {failure}", file=sys.stderr)
    return 2 if outcome.failures else 0


def _assignments(given: argparse.Namespace, *flags: str) -> list[str]:
    """What ``--set`` and the flags that are short for it say."""
    said = [flag for flag in flags if getattr(given, flag) is not None]
    return [*given.set, *(f"{flag}={_flag(flag, getattr(given, flag))}" for flag in said)]


def _flag(flag: str, value: Any) -> str:
    return PRECISIONS[value] if flag == "precision" else str(value)


def _recipe(name: str) -> tuple[str, Pipeline]:
    """The pipeline of a named recipe or of a user's file."""
    from deft.pipeline import Pipeline
    from deft.recipes import RECIPES

    if name.endswith(".py"):
        found = _load_file(Path(name))
        if not isinstance(found, Pipeline):
            raise InputError(f"{name}: recipe() must return a deft.Pipeline, got {type(found).__name__}")
        return f"{Path(name).stem} ({hashlib.sha256(Path(name).read_bytes()).hexdigest()[:12]})", found
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.0)
        known = ", ".join(RECIPES)
        raise InputError(f"no recipe {name!r}; did you mean {near[0]!r}? There are: {known}, or a .py file of yours")
    return name, RECIPES[name]()


def _load_file(path: Path) -> Any:
    import importlib.util

    if not path.is_file():
        raise InputError(f"{path}: expected a Python file with a function recipe(), found no file")
    name = f"deft_recipe_{path.stem}"  # a file called json.py must not become everybody's json
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, "recipe", None)):
        raise InputError(f"{path}: expected a function recipe() that returns a deft.Pipeline")
    return module.recipe()


def _check(given: argparse.Namespace) -> int:
    from deft.data import check

    with _bar("reading") as progress:
        faults = check(given.data, full=True, progress=progress)
    for fault in faults:
        print(fault)
    fatal = sum(not fault.warning for fault in faults)
    print(f"{fatal} faults, {len(faults) - fatal} remarks" if faults else "no faults")
    return 2 if fatal else 0


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """A progress bar over files."""
    from tqdm import tqdm

    with tqdm(desc=title, unit="file", mininterval=0.5) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def _import_labels(given: argparse.Namespace) -> int:
    from deft.data.cls_labels import import_cls_labels

    count = import_cls_labels(given.source, given.table, _classes(given.classes))
    print(f"{count} images in {given.table}")
    return 0


def _import_contexts(given: argparse.Namespace) -> int:
    from deft.data.pascal_context import import_contexts

    own = given.out / "classes.txt"
    classes = _classes(given.classes or (own if own.is_file() else None))
    with _bar("importing") as progress:
        done = import_contexts(given.masks, given.names, given.out, classes, progress)
    print(f"{len(done.contexts)} contexts of {done.images} images in {given.out}")
    print(f"objects, not contexts: {', '.join(done.objects) or 'none of the names'}")
    if done.left_out:
        print(f"left out: {done.left_out} masks of images that are not in {given.out / 'JPEGImages'}")
    return 0


def _classes(path: Path | None) -> Sequence[str]:
    """Class names in a file, or VOC's 20."""
    from deft.data.faults import Faults, refuse
    from deft.data.lists import read_classes
    from deft.data.voc import VOC_CLASSES

    faults = Faults()
    classes = read_classes(path, faults) if path else VOC_CLASSES
    refuse(faults.all, str(path))
    return classes


def _predict(given: argparse.Namespace) -> int:
    from deft.predict import predict_folder, predict_shards

    precision = PRECISIONS[given.precision]
    if _in_shards(given):
        done = predict_shards(
            given.run, given.images, given.out, given.tags, given.tags_from, given.overlays, precision
        )
        print(f"masks of {done.all_shards} shards in {given.out}; made by this command: {done.images} masks")
        return 0
    count = predict_folder(given.run, Path(given.images), given.out, given.tags, precision)
    print(f"{count} masks in {given.out / 'masks'}, pictures in {given.out / 'overlays'}")
    return 0


def _seeds(given: argparse.Namespace) -> int:
    from deft.locate import locate_folder, locate_shards

    precision = PRECISIONS[given.precision]
    if _in_shards(given):
        done = locate_shards(given.run, given.images, given.out, given.tags, given.tags_from, precision)
        print(f"seeds of {done.all_shards} shards in {given.out}; made by this command: {done.images} images")
        return 0
    print(f"{locate_folder(given.run, Path(given.images), given.out, given.tags, precision)} seeds in {given.out}")
    return 0


def _in_shards(given: argparse.Namespace) -> bool:
    shards = str(given.images).startswith("shards:")
    if given.tags_from and not shards:
        raise InputError("--tags-from: expected shards:PATTERN, got a folder or a photograph; give a table with --tags")
    return shards


def _report(given: argparse.Namespace) -> int:
    from deft.present import rewrite_report

    print(f"report: {rewrite_report(given.run, given.beside)}")
    return 0


def _voc_submit(given: argparse.Namespace) -> int:
    from deft.submit import check_archive, listed_images, submit

    if (given.run is None or given.out is None) if given.check is None else (given.run or given.out):
        raise InputError("expected a run and --out ARCHIVE, or --check ARCHIVE; give one of the two")
    data = given.data or ("" if given.run is None else _data_of(given.run))
    images = listed_images(data, given.images, given.ids)
    if given.check is not None:
        check_archive(given.check, images, given.comp)
        print(f"{given.check}: {len(images)} masks, nothing the server would refuse")
        return 0
    print(f"{submit(given.run, given.out, given.comp or 6, images)} masks in {given.out}")
    return 0


def _data_of(run: Path) -> str:
    """The data of a run as it was given."""
    from deft.artifacts import read_json

    if not (run / "run.json").is_file():
        raise InputError(f"{run}: expected a run folder, found no run.json in it; give the folder deft run wrote")
    return str(read_json(run / "run.json")["data"]["given"])


def _demo(given: argparse.Namespace) -> int:
    from deft.pipeline import run
    from deft.present import rewrite_report
    from deft.recipes import RECIPES

    for name in ("demo_cam", "demo"):
        run(RECIPES[name](), "demo:", given.out / name, name=name)
    page = rewrite_report(given.out / "demo", [given.out / "demo_cam"])
    print(f"report: {os.path.relpath(page)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
