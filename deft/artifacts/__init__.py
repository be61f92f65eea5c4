"""The only reader and writer of a run folder: every file is written whole or not at all, and none is a pickle.

A file is written under a temporary name in the same folder, flushed to disk and renamed, so that a kill or a full disk
leaves the old file or none. Each stage has a *key*, a hash of its settings and of the keys of all its inputs; the key
is stored in ``stage.json`` and inside every file the stage made.

A run folder::

    run.json              recipe, settings, data and versions; a later run in the same folder must have the same
    lock                  held by the process that works in the folder
    images.json           digest and tags of each image; names those that differ when a later run has others
    contents.json         digest, size and times of each file of the data, which is read again only if these differ
    made.json             hashes of the run's own files and of the records of its stages, when it is finished
    <stage>/stage.json    key, state, seconds, and the hash of each of the stage's files, which are next to it
    seeds/val/            stage of the held-out images' seeds, within that of the others
    review/               masks that people have accepted, corrected or rejected (:mod:`deft.artifacts.review`)
    round-<n>/            run folder of an earlier round, if a method needs one (:class:`deft.augment.cda.Cda`)
"""

from __future__ import annotations

from deft.artifacts.files import (
    BROKEN_ARRAYS,
    array_header,
    atomic_write,
    carries,
    file_stem,
    load_mask,
    load_seeds,
    load_tensors,
    mask_png,
    palette,
    read_arrays,
    read_json,
    save_mask,
    save_seeds,
    save_tensors,
    seeds_npz,
    stored_seeds,
    told_damaged,
    whole_file,
    write_json,
)
from deft.artifacts.folder import CONTENTS, MADE, RunFolder, or_newest_run, read_run
from deft.artifacts.hashes import Damage, damages
from deft.artifacts.lock import InUseError, claim
from deft.artifacts.out_folder import OutFolder
from deft.artifacts.stage import HASHES, HELD_OUT_SEEDS, Stage, made_files, seconds_of, stage_records

__all__ = [
    "BROKEN_ARRAYS",
    "CONTENTS",
    "HASHES",
    "HELD_OUT_SEEDS",
    "MADE",
    "Damage",
    "InUseError",
    "OutFolder",
    "RunFolder",
    "Stage",
    "array_header",
    "atomic_write",
    "carries",
    "claim",
    "damages",
    "file_stem",
    "load_mask",
    "load_seeds",
    "load_tensors",
    "made_files",
    "mask_png",
    "or_newest_run",
    "palette",
    "read_arrays",
    "read_json",
    "read_run",
    "save_mask",
    "save_seeds",
    "save_tensors",
    "seconds_of",
    "seeds_npz",
    "stage_records",
    "stored_seeds",
    "told_damaged",
    "whole_file",
    "write_json",
]
