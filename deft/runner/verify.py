"""``deft verify RUN``: whether every file of a finished run is as it was made, and nothing else is in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deft.artifacts import (
    CONTENTS,
    HASHES,
    MADE,
    Damage,
    Stage,
    carries,
    damages,
    made_files,
    stage_records,
)
from deft.artifacts.expected import read_expected
from deft.artifacts.record import run_record, stage_key
from deft.artifacts.review import is_review
from deft.contracts import InputError
from deft.guards.opening import exists
from deft.guards.words import shown

RECORD = "stage.json"


@dataclass(frozen=True)
class Verified:
    """What was found in a run folder."""

    files: int
    """Files whose content was compared."""
    wrong: tuple[Damage, ...]
    """Files that are damaged, missing or foreign, and stages that are not finished."""
    unknown: tuple[str, ...]
    """Stages of an earlier version of deft, which kept no hashes."""


def verify(run: Path) -> Verified:
    """Check a finished run folder; nothing is written.

    Args:
        run: the folder.

    Raises:
        InputError: the folder holds no run.
    """
    run_record(run)
    files, wrong, unknown = 0, [], []
    for folder in (run, *_rounds(run)):
        for stage in stages(folder):
            made = stage.record.get(HASHES)
            place = stage.folder.relative_to(run).as_posix()
            if not stage.done:
                wrong.append(Damage(stage.folder, "not finished; repeat the command that made the run"))
            elif not isinstance(made, dict):
                unknown.append(place)
            else:
                files += len(made)
                wrong += [*damages(stage.folder, made), *_strangers(stage, set(made))]
    whole = own_files(run)
    if whole is None:
        unknown.append(MADE)
    else:
        files += len(whole)
        wrong += damages(run, whole)
    wrong += _foreign(run, whole)
    return Verified(files, tuple(wrong), tuple(unknown))


def refuse_damaged(run: Path) -> None:
    """Refuse to read a run with damaged stages.

    Raises:
        InputError: names up to five files.
    """
    found = [damage for folder in (run, *_rounds(run)) for stage in stages(folder) for damage in stage.damages()]
    if found:
        more = [f"... and {len(found) - 5} more: `deft verify {shown(run)}` lists them all"] if len(found) > 5 else []
        way_out = "repeat the command that made the run: it makes again what is damaged"
        raise InputError("\n".join([*map(str, found[:5]), *more, way_out]))


def stages(folder: Path) -> Iterator[Stage]:
    """The stages in a run folder, finished or not, each with the key in its own record."""
    for path in stage_records(folder):
        yield Stage(path.parent.relative_to(folder).as_posix(), path.parent, stage_key(path))


def own_files(run: Path) -> dict[str, str] | None:
    """The hashes of the run's own files; None if the run is not finished, or was made by an earlier version."""
    path = run / MADE
    if not exists(path):
        return None
    found: dict[str, str] = read_expected(path, {str: str}, "repeat the deft run command, which writes them again")
    return found


def _rounds(run: Path) -> list[Path]:
    return [path for path in sorted(run.glob("round-*")) if path.is_dir() and not path.is_symlink()]


def _strangers(stage: Stage, made: set[str]) -> Iterator[Damage]:
    """Files in a stage's folder that the stage has not made, nor a later command from its files."""
    for name in made_files(stage.folder):
        path = stage.folder / name
        if name not in made and (path.is_symlink() or not carries(path, stage.key)):
            yield Damage(path, "foreign: deft did not make it")


def _foreign(run: Path, whole: dict[str, str] | None) -> Iterator[Damage]:
    """Files and folders directly in the run folder, or in a round's, that belong neither to a run nor to its review."""
    for folder in (run, *_rounds(run)):
        for path in sorted(folder.iterdir()):
            working = path.name == "lock" or path.name.startswith(("lock.", ".part-"))
            if path.is_symlink():
                yield Damage(path, "foreign: a link, which deft makes none of")
            elif path.is_dir():
                beside = folder == run and (path.name.startswith("round-") or is_review(path))
                if not exists(path / RECORD) and not beside:
                    yield Damage(path, "foreign: no stage of the run")
            elif not working and not _known(path, run, whole):
                yield Damage(path, "foreign: deft did not make it")


def _known(path: Path, run: Path, whole: dict[str, str] | None) -> bool:
    if path in (run / MADE, run / CONTENTS):
        return True
    if whole is not None:
        return path.relative_to(run).as_posix() in whole
    return path.suffix in (".json", ".html")
