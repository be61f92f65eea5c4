"""The arguments of the command ``deft``: its verbs, their options, and what ``--help`` says of them."""

from __future__ import annotations

import argparse
from pathlib import Path

from deft import __version__
from deft.cli import datasets, photographs, runs
from deft.cli.options import PRECISIONS

DATA_HELP = """KIND:PATH. folder:PATH  images/ with labels.csv or labels.json, or one folder per tag; masks/ optional.
voc:PATH  the layout of PASCAL VOC.  coco:PATH  COCO 2014 or 2017 (coco:PATH?empty=drop), and exports like it.
yolo:, labelme:, labelstudio:, cvat:, openimages:, imagefolder:, datasets:  exports of these tools, see docs/data.md.
demo:  the embedded dataset (demo:bias=0.9,train=600).
FILE.py:NAME?OPTIONS  a class or function of a Python file of yours ('my_data.py:Birds?root=photos')."""
BACKBONE_HELP = "any timm model with feature maps"
WEIGHTS_HELP = "hub, none, a .safetensors or .pth file, or package: pip's (for tf_efficientnet_lite0, lite1 and lite2)"
PRECISION_HELP = "precision of the networks (default auto: bf16 if the machine computes it faster, else 32)"
MAX_SIDE_HELP = "longer side at which photographs are read, 32 to 65536 pixels, or none to read them at full size"
THREADS_HELP = "threads of each process (default auto: OMP_NUM_THREADS, else the cores that are free now)"
MEMORY_HELP = "GB that each process may take while it trains, batches are divided to fit (default auto: what is free)"
THRESHOLDS_HELP = "auto: chosen from maps and photographs, without masks (default); paper: each system's published ones"
TILES_HELP = "segment photographs and GeoTIFFs at their own resolution in tiles, auto for 1024,256 (docs/large.md)"
NETWORK_HELP = "a run folder, an exported model, a saved network (.safetensors), or hub:OWNER/NAME"
RUN_DATA_HELP = "KIND:PATH of the run's data; required if that is a Python file, which is executed"
DEVICES_HELP = "processes, one per GPU, of each machine, or of the whole Ray cluster (default 1)"
ENGINE_HELP = "where the work on images is done: here (default), or on a Ray cluster, see docs/scale.md"
ADDRESS_HELP = "HOST:PORT of the cluster's head, or auto (default: a cluster of this machine alone, for this command)"
FORMATS_HELP = "png, voc, coco, yolo, yolo-semantic, labelme, labelstudio, cvat, cvat-mask"
ONLY_HELP = "images by name, separated by commas, or @FILE with one name a line"
PORT_HELP = "port of this machine, which alone can reach it (default: the first free one from 8765 on)"
STUDIES_HELP = """localisation, augmentations, masks, segmentation, ablation, context, activation, manifold, bias or
thresholds."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(
        prog="deft",
        description="Masks from photographs and the names of what they show.",
        epilog="Start with: deft quick folder:PHOTOS, then deft run irn_deft --data folder:PHOTOS --out runs/mine",
    )
    top.add_argument("--version", action="version", version=f"deft {__version__}")
    known = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    run = known.add_parser("run", help="train, make masks, score them and write a report", allow_abbrev=False)
    run.add_argument(
        "recipe", help="cam, irn, irn_deft, ... (deft recipes lists all), or a .py file with a function recipe()"
    )
    run.add_argument("--data", required=True, help=DATA_HELP)
    run.add_argument("--out", required=True, type=Path, help="the run folder; the same command resumes the run")
    run.add_argument("--backbone", help="any timm model with feature maps (default: the recipe's, resnet50)")
    run.add_argument("--weights", help=WEIGHTS_HELP)
    run.add_argument("--thresholds", choices=["auto", "paper"], default="auto", help=THRESHOLDS_HELP)
    run.add_argument("--precision", choices=PRECISIONS, help=PRECISION_HELP)
    run.add_argument("--threads", type=_threads, metavar="N", help=THREADS_HELP)
    run.add_argument("--memory", type=_memory, metavar="GB", help=MEMORY_HELP)
    run.add_argument("--devices", type=int, default=1, metavar="N", help=DEVICES_HELP)
    run.add_argument("--num-nodes", type=int, default=1, metavar="N", help="machines; see docs/scale.md (default 1)")
    run.add_argument("--max-side", metavar="PIXELS", help=MAX_SIDE_HELP + " (default 1024)")
    _engine(run)
    run.add_argument("--seed", type=int, help="random seed (default 0)")
    run.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="any field; see --show")
    run.add_argument(
        "--reuse", action="append", default=[], type=Path, metavar="RUN", help="take over equal stages from RUN"
    )
    run.add_argument(
        "--corrected", type=Path, metavar="RUN", help="learn from the reviewed masks of RUN (default: of --out itself)"
    )
    run.add_argument("--show", action="store_true", help="print every field with its value and stop")
    run.set_defaults(act=runs.run)

    quick = known.add_parser("quick", help="masks and a network while you wait", allow_abbrev=False)
    quick.add_argument("data", help=DATA_HELP)
    quick.add_argument(
        "--out", type=Path, default=Path("runs/quick"), help="folder of the answers (default runs/quick)"
    )
    quick.add_argument(
        "--deft",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="with DEFT's head, the recipe frozen_deft (default), or without it, frozen",
    )
    quick.add_argument("--backbone", default="tf_efficientnet_lite0", help=f"{BACKBONE_HELP} (default %(default)s)")
    quick.add_argument("--weights", help=WEIGHTS_HELP)
    quick.add_argument("--precision", choices=PRECISIONS, help=PRECISION_HELP)
    quick.add_argument("--threads", type=_threads, metavar="N", help=THREADS_HELP)
    quick.add_argument("--max-side", metavar="PIXELS", help=MAX_SIDE_HELP + " (default 1024)")
    quick.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="any field of the recipe")
    quick.set_defaults(act=runs.quick)

    doctor = known.add_parser("doctor", help="what this machine offers and what that means", allow_abbrev=False)
    doctor.add_argument("--out", type=Path, default=Path(), help="where a run folder would be (default: here)")
    doctor.add_argument("--weights", default="none", help=f"check these weights too: {WEIGHTS_HELP}")
    doctor.set_defaults(act=runs.doctor)

    check = known.add_parser("check", help="read a whole dataset and list every fault", allow_abbrev=False)
    check.add_argument("data", help=DATA_HELP)
    check.set_defaults(act=datasets.check)

    recipes = known.add_parser("recipes", help="list all recipes, or describe one of them", allow_abbrev=False)
    recipes.add_argument("recipe", nargs="?", help="print its paper, and the fields that differ from irn's")
    recipes.set_defaults(act=runs.recipes)

    predict = known.add_parser("predict", help="masks and overlays of new photographs or a video", allow_abbrev=False)
    predict.add_argument("run", type=Path, help=NETWORK_HELP)
    _photographs(predict)
    predict.add_argument("--out", required=True, type=Path, help="folder for masks/ and overlays/, or shards of masks")
    predict.add_argument("--overlays", action="store_true", help="pictures in shards too (a folder always gets them)")
    predict.add_argument("--tiles", metavar="SIZE[,OVERLAP]", help=TILES_HELP)
    predict.add_argument("--scale", metavar="FRACTION", help="of the resolution at which tiles are seen (default 1)")
    predict.add_argument("--context", metavar="WHICH", help="tile: pool each tile alone, faster (default photograph)")
    predict.add_argument("--bands", metavar="R,G,B", help="bands of a TIFF for red, green and blue, or one for grey")
    predict.add_argument(
        "--steady", type=float, metavar="SECONDS", help="average a video's scores over so many seconds"
    )
    predict.add_argument(
        "--rate", type=float, metavar="FPS", help="the folder holds frames of a video, so many a second"
    )
    predict.add_argument("--values", metavar="LOW,HIGH", help="values of a TIFF that are black and white")
    _engine(predict)
    predict.set_defaults(act=photographs.predict)

    seeds = known.add_parser("seeds", help="class maps of new photographs", allow_abbrev=False)
    seeds.add_argument("run", type=Path, help="a run folder with a trained classifier")
    _photographs(seeds)
    seeds.add_argument("--out", required=True, type=Path, help="folder for NAME.npz, or shards of them")
    _engine(seeds)
    seeds.set_defaults(act=photographs.seeds)

    export = known.add_parser("export-model", help="networks as ONNX or .pt2, with a model card", allow_abbrev=False)
    export.add_argument("run", type=Path, help="a finished run folder")
    export.add_argument("--out", required=True, type=Path, help="a new folder, or one file: NAME.onnx or NAME.pt2")
    export.add_argument("--format", choices=["onnx", "torch"], help="onnx (default), or torch: .pt2, torch.export's")
    export.add_argument("--push", default="", metavar="OWNER/NAME", help="upload the folder to the Hugging Face hub")
    export.add_argument("--data", help=RUN_DATA_HELP)
    export.set_defaults(act=photographs.export_model)

    report = known.add_parser("report", help="rewrite a run's page, compared with other runs", allow_abbrev=False)
    report.add_argument("run", type=Path, help="a finished run folder")
    report.add_argument("--beside", action="append", default=[], type=Path, metavar="RUN", help="a run to compare with")
    report.add_argument("--data", help=RUN_DATA_HELP)
    report.set_defaults(act=runs.report)

    verify = known.add_parser("verify", help="check that every file of a run is as it was made", allow_abbrev=False)
    verify.add_argument("run", type=Path, help="a finished run folder")
    verify.set_defaults(act=runs.verify)

    tune = known.add_parser("tune", help="choose a run's thresholds on a few drawn masks", allow_abbrev=False)
    tune.add_argument("run", type=Path, help="a finished run folder")
    tune.add_argument("--masks", type=Path, metavar="DIR", help="drawn masks, PNGs named after training images")
    tune.add_argument("--reviewed", action="store_true", help="take the run's reviewed masks that are not held out")
    tune.add_argument("--most", type=int, metavar="N", help="use N of the masks and score on the others")
    tune.add_argument("--data", help=RUN_DATA_HELP)
    tune.set_defaults(act=runs.tune)

    suggest = known.add_parser("suggest", help="which images of a run to correct next, and why", allow_abbrev=False)
    suggest.add_argument("run", type=Path, help="a run folder with pseudo-masks")
    suggest.add_argument("-n", "--number", type=int, default=20, metavar="N", help="number of images (default 20)")
    suggest.add_argument("--json", action="store_true", help="print JSON instead of a table")
    suggest.add_argument("--threads", type=_threads, default="auto", metavar="N", help=THREADS_HELP)
    suggest.add_argument("--data", help=RUN_DATA_HELP)
    suggest.set_defaults(act=runs.suggest)

    study = known.add_parser("study", help="make a table or figure of the paper on any data", allow_abbrev=False)
    study.add_argument("study", metavar="NAME", help=STUDIES_HELP)
    study.add_argument("--data", required=True, help=DATA_HELP)
    study.add_argument("--out", required=True, type=Path, help="folder of NAME.md and runs/; the command resumes there")
    study.add_argument("--seeds", type=int, default=3, metavar="N", help="number of random seeds (default 3)")
    study.add_argument("--first-seed", type=int, default=0, metavar="SEED", help="the first of them (default 0)")
    study.add_argument(
        "--systems",
        nargs="+",
        default=[],
        metavar="NAME",
        help="rows to make, recipes or .py files of yours (default: the paper's)",
    )
    study.add_argument("--backbone", help="any timm model with feature maps (default: the recipes', resnet50)")
    study.add_argument("--weights", help=WEIGHTS_HELP)
    study.add_argument("--thresholds", choices=["auto", "paper"], default="auto", help=THRESHOLDS_HELP)
    study.add_argument("--precision", choices=PRECISIONS, help=PRECISION_HELP)
    study.add_argument("--max-side", metavar="PIXELS", help=MAX_SIDE_HELP + " (default 1024)")
    study.add_argument("--threads", type=_threads, metavar="N", help=THREADS_HELP)
    study.add_argument("--memory", type=_memory, metavar="GB", help=MEMORY_HELP)
    study.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="any field, in every row that has it"
    )
    study.set_defaults(act=runs.study)

    submit = known.add_parser("voc-submit", help="write the archive for VOC 2012's test server", allow_abbrev=False)
    submit.add_argument("run", type=Path, nargs="?", help="a finished run on voc: (not with --check)")
    submit.add_argument("--out", type=Path, help="the archive to write, .tar.gz or .tgz")
    submit.add_argument("--comp", type=int, choices=[5, 6], help="5: trained on images of VOC only, 6: any (default)")
    submit.add_argument("--data", help="voc:PATH with the test images (default: the run's)")
    submit.add_argument("--images", type=Path, help="a folder of test images instead, with --ids")
    submit.add_argument("--ids", type=Path, help="their names, one per line")
    submit.add_argument(
        "--check", type=Path, metavar="ARCHIVE", help="only list what the server would refuse in ARCHIVE"
    )
    submit.set_defaults(act=photographs.voc_submit)

    labels = known.add_parser("import-labels", help="convert cls_labels.npy to a table; executes no code in the file")
    labels.add_argument("source", type=Path, help="cls_labels.npy, in which other tools store VOC's labels")
    labels.add_argument("table", type=Path, help="the CSV file to write, header image,labels")
    labels.add_argument("--classes", type=Path, help="class names, one per line (default: VOC's 20)")
    labels.set_defaults(act=datasets.import_labels)

    export = known.add_parser("export", help="masks of a run for an annotation tool", allow_abbrev=False)
    export.add_argument("run", type=Path, help="a run folder")
    export.add_argument(
        "--format", required=True, metavar="NAME", help=FORMATS_HELP + ", datasets (docs/annotation.md)"
    )
    export.add_argument("--out", required=True, type=Path, help="a new folder")
    export.add_argument(
        "--masks", default="pseudo", metavar="KIND", help="pseudo (default), predictions, or reviewed ones"
    )
    export.add_argument("--only", action="append", default=[], metavar="NAMES", help=ONLY_HELP)
    export.add_argument(
        "--class", dest="classes", action="append", default=[], metavar="NAMES", help="images with one of these tags"
    )
    export.add_argument(
        "--state",
        action="append",
        default=[],
        metavar="STATES",
        help="images that a review has accepted, corrected or rejected, or that are unreviewed",
    )
    export.add_argument("--shapes", choices=["polygons", "masks"], help="default: what is usual in the format")
    export.add_argument(
        "--tolerance",
        type=float,
        default=1.0,
        metavar="PIXELS",
        help="how far polygons may be from the mask (default 1; 0: none)",
    )
    export.add_argument("--no-images", action="store_true", help="leave out the photographs")
    export.add_argument("--data", help=RUN_DATA_HELP)
    export.set_defaults(act=datasets.export_masks)

    taking = known.add_parser("import", help="corrected masks from an annotation tool", allow_abbrev=False)
    taking.add_argument("run", type=Path, help="the run folder; masks go into its folder review/")
    taking.add_argument("files", type=Path, help="the folder or file that the tool has exported, unpacked")
    taking.add_argument("--format", required=True, metavar="NAME", help=f"{FORMATS_HELP}; docs/annotation.md")
    taking.add_argument("--only", action="append", default=[], metavar="NAMES", help=ONLY_HELP)
    taking.add_argument(
        "--other-classes",
        choices=["refuse", "ignore", "background"],
        default="refuse",
        help="what becomes of classes that the run does not have (default refuse)",
    )
    taking.add_argument(
        "--as-stored", action="store_true", help="the tool has not applied EXIF, where sizes do not tell"
    )
    taking.add_argument("--data", help=RUN_DATA_HELP)
    taking.set_defaults(act=datasets.import_masks)

    review = known.add_parser("review", help="look through a run's masks and mend them", allow_abbrev=False)
    review.add_argument("run", type=Path, help="the run folder; decisions and masks go into its folder review/")
    review.add_argument("--port", type=_port, metavar="N", help=PORT_HELP)
    review.add_argument("--no-browser", action="store_true", help="only print the address of the page")
    review.add_argument("--data", help=RUN_DATA_HELP)
    review.set_defaults(act=datasets.review)

    contexts = known.add_parser("import-contexts", help="convert PASCAL-Context's masks to contexts of voc: data")
    contexts.add_argument("masks", type=Path, help="folder of PNGs named after the images")
    contexts.add_argument("names", type=Path, help="names of their values, one per line: 1: aeroplane")
    contexts.add_argument("out", type=Path, help="folder to write into, for example the VOC folder")
    contexts.add_argument("--classes", type=Path, help="object classes (default: OUT/classes.txt, else VOC's 20)")
    contexts.set_defaults(act=datasets.import_contexts)

    demo = known.add_parser("demo", help="run all stages on an embedded dataset", allow_abbrev=False)
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the demo's runs")
    demo.set_defaults(act=runs.demo)
    return top


def _photographs(verb: argparse.ArgumentParser) -> None:
    """Arguments for new photographs and their tags."""
    verb.add_argument("images", help="a folder of photographs, a photograph, or 'shards:PATTERN' (docs/data.md)")
    verb.add_argument("--tags", type=Path, help="table image,labels (CSV or JSON) with the classes of each image")
    verb.add_argument("--tags-from", default="", metavar="SUFFIX", help="suffix of shard members with tags: json, ...")
    verb.add_argument("--precision", choices=PRECISIONS, default="auto", help=PRECISION_HELP)
    verb.add_argument("--max-side", metavar="PIXELS", help=MAX_SIDE_HELP + " (default: the run's)")
    verb.add_argument("--threads", type=_threads, default="auto", metavar="N", help=THREADS_HELP)


def _threads(text: str) -> int | str:
    """A number of threads, or ``auto``."""
    if text == "auto":
        return text
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"expected auto, or a whole number from 1 to 1024, got {text!r}")
    return int(text)


def _port(text: str) -> int:
    """A port that any user may take."""
    if not (text.isascii() and text.isdecimal()) or not 1024 <= int(text[:9]) <= 65535:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1024 to 65535, got {text!r}")
    return int(text)


def _memory(text: str) -> float | str:
    """A number of GB, or ``auto``."""
    if text == "auto":
        return text
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.1 <= number <= 1e6:  # and nan is in no range
        raise argparse.ArgumentTypeError(f"expected auto, or a number of GB from 0.1 to 1,000,000, got {text!r}")
    return number


def _engine(verb: argparse.ArgumentParser) -> None:
    """Arguments for where the work on images is done."""
    verb.add_argument("--engine", choices=["here", "ray"], default="here", help=ENGINE_HELP)
    verb.add_argument("--ray-address", default="", metavar="ADDRESS", help=ADDRESS_HELP)
