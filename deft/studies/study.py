"""The engine of the studies: makes the runs that a table needs, once each, and goes on where it was stopped.

A study is a function of a :class:`StudyRunner` that returns an :class:`~deft.studies.outcome.Outcome`::

    def mine(runner: StudyRunner) -> Outcome:
        rows = runner.choose([Row("irn", "IRN", recipe("irn")), Row("irn_deft", "IRN + DEFT", recipe("irn_deft"))])

        def work(row: Row, seed: int) -> None:
            with runner.run(row.name, row.pipeline, seed) as run:
                write_json(run.out.path / "mine.json", {"number": look_at(run)})

        def compose(findings: list[Finding]) -> Outcome:
            return Outcome("mine", "What I looked at", tables=(...), values={...})

        return runner.survey(rows, work, compose, record="mine.json")

:meth:`StudyRunner.survey` calls ``work`` for every row and seed whose record is not there yet, and ``compose`` after
each, so that the page on the disk always shows what is known. Every run has a folder of its own,
``OUT/runs/SEED/NAME-DIGEST``, the digest being of its settings; runs of one seed take equal stages over from each
other. Several processes may do this in one folder at the same time: what another one works at is left for later.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from deft.artifacts import InUseError, claim, file_stem, read_json
from deft.backbone import weights_digest
from deft.contracts import InputError, SampleAugmentation, Splits
from deft.data import check, open_data
from deft.data.faults import refuse
from deft.engine.plan import Watch
from deft.pipeline import Pipeline
from deft.recipes import RECIPES, published
from deft.recipes.finding import find_recipe, installed
from deft.runner.run import resolved, working
from deft.settings import assign, plain
from deft.stages.context import Run
from deft.studies.origin import commit, machine, versions
from deft.studies.outcome import Outcome, write

POLL_SECONDS = 5.0
"""How often to look whether another process has finished a run."""


@dataclass(frozen=True)
class Row:
    """One system of a table."""

    name: str
    """Of its run folders, and what ``--systems`` calls it."""
    label: str
    """What the table calls it."""
    pipeline: Pipeline
    against: tuple[str, ...] = ()
    """Names of the rows that it is compared with, seed by seed."""
    paper: str = ""
    """The paper's figure for this row, where it prints one."""


@dataclass(frozen=True)
class Finding:
    """What one row gave at one seed."""

    row: Row
    seed: int
    value: Any = None
    """The content of its record; None where there is none yet."""
    failure: str = ""
    """Why there is none, where it cannot be made."""


