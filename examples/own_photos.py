"""Masks for your own photographs: check the folder, train, then segment photographs without tags.

    python examples/own_photos.py PHOTOS --out runs/mine
    python examples/own_photos.py PHOTOS --out runs/mine --weights resnet50.safetensors --new MORE_PHOTOS

PHOTOS contains images/ and labels.csv (header image,labels); docs/data.md describes the other layouts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import deft
from deft import recipes
from deft.predict.masks import predict_folder
from deft.settings import assign


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if masks were made, 2 if the photographs cannot be used."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("photos", type=Path)
    reader.add_argument("--out", type=Path, default=Path("runs/mine"))
    reader.add_argument("--backbone", default="resnet50", help="any timm model with feature maps")
    reader.add_argument("--weights", default="hub", help="hub (needs internet access), none, or a file")
    reader.add_argument("--new", type=Path, help="untagged photographs to segment at the end")
    reader.add_argument("settings", nargs="*", metavar="FIELD=VALUE", help="fields of the recipe, as for --set")
    given = reader.parse_intermixed_args(arguments)
    data = f"folder:{given.photos}"

    # Every file is decoded here; a fault names its file, its line and a remedy.
    faults = deft.check(data)
    for fault in faults:
        print(fault)
    if any(not fault.warning for fault in faults):
        return 2

    # irn_deft differs from irn only in the classifier's head; any recipe can be varied in this way.
    pipeline = replace(recipes.irn_deft(), backbone=given.backbone, weights=given.weights)
    try:
        page = deft.run(assign(pipeline, given.settings), data, given.out, name="irn_deft")
    except deft.InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"report: {page}\nmasks of the tagged photographs: {given.out / 'masks'}")

    if given.new is not None:
        count = predict_folder(given.out, given.new, given.out.with_name(f"{given.out.name}-new"))
        print(f"{count} new photographs segmented")
    return 0


if __name__ == "__main__":
    sys.exit(main())
