"""The review of an answer, from those of the answers before it: it begins with what was decided so far.

The decisions of the last one that has any are taken over, each with the steps before it, and later ones of all others,
by their times: an older answer may still be open in a browser. In an answer that has a review already, a later decision
about an image is a step of its own, which can be undone. Photographs and classes are followed as
:mod:`deft.stages.placed` says.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from deft.artifacts import atomic_write, write_json
from deft.artifacts.journal import Journal, Reviewed
from deft.artifacts.review import FOLDER, RECORD, Decision, Review
from deft.contracts import InputError
from deft.data.differences import listed
from deft.data.faults import counted
from deft.guards.opening import exists
from deft.guards.output import refuse_link
from deft.guards.words import shown
from deft.stages.placed import Placed, content_of, place, refuse_lost, turned


def inherit(
    out: Path, earlier: Sequence[Path], classes: Sequence[str], names: Collection[str], photographs: Mapping[str, str]
) -> None:
    """Begin the review of an answer, or take over what was decided in earlier ones since.

    Args:
        out: the run of the answer, held by this process.
        earlier: the runs before it, the last one last.
        classes: names of the K classes of now.
        names: of all images of now.
        photographs: digests of them by name, as far as they are known.

    Raises:
        InputError: the last review is damaged, or a decision has classes that the data does not have.
    """
    refuse_link(out / FOLDER)
    sources = [run for run in reversed(earlier) if exists(run / FOLDER / RECORD)]
    if not sources:
        return
    if (out / FOLDER).is_dir():
        _add(out, sources, classes, names, photographs)
    else:
        _begin(out, sources, classes, names, photographs)


def _begin(
    out: Path, sources: Sequence[Path], classes: Sequence[str], names: Collection[str], photographs: Mapping[str, str]
) -> None:
    """Write the review, whole or not at all."""
    last = place(Review.recorded(sources[0], classes), names, photographs)
    known = {name: journal.latest for name, journal in last.journals.items()}
    later = _later(sources[1:], known, classes, names, photographs)
    found = {name: (last, journal) for name, journal in last.journals.items()} | later
    left = out / f".part-{FOLDER}"
    shutil.rmtree(left, ignore_errors=True)
    review = Review(left, classes)
    lost: dict[Path, tuple[str, ...]] = {}
    for name, (placed, journal) in found.items():
        lost |= _write(review, name, placed, journal, photographs.get(name, ""))
    try:
        refuse_lost(lost)
    except InputError:
        shutil.rmtree(left, ignore_errors=True)
        raise
    if found:
        review.begin()
        review.folder.rename(out / FOLDER)
    shutil.rmtree(left, ignore_errors=True)
    if remark := last.remark():
        print(remark, file=sys.stderr)
    _tell(out, later)


def _write(review: Review, name: str, placed: Placed, journal: Journal, image: str) -> dict[Path, tuple[str, ...]]:
    """Write the journal of an image and its masks; classes that its present state has lost, if any."""
    steps: list[Reviewed] = []
    at = 0
    for number, step in enumerate(journal.steps):
        now = number == journal.at
        if not now and image and step.image and step.image != image:
            continue  # it is about another photograph
        try:
            found = turned(placed.review, journal.name, step, review.classes)
            if found.lost and now:
                return {placed.review.journal_file(journal.name): found.lost}
            if found.lost:
                continue
            if found.state.mask:
                content = found.content or content_of(placed.review, journal.name, step)
                atomic_write(review.mask_file(name, found.state.mask), content)
        except InputError:
            if now:
                raise
            continue  # a step that can no longer be returned to
        at = len(steps) if now else at
        steps.append(found.state)
    write_json(review.journal_file(name), Journal(name, tuple(steps), at, journal.revision).to_json())
    return {}


def _add(
    out: Path, sources: Sequence[Path], classes: Sequence[str], names: Collection[str], photographs: Mapping[str, str]
) -> None:
    """Add steps for what was decided in earlier answers after the last step here."""
    own = Review(out, classes)
    known = {journal.name: journal.latest for _, journal in own.journals().values()}
    later = _later(sources, known, classes, names, photographs)
    decisions: list[Decision] = []
    for name, (placed, journal) in later.items():
        now = journal.now
        found = turned(placed.review, journal.name, now, classes)
        mask = found.mask
        if mask is None and found.state.mask:
            mask = placed.review.load(journal.name, now)
        state = found.state
        decisions.append(
            Decision(
                name,
                state.state,
                mask,
                state.replaces,
                state.tags,
                state.threshold,
                state.what,
                state.time,
                state.image,
            )
        )
    own.write_all(decisions)
    _tell(out, later)


def _later(
    sources: Sequence[Path],
    known: Mapping[str, str],
    classes: Sequence[str],
    names: Collection[str],
    photographs: Mapping[str, str],
) -> dict[str, tuple[Placed, Journal]]:
    """The last decisions of several reviews, as far as they were made after those that are known, by name.

    Those that cannot be read, or have classes that the data does not have, are told of, and nothing depends on them.

    Args:
        sources: the runs.
        known: time of the last step of each image, by name.
        classes: as for :func:`inherit`.
        names: as for :func:`inherit`.
        photographs: as for :func:`inherit`.
    """
    found: dict[str, tuple[Placed, Journal]] = {}
    for run in sources:
        try:
            placed = place(Review.recorded(run, classes), names, photographs)
        except InputError as error:
            print(f"{error}; what was decided there since is left out", file=sys.stderr)
            continue
        for name, journal in placed.journals.items():
            before = found[name][1].now.time if name in found else known.get(name, "")
            if journal.now.time > before and _of_use(placed.review, journal, classes):
                found[name] = (placed, journal)
    return found


def _of_use(review: Review, journal: Journal, classes: Sequence[str]) -> bool:
    """Whether the present state of a journal can be taken over; if not, it is told why."""
    try:
        lost = turned(review, journal.name, journal.now, classes).lost
        refuse_lost({review.journal_file(journal.name): lost} if lost else {})
    except InputError as error:
        print(f"{error}; this later decision is left out", file=sys.stderr)
        return False
    return True


def _tell(out: Path, later: Mapping[str, tuple[Placed, Journal]]) -> None:
    if later:
        what = counted(len(later), "later decision")
        print(f"{shown(out / FOLDER)}: {what} of earlier answers taken over ({listed(sorted(later))})", file=sys.stderr)
