"""From a review to what a round learns: ``RUN/corrected/`` is made before any stage, and removed with the review."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from deft.artifacts import atomic_write, write_json
from deft.artifacts.corrected import RECORD, Corrected
from deft.artifacts.photographs import digests
from deft.artifacts.review import REJECTED, UNREVIEWED, Review, Reviewed
from deft.contracts import Dataset, InputError, Splits
from deft.data.examples import without_truth
from deft.data.fingerprints import taught
from deft.data.working_size import KnowsSizes
from deft.engine.corrections import Corrections, is_held_out
from deft.guards.words import shown
from deft.stages.placed import Placed, content_of, place, refuse_lost, turned


def take_over(
    out: Path,
    splits: Splits,
    settings: Corrections,
    source: Path | None = None,
    photographs: Mapping[str, str] | None = None,
) -> Corrected:
    """Copy what was reviewed into a run; an unchanged review changes nothing.

    Decisions follow photographs and names of classes (:mod:`deft.stages.placed`). Those about photographs that are gone
    or replaced are left out, with a remark; in the run's own review, an image that was replaced is unreviewed again.

    Args:
        out: the run, held by this process.
        splits: its data as it is, before any correction.
        settings: of what is held out.
        source: the run with the review; None takes that of ``out`` itself.
        photographs: digest of each photograph by name, as far as it is known; None reads them.

    Raises:
        InputError: the review is damaged, has classes that the data does not have, is of other images altogether, or
            has a mask of another size than its image; or it rejects every training image.
    """
    classes = splits.train.classes
    if photographs is None:
        photographs = digests({part: taught(data).to_json() for part, data in _parts(splits).items()})
    review = Review.recorded(source or out, classes)
    placed = place(review, {name for data in _parts(splits).values() for name in data.names}, photographs)
    placed = placed.without(_of_another_size(placed, splits, photographs))
    if source is not None and not placed.decided and (placed.gone or placed.replaced):
        raise InputError(
            f"{shown(review.folder)}: expected a review of images of the data, got none that it has, "
            f"{shown((*placed.gone, *placed.replaced)[0])!r} for one that it does not have; name the run whose "
            "photographs these are"
        )
    decided = _turned(placed, classes)
    found = _sorted(out, splits, decided, settings.held_out)
    if remark := placed.remark():
        print(remark, file=sys.stderr)
    if source is None and review.classes == tuple(classes):
        for name in placed.replaced:
            review.begin_again(name, photographs.get(name, ""))
    stage = found.stage
    masks = {**found.taught, **found.held_out, **found.val}
    if not found.tags and all(state.state == UNREVIEWED for state in decided.values()):
        stage.remove()
        return found
    if set(splits.train.names) <= set(found.rejected):
        raise InputError(f"{shown(review.record)}: every training image is rejected; accept or correct some of them")
    if stage.done:
        stage.verify()
    if stage.done:
        return found
    _refuse_sizes(placed, masks, splits)
    with stage.making():
        for name in masks:
            journal = placed.journals[name]
            content = turned(review, journal.name, journal.now, classes).content
            atomic_write(found.mask_file(name), content or content_of(review, journal.name, journal.now))
        write_json(stage.folder / RECORD, found.to_json())
    return found


def _turned(placed: Placed, classes: Sequence[str]) -> dict[str, Reviewed]:
    """What was decided, by name of now and in classes of now; refuses classes that are no longer there."""
    review, before = placed.review, {name: placed.journals[name].name for name in placed.decided}
    found = {name: turned(review, before[name], state, classes) for name, state in placed.decided.items()}
    refuse_lost({review.journal_file(before[name]): each.lost for name, each in found.items() if each.lost})
    return {name: each.state for name, each in found.items()}


def _sorted(out: Path, splits: Splits, decided: Mapping[str, Reviewed], share: float) -> Corrected:
    """What becomes of each image that somebody has decided about."""
    train = {name: row for name, row in zip(splits.train.names, splits.train.labels, strict=True)}
    taught, held_out, val, rejected, tags = {}, {}, {}, [], {}
    for name, each in decided.items():
        if each.state == UNREVIEWED:
            pass
        elif name not in train:
            if each.state != REJECTED:
                val[name] = each.mask
        elif each.state == REJECTED:
            rejected.append(name)
        elif is_held_out(name, share):
            held_out[name] = each.mask
        else:
            taught[name] = each.mask
        if each.tags is not None and name in train and each.state != REJECTED and not is_held_out(name, share):
            own = {splits.train.classes[k] for k in train[name].nonzero()[0]}
            if set(each.tags) != own:
                tags[name] = each.tags
    return Corrected(out, taught, held_out, val, tuple(rejected), tags)


def _parts(splits: Splits) -> dict[str, Dataset]:
    return {"train": splits.train} | ({} if splits.val is None else {"val": splits.val})


def _sizes(splits: Splits, names: Collection[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """(H, W) of some images, by name; of two with one name that of the training image."""
    left = set(names)
    for data in map(without_truth, _parts(splits).values()):
        for index, name in enumerate(data.names):
            if name in left:
                left.remove(name)
                yield name, data.size_of(index) if isinstance(data, KnowsSizes) else data[index].full_size


def _of_another_size(placed: Placed, splits: Splits, photographs: Mapping[str, str]) -> set[str]:
    """Images that are other photographs than were reviewed, as only their sizes tell: no digest of them is known."""
    journals = placed.journals
    masks = {name for name, each in placed.decided.items() if each.mask and each.state not in (UNREVIEWED, REJECTED)}
    unknown = {name for name in masks if not journals[name].now.image or not photographs.get(name)}
    found = set()
    for name, size in _sizes(splits, unknown):
        found |= {name} if placed.review.load(journals[name].name, journals[name].now).shape != size else set()
    return found


def _refuse_sizes(placed: Placed, masks: Collection[str], splits: Splits) -> None:
    """Refuse masks that are damaged, or of another size than their images."""
    for name, size in _sizes(splits, masks):
        journal = placed.journals[name]
        mask = placed.review.load(journal.name, journal.now)
        if mask.shape != size:
            raise InputError(
                f"{shown(placed.review.mask_file(journal.name, journal.now.mask))}: expected a mask of the size of its "
                f"image, {size[1]} x {size[0]}, got {mask.shape[1]} x {mask.shape[0]}; correct the image again"
            )
