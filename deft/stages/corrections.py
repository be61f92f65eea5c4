"""From a review to what a round learns: ``RUN/corrected/`` is made before any stage, and removed with the review."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from deft.artifacts import atomic_write, write_json
from deft.artifacts.corrected import RECORD, Corrected
from deft.artifacts.review import REJECTED, Review, Reviewed
from deft.contracts import Dataset, InputError, Splits
from deft.data.examples import without_truth
from deft.data.faults import counted
from deft.data.working_size import KnowsSizes
from deft.engine.corrections import Corrections, is_held_out
from deft.guards.opening import read_regular
from deft.guards.words import shown


def take_over(out: Path, splits: Splits, settings: Corrections, source: Path | None = None) -> Corrected:
    """Copy what was reviewed into a run; an unchanged review changes nothing.

    Args:
        out: the run, held by this process.
        splits: its data as it is, before any correction.
        settings: of what is held out.
        source: the run with the review; None takes that of ``out`` itself.

    Raises:
        InputError: the review is damaged, of other classes, of images that the data does not have, or has a mask of
            another size than its image; or it rejects every training image.
    """
    review = Review(source or out, splits.train.classes)
    reviewed = review.read()
    _refuse_strangers(review, reviewed, splits)
    retagged = review.retagged()
    found = _sorted(out, splits, reviewed, retagged, settings.held_out)
    stage = found.stage
    if not reviewed and not found.tags:
        stage.remove()
        return found
    if set(splits.train.names) <= set(found.rejected):
        raise InputError(f"{shown(review.record)}: every training image is rejected; accept or correct some of them")
    if stage.done:
        stage.verify()
    if stage.done:
        return found
    _refuse_sizes(review, found, splits)
    with stage.making():
        for name, known in {**found.taught, **found.held_out, **found.val}.items():
            content = read_regular(review.mask_file(name, known))
            if sha256(content).hexdigest() != known:
                raise InputError(f"{shown(name)!r} was reviewed again while the run began; repeat the command")
            atomic_write(found.mask_file(name), content)
        write_json(stage.folder / RECORD, found.to_json())
    return found


def _sorted(
    out: Path,
    splits: Splits,
    reviewed: Mapping[str, Reviewed],
    retagged: Mapping[str, tuple[str, ...]],
    share: float,
) -> Corrected:
    """What becomes of each reviewed image."""
    train = {name: row for name, row in zip(splits.train.names, splits.train.labels, strict=True)}
    taught, held_out, val, rejected, tags = {}, {}, {}, [], {}
    for name, each in reviewed.items():
        if name not in train:
            if each.state != REJECTED:
                val[name] = each.mask
        elif each.state == REJECTED:
            rejected.append(name)
        elif is_held_out(name, share):
            held_out[name] = each.mask
        else:
            taught[name] = each.mask
    for name, given in retagged.items():
        if name in train and name not in rejected and not is_held_out(name, share):
            own = {splits.train.classes[k] for k in train[name].nonzero()[0]}
            if set(given) != own:
                tags[name] = given
    return Corrected(out, taught, held_out, val, tuple(rejected), tags)


def _parts(splits: Splits) -> list[Dataset]:
    return [splits.train] + ([] if splits.val is None else [splits.val])


def _refuse_strangers(review: Review, reviewed: Mapping[str, Reviewed], splits: Splits) -> None:
    known = {name for data in _parts(splits) for name in data.names}
    strangers = sorted(set(reviewed) - known)
    if strangers:
        raise InputError(
            f"{shown(review.record)}: expected a review of images of the data, got "
            f"{counted(len(strangers), 'image')} that it does not have, {shown(strangers[0])!r} for one; put them "
            "back, or remove their files from images/, beside it"
        )


def _refuse_sizes(review: Review, found: Corrected, splits: Splits) -> None:
    """Refuse masks that are damaged, or of another size than their images."""
    masks = {**found.taught, **found.held_out, **found.val}
    for data in map(without_truth, _parts(splits)):
        for index, name in enumerate(data.names):
            if name not in masks:
                continue
            known = masks.pop(name)
            mask = review.load(name, Reviewed("corrected", known))
            size = data.size_of(index) if isinstance(data, KnowsSizes) else data[index].full_size
            if mask.shape != size:
                raise InputError(
                    f"{shown(review.mask_file(name, known))}: expected a mask of the size of its image, {size[1]} x "
                    f"{size[0]}, got {mask.shape[1]} x {mask.shape[0]}; correct the image again"
                )
