"""Verbs for labels and masks of people and of other tools: arguments in, an exit code out. Heavy imports are local."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deft.cli.options import bar, image_names, separated
from deft.contracts import InputError


def check(given: argparse.Namespace) -> int:
    """List the classes and every fault of a dataset."""
    from deft.data.check import look_at
    from deft.data.faults import counted
    from deft.data.overview import overview

    with bar("reading") as progress:
        splits, faults = look_at(given.data, full=True, progress=progress)
    if splits is not None:
        print(overview(splits))
    for fault in faults:
        print(fault)
    fatal = sum(not fault.warning for fault in faults)
    print(f"{counted(fatal, 'fault')}, {counted(len(faults) - fatal, 'warning')}" if faults else "no faults")
    return 2 if fatal else 0


def import_labels(given: argparse.Namespace) -> int:
    """Convert cls_labels.npy to a table."""
    from deft.data.importers.cls_labels import import_cls_labels

    count = import_cls_labels(given.source, given.table, _classes(given.classes))
    print(f"{count} images in {given.table}")
    return 0


def import_contexts(given: argparse.Namespace) -> int:
    """Convert PASCAL-Context's masks to context masks."""
    from deft.data.importers.pascal_context import import_contexts
    from deft.guards.opening import exists

    own = given.out / "classes.txt"
    classes = _classes(given.classes or (own if exists(own) else None))
    with bar("importing") as progress:
        done = import_contexts(given.masks, given.names, given.out, classes, progress)
    print(f"{len(done.contexts)} contexts of {done.images} images in {given.out}")
    print(f"objects, not contexts: {', '.join(done.objects) or 'none of the names'}")
    if done.left_out:
        print(f"left out: {done.left_out} masks of images that are not in {given.out / 'JPEGImages'}")
    return 0


def _classes(path: Path | None) -> Sequence[str]:
    """Class names in a file, or VOC's 20."""
    from deft.data.faults import Faults, refuse
    from deft.data.layouts.name_lists import read_classes
    from deft.data.layouts.voc import VOC_CLASSES

    faults = Faults()
    classes = read_classes(path, faults) if path else VOC_CLASSES
    refuse(faults.all, str(path))
    return classes


def export_masks(given: argparse.Namespace) -> int:
    """Masks of a run for another tool."""
    from deft.data.faults import counted
    from deft.export.formats import format_named
    from deft.export.picture import Style
    from deft.export.source import Choice, Source
    from deft.export.write import export

    form = format_named(given.format)
    if not 0 <= given.tolerance <= 100:
        raise InputError(f"--tolerance {given.tolerance:g}: expected a number of pixels from 0 to 100; correct it")
    classes, states = separated(given.classes), separated(given.state)
    choice = Choice(given.masks, image_names(given.only), classes, states)
    source = Source.of(given.run, given.data)
    style = Style(source.classes, given.shapes or "", given.tolerance)
    with bar("export") as progress:
        count = export(
            source, form.writer, given.out, style, choice, photographs=not given.no_images, progress=progress
        )
    print(f"{counted(count, 'mask')} in {given.out}")
    return 0


def import_masks(given: argparse.Namespace) -> int:
    """Masks from another tool."""
    from deft.data.faults import counted
    from deft.export.formats import reader_of
    from deft.export.source import Source
    from deft.export.take_in import Taking, take_in

    read = reader_of(given.format)
    taking = Taking(given.as_stored, given.other_classes, image_names(given.only))
    source = Source.of(given.run, given.data)
    with bar("import") as progress:
        done = take_in(source, read, given.files, taking, progress)
    for remark in done.remarks:
        print(f"deft: {remark}", file=sys.stderr)
    count = counted(done.accepted + done.corrected, "mask")
    print(f"{count} in {source.review.folder}: {done.accepted} accepted, {done.corrected} corrected")
    return 0


def review(given: argparse.Namespace) -> int:
    """Serve the page on which masks are looked through."""
    from deft.review.serve import review, show

    def begun(address: str) -> None:
        print(f"review: {address}\nCtrl-C ends it; every step is in {given.run / 'review'} already", flush=True)
        if not given.no_browser:
            show(address)

    review(given.run, given.port, given.data, begun)
    return 0