@dataclass(frozen=True)
class StudyRunner:
    """Where studies are made: data, seeds, settings for every row, and a folder."""

    data: str
    """``KIND:PATH``, as on the command line."""
    out: Path
    """Where ``NAME.md`` and ``runs/`` go."""
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: tuple[str, ...] = ()
    """``FIELD=VALUE``, applied to each row that has such a field, or ``ROW:FIELD=VALUE`` for one row."""
    systems: tuple[str, ...] = ()
    """Rows to make; all that the study has if empty."""
    command: str = ""
    """What the user typed, for the page."""
    published: bool = False
    """Take the published thresholds in the place of those that are chosen from the maps."""
    poll: float = field(default=POLL_SECONDS, repr=False)

    @cached_property
    def splits(self) -> Splits:
        """The data, opened and checked.

        Raises:
            InputError: they cannot be used.
        """
        splits = open_data(self.data)
        refuse(check(splits, full=False), self.data)
        return splits

    def need_truth(self) -> None:
        """Refuse data on which a study of the training images' maps would train for hours and score nothing.

        Raises:
            InputError: no training image has a ground-truth mask.
        """
        if not self.splits.train.scored.any():
            raise InputError(
                f"--data {self.data}: this study scores maps of the training images, and none has a mask to score them "
                "with; add masks (see docs/data.md), or take the study bias, which needs none"
            )

    def choose(self, rows: Sequence[Row], default: Sequence[str] = ()) -> list[Row]:
        """The rows that were asked for, each with the settings that it has a field for.

        Args:
            rows: all there are.
            default: names of those to make when nobody asks; all if empty.

        Returns:
            The rows in the order of the names.

        Raises:
            InputError: a system that the study does not have, or a setting that none of its systems has.
        """
        known = {row.name: row for row in rows}
        wanted = tuple(dict.fromkeys(self.systems or tuple(default) or tuple(known)))
        if unknown := [name for name in wanted if name not in known]:
            if unknown[0] in installed():
                recipe(unknown[0])  # where it cannot be made, this says why
            raise InputError(f"this study has no system {unknown[0]!r}; it has: {', '.join(known)}")
        chosen = [known[name] for name in wanted]
        if self.published:
            chosen = [replace(row, pipeline=published(row.pipeline)) for row in chosen]
        for setting in self.settings:
            only, colon, name = setting.partition("=")[0].rpartition(":")
            if name == "seed":
                raise InputError("--set seed: a study makes several seeds; say how many with --seeds")
            if colon and only not in wanted:
                raise InputError(f"--set {setting}: {only!r} is none of the systems: {', '.join(wanted)}")
            setting = setting.removeprefix(only + colon)
            meant = [row for row in chosen if not colon or row.name == only]
            able = [row for row in meant if "=" not in setting or has_field(row.pipeline, name)]
            for row in able or meant[:1]:  # where none has it, the first says what there is
                changed = replace(row, pipeline=assign(row.pipeline, [setting]))
                chosen[chosen.index(row)] = changed
        return chosen

    def folder(self, name: str, pipeline: Pipeline, seed: int) -> Path:
        """The run folder of a pipeline at a seed."""
        settings = plain(replace(pipeline, seed=0))
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        return self.out / "runs" / str(seed) / f"{file_stem(name)}-{digest}"

    @contextmanager
    def run(self, name: str, pipeline: Pipeline, seed: int, watch: Watch | None = None) -> Iterator[Run]:
        """A run with every stage made and scored, its folder held until the block ends.

        Args:
            name: of the row.
            pipeline: as :meth:`choose` gave it; its seed is replaced.
            seed: of everything random.
            watch: looks at the classifier while it learns; such a run takes nothing over, so that there is something
                to look at. A killed one goes on from its checkpoint and shows the steps that are left.

        Raises:
            InUseError: another process makes this run, or a classifier that this one would take over.
            InputError: the run cannot be made.
        """
        pipeline = replace(pipeline, seed=seed)
        folder = self.folder(name, pipeline, seed)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            reuse: list[Path] = []
            if watch is None:
                if pipeline.classifier is not None and not self._learnt(pipeline, seed):
                    digest = hashlib.sha256(json.dumps(_of_classifier(pipeline)).encode()).hexdigest()[:12]
                    held.enter_context(claim(folder.parent / f"classifier-{digest}.lock"))
                reuse = [record.parent for record in sorted(folder.parent.glob("*/run.json"))]
                reuse = [other for other in reuse if other != folder]
            yield held.enter_context(working(pipeline, self.data, folder, reuse, name, watch))

    def make(self, row: Row, seed: int) -> None:
        """The work of a study that needs no more than the scores."""
        with self.run(row.name, row.pipeline, seed):
            pass

    def survey(
        self,
        rows: Sequence[Row],
        work: Callable[[Row, int], None],
        compose: Callable[[list[Finding]], Outcome],
        record: str = "scores.json",
    ) -> Outcome:
        """Make what is missing, seed by seed, and write the page after each.

        Args:
            rows: as :meth:`choose` gave them.
            work: makes one row at one seed, and leaves ``record`` in its run folder when all is done. An
                :class:`InputError` fails this row at this seed only.
            compose: the outcome of what is known; findings come in the order of the rows, then of the seeds.
            record: a JSON file's name.

        Raises:
            InputError: nothing can be made: the data or the weights are not there.
        """
        for row in rows:
            weights_digest(row.pipeline.weights, row.pipeline.backbone)
        assert self.splits
        failures: dict[tuple[str, int], str] = {}

        def findings() -> list[Finding]:
            found = []
            for row in rows:
                for seed in self.seeds:
                    path = self.folder(row.name, row.pipeline, seed) / record
                    value = read_json(path) if path.exists() else None
                    found.append(Finding(row, seed, value, failures.get((row.name, seed), "")))
            return found

        def publish(known: list[Finding]) -> Outcome:
            failed = tuple(f"{each.row.name}, seed {each.seed}: {each.failure}" for each in known if each.failure)
            waiting = sum(each.value is None and not each.failure for each in known)
            outcome = replace(compose(known), failures=failed, open=waiting)
            self.publish(outcome)
            return outcome

        known = findings()
        outcome = publish(known)
        while outcome.open:
            made = False
            for each in sorted(known, key=lambda each: self.seeds.index(each.seed)):
                name = f"{each.row.name}, seed {each.seed}"
                if each.failure or (self.folder(each.row.name, each.row.pipeline, each.seed) / record).exists():
                    continue
                try:
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
                time.sleep(self.poll)  # the rest is in the hands of other processes
            now = findings()
            if now != known:
                known, outcome = now, publish(now)
        return outcome

    def publish(self, outcome: Outcome) -> Path:
        """Write an outcome's files; returns the page."""
        return write(outcome, self.out, self.facts())

    def facts(self) -> dict[str, str]:
        """What a reader needs to repeat the study."""
        splits = self.splits
        held_out = f"{len(splits.val)} held out" if splits.val is not None else "none held out"
        return {
            "command": f"`{self.command}`" if self.command else "called from Python",
            "commit": commit(),
            "data": f"`{self.data}`, {len(splits.train)} images to learn from, {held_out}, "
            f"{len(splits.train.classes)} classes",
            "seeds": ", ".join(str(seed) for seed in self.seeds),
            "thresholds": "published" if self.published else "chosen from the maps, unless set as numbers",
            "settings that differ from the recipes": " ".join(f"`{setting}`" for setting in self.settings) or "none",
            "machine": machine(),
            "versions": versions(),
        }

    def _learnt(self, pipeline: Pipeline, seed: int) -> bool:
        """Whether a finished classifier of these settings and this seed is there."""
        wanted = _of_classifier(pipeline)
        for path in (self.out / "runs" / str(seed)).glob("*/classifier/stage.json"):
            record = path.parents[1] / "run.json"
            if record.exists() and read_json(path).get("state") == "done":
                settings = read_json(record)["settings"]
                if {name: settings.get(name) for name in wanted} == wanted:
                    return True
        return False


