"""The study runner: makes the runs that a study needs, each once, and resumes after an interruption.

A study is a function that takes a :class:`StudyRunner` and returns an :class:`~deft.studies.outcome.Outcome`::

    def my_study(runner: StudyRunner) -> Outcome:
        rows = runner.choose([Row("irn", "IRN", recipe("irn")), Row("irn_deft", "IRN + DEFT", recipe("irn_deft"))])

        def work(row: Row, seed: int) -> None:
            with runner.run(row.name, row.pipeline, seed) as run:
                write_json(run.out.path / "my_study.json", {"number": measure(run)})

        def compose(findings: list[Finding]) -> Outcome:
            return Outcome("my_study", "Title of the page", tables=(...), values={...})

        return runner.survey(rows, work, compose, record="my_study.json")

:meth:`StudyRunner.survey` calls ``work`` for every row and seed that has no record yet, and ``compose`` after each of
them, so that the page on disk always shows all results so far. Each run has its own folder,
``OUT/runs/SEED/NAME-DIGEST``, where the digest is that of its settings; runs with the same seed share equal stages.
Several processes may work in one folder at the same time: a run that another process is making is skipped until later.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from deft.artifacts import InUseError, Stage, claim, file_stem, read_json, write_json
from deft.artifacts.folder import is_as_made
from deft.artifacts.record import run_record, stage_key
from deft.backbone import weights_digest
from deft.backbone.kind import kind_of
from deft.contracts import InputError, Splits
from deft.data import check, open_data
from deft.data.faults import refuse
from deft.data.opening import places
from deft.engine.plan import Watch
from deft.guards.opening import exists
from deft.guards.output import check_out
from deft.guards.words import shown
from deft.pipeline import Pipeline
from deft.runner.run import resolved, working
from deft.settings import plain, restore
from deft.stages.context import Run
from deft.studies.origin import commit, machine, versions
from deft.studies.outcome import Outcome, write
from deft.studies.paired import RECORD, counted
from deft.studies.rows import Finding, Row, choose_rows

POLL_SECONDS = 5.0
"""Interval at which to check whether another process has finished a run."""


@dataclass(frozen=True)
class StudyRunner:
    """Makes the runs of a study: the data, the random seeds, the settings of the rows, and the output folder."""

    data: str
    """``KIND:PATH``, as on the command line."""
    out: Path
    """Output folder, for ``NAME.md`` and ``runs/``."""
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: tuple[str, ...] = ()
    """``FIELD=VALUE``, applied to each row that has the field, or ``ROW:FIELD=VALUE`` for one row."""
    systems: tuple[str, ...] = ()
    """Rows to make: names, or Python files with a recipe; empty for the study's default."""
    command: str = ""
    """The user's command line, shown on the page."""
    published: bool = False
    """Use the published thresholds instead of choosing them from the maps."""
    known_only: bool = False
    """Make no run: show the results of the runs that exist, and how many are still to be made."""
    poll: float = field(default=POLL_SECONDS, repr=False)

    @cached_property
    def splits(self) -> Splits:
        """The data, opened and checked.

        Raises:
            InputError: the data cannot be used.
        """
        splits = open_data(self.data)
        check_out(self.out, places(splits, self.data))
        refuse(check(splits, full=False), self.data)
        return splits

    def require_ground_truth(self) -> None:
        """Refuse data without training masks: a study would train for hours and could not score its maps.

        Raises:
            InputError: no training image has a ground-truth mask.
        """
        if not self.splits.train.scored.any():
            raise InputError(
                f"--data {self.data}: this study scores maps of the training images: expected ground-truth masks of "
                "some of them, got none; add masks (see docs/data.md), or run the study bias, which needs none"
            )

    def choose(self, rows: Sequence[Row], default: Sequence[str] = ()) -> list[Row]:
        """The rows to make, with the user's settings applied; see :func:`~deft.studies.rows.choose_rows`.

        Args:
            rows: all rows of the study.
            default: names of the rows to make if the user names none; all if empty.

        Returns:
            The rows in the order of the names.

        Raises:
            InputError: the study has no such system, or none of the chosen systems has the field.
        """
        names = self.systems or tuple(default) or tuple(row.name for row in rows)
        return choose_rows(rows, names, self.settings, self.published)

    def folder(self, name: str, pipeline: Pipeline, seed: int) -> Path:
        """The run folder of a pipeline with a seed."""
        settings = plain(replace(pipeline, seed=0))
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        return self.out / "runs" / str(seed) / f"{file_stem(name)}-{digest}"

    @contextmanager
    def run(self, name: str, pipeline: Pipeline, seed: int, watch: Watch | None = None) -> Iterator[Run]:
        """Make and score every stage of a run; its folder is locked until the block ends.

        Args:
            name: name of the row.
            pipeline: the row's pipeline; its seed is replaced.
            seed: random seed.
            watch: called while the classifier is trained. Such a run trains its own classifier instead of reusing one;
                after an interruption it resumes from its checkpoint, and ``watch`` sees the remaining steps.

        Raises:
            InUseError: another process is making this run, or a classifier that this run would reuse.
            InputError: the run cannot be made.
        """
        pipeline = replace(pipeline, seed=seed)
        folder = self.folder(name, pipeline, seed)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            reuse: list[Path] = []
            if watch is None:
                if pipeline.classifier is not None and not self._classifier_exists(pipeline, seed):
                    digest = hashlib.sha256(json.dumps(_classifier_settings(pipeline)).encode()).hexdigest()[:12]
                    held.enter_context(claim(folder.parent / f"classifier-{digest}.lock"))
                reuse = [record.parent for record in sorted(folder.parent.glob("*/run.json"))]
                reuse = [other for other in reuse if other != folder]
            yield held.enter_context(working(pipeline, self.data, folder, reuse, name, watch))

    def make(self, row: Row, seed: int) -> None:
        """Make a run and record its scores and counts: the ``work`` of the studies that are tables of scores."""
        with self.run(row.name, row.pipeline, seed) as run:
            write_json(run.out.path / RECORD, counted(run))

    def survey(
        self,
        rows: Sequence[Row],
        work: Callable[[Row, int], None],
        compose: Callable[[list[Finding]], Outcome],
        record: str = RECORD,
    ) -> Outcome:
        """Make the missing runs, seed by seed, unless ``known_only``, and write the page after each.

        Args:
            rows: the rows to make, from :meth:`choose`.
            work: makes one row with one seed and finally writes ``record`` into its run folder. An
                :class:`InputError` fails only this row with this seed.
            compose: builds the outcome from the results so far, ordered by row, then by seed.
            record: file name of the JSON record in each run folder.

        Raises:
            InputError: the data or the weights are missing, or the backbone cannot serve, so that no run can be made.
        """
        for row in rows:
            kind_of(row.pipeline.backbone)  # one that cannot serve is told before its weights are asked for
            if row.pipeline.weights != "hub":  # which is asked by the runs that are missing, and by no finished one
                weights_digest(row.pipeline.weights, row.pipeline.backbone)
        assert self.splits
        failures: dict[tuple[str, int], str] = {}

        def findings() -> list[Finding]:
            found = []
            for row in rows:
                for seed in self.seeds:
                    path = self.folder(row.name, row.pipeline, seed) / record
                    value = read_json(path) if exists(path) else None
                    found.append(Finding(row, seed, value, failures.get((row.name, seed), "")))
            return found

        def publish(known: list[Finding]) -> Outcome:
            failed = tuple(f"{each.row.name}, seed {each.seed}: {each.failure}" for each in known if each.failure)
            waiting = sum(each.value is None and not each.failure for each in known)
            outcome = replace(self.composed(known, compose, record), failures=failed, open=waiting)
            self.publish(outcome)
            return outcome

        known = findings()
        outcome = publish(known)
        while outcome.open and not self.known_only:
            made = False
            for each in sorted(known, key=lambda each: self.seeds.index(each.seed)):
                name = f"{each.row.name}, seed {each.seed}"
                folder = self.folder(each.row.name, each.row.pipeline, each.seed)
                if each.failure or (folder / record).exists():
                    continue
                folder.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with claim(folder.with_name(f"{folder.name}.lock")):
                        if (folder / record).exists():  # another process has just ended it
                            continue
                        work(each.row, each.seed)
                    print(f"made {name}", file=sys.stderr)
                except InUseError:
                    continue
                except InputError as error:
                    failures[each.row.name, each.seed] = str(error)
                    print(f"failed {name}: {error}", file=sys.stderr)
                made = True
                publish(findings())
            if not made:
                time.sleep(self.poll)  # other processes are making the remaining runs
            now = findings()
            if now != known:
                known, outcome = now, publish(now)
        return outcome

    def composed(self, findings: list[Finding], compose: Callable[[list[Finding]], Outcome], record: str) -> Outcome:
        """The outcome of some results.

        Raises:
            InputError: it cannot be composed, and there are records that are not as they were made.
        """
        try:
            return compose(findings)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            known = [each for each in findings if each.value is not None]
            paths = [self.folder(each.row.name, each.row.pipeline, each.seed) / record for each in known]
            if isinstance(error, InputError) or not (changed := [path for path in paths if not is_as_made(path)]):
                raise
            raise InputError(
                f"{shown(changed[0])}: expected the record of a run of this study, got other JSON "
                f"({type(error).__name__}: {shown(str(error))}); remove the file: the next command writes it again"
            ) from error

    def publish(self, outcome: Outcome) -> Path:
        """Write the files of an outcome; returns the path of the page."""
        return write(outcome, self.out, self.facts())

    def facts(self) -> dict[str, str]:
        """What is needed to reproduce the study; shown at the top of the page."""
        splits = self.splits
        held_out = f"{len(splits.val)} held out" if splits.val is not None else "none held out"
        return {
            "command": f"`{self.command}`" if self.command else "called from Python",
            "commit": commit(),
            "data": f"`{self.data}`, {len(splits.train)} training images, {held_out}, "
            f"{len(splits.train.classes)} classes",
            "seeds": ", ".join(str(seed) for seed in self.seeds),
            "thresholds": "published" if self.published else "chosen from the maps, unless set as numbers",
            "settings that differ from the recipes": " ".join(f"`{setting}`" for setting in self.settings) or "none",
            "machine": machine(),
            "versions": versions(),
        }

    def _classifier_exists(self, pipeline: Pipeline, seed: int) -> bool:
        """Whether a run with this seed has finished a classifier with these settings."""
        wanted = _classifier_settings(pipeline)
        for path in (self.out / "runs" / str(seed)).glob("*/classifier/stage.json"):
            record = path.parents[1] / "run.json"
            if exists(record) and Stage("classifier", path.parent, stage_key(path)).done:
                settings = run_record(record.parent, "settings")["settings"]
                settings["classifier"] = _as_trained(settings.get("classifier"))
                if {name: settings.get(name) for name in wanted} == wanted:
                    return True
        return False


def _classifier_settings(pipeline: Pipeline) -> dict[str, Any]:
    """All settings that determine the trained classifier, in the form in which ``run.json`` stores them."""
    pipeline = resolved(pipeline)
    names = ("classifier", "backbone", "stride", "precision")
    settings = {name: plain(getattr(pipeline, name), trained=True) for name in names}
    return {**settings, "weights": weights_digest(pipeline.weights, pipeline.backbone)}


def _as_trained(recorded: Any) -> Any:
    """Recorded settings of a classifier without those of how it is read, which train no other classifier."""
    try:
        return plain(restore(recorded), trained=True)
    except InputError:  # a class of the user's own, which cannot be built from a record
        return recorded