def recipe(name: str) -> Pipeline:
    """A fresh pipeline of a recipe's name.

    Raises:
        InputError: there is no such recipe.
    """
    return find_recipe(name)[1]


def system_rows(paper: Mapping[str, str] | None = None) -> list[Row]:
    """Every recipe as a row, a ``_deft`` twin to be compared with the system it is a twin of.

    Recipes of installed packages come last; those that cannot be made are left out.

    Args:
        paper: the paper's figures by recipe.
    """
    figures = paper or {}
    pipelines = {name: make() for name, make in RECIPES.items()}
    for name in installed():
        with suppress(InputError):
            pipelines[name] = recipe(name)
    bases = {name: name.removesuffix("_deft") for name in pipelines if name.endswith("_deft")}
    twins = {name: (base,) for name, base in bases.items() if base in pipelines}
    return [Row(name, name, one, twins.get(name, ()), figures.get(name, "")) for name, one in pipelines.items()]


def up_to_seeds(pipeline: Pipeline) -> Pipeline:
    """The same system without what comes after its seeds.

    A classifier that learns from the masks of an earlier round (CDA) keeps its refiner, which made those masks.
    """
    classifier = pipeline.classifier
    learns_from_masks = classifier is not None and isinstance(classifier.augment, SampleAugmentation)
    return replace(pipeline, segment=None, refine=pipeline.refine if learns_from_masks else None)


def has_field(settings: Any, dotted: str) -> bool:
    """Whether nested dataclasses have a field of that dotted name."""
    for name in dotted.split("."):
        if not is_dataclass(settings) or name not in [item.name for item in fields(settings)]:
            return False
        settings = getattr(settings, name)
    return True


def _of_classifier(pipeline: Pipeline) -> dict[str, Any]:
    """What makes a classifier, as ``run.json`` keeps it."""
    pipeline = resolved(pipeline)
    names = ("classifier", "backbone", "stride", "precision")
    settings = {name: plain(getattr(pipeline, name)) for name in names}
    return {**settings, "weights": weights_digest(pipeline.weights, pipeline.backbone)}
