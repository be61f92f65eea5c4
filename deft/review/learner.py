"""A process that makes rounds of a run for the page, begun before it is needed (:mod:`deft.review.learning`).

It imports what a round needs, says ``{"ready": true}``, and waits. Each line that it reads asks for a round,
``{"run": FOLDER, "data": "KIND:PATH"}``; for each it writes lines, all of them JSON in ASCII::

    {"stage": "segment"}                                          a stage begins, as often as there are any
    {"learned": {"images": 12, "rejected": 1, "miou": 0.61, "scored": 3}}     the end: what it has learned from
    {"error": "one line"}                                         or why there is no new round

``images`` counts training images whose masks or tags teach, and ``scored`` those that the network's ``miou`` is of,
reviewed ones that it has not learned from; both are missing where there are none. The run is held while a round is
made, and not in between. The process ends with its standard input, and in the middle of a round as by SIGTERM: the run
can be resumed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from deft.contracts import InputError

Tell = Callable[[dict[str, Any]], None]


def main(run: str) -> None:
    """Answer until standard input ends, and end the process.

    Args:
        run: folder of the run that will be asked about.
    """
    with os.fdopen(os.dup(1), "w", encoding="ascii", buffering=1) as answers:
        os.dup2(2, 1)  # what libraries print is no answer

        def tell(answer: dict[str, Any]) -> None:
            answers.write(json.dumps(answer) + "\n")

        asked: SimpleQueue[str] = SimpleQueue()
        Thread(target=_listen, args=(asked,), name="deft-asked", daemon=True).start()
        from deft.engine.stop import EXIT_CODE, Stopped, ending_on_signals

        try:
            with ending_on_signals(lambda: None):
                prepare(Path(run))
                tell({"ready": True})
                while True:
                    given = json.loads(asked.get())
                    tell(answer(Path(given["run"]), given["data"], tell))
        except (Stopped, BrokenPipeError):
            os._exit(EXIT_CODE)  # to end as Python does takes seconds, once so much is imported


def _listen(asked: SimpleQueue[str]) -> None:
    """Hand on the lines of standard input, and end the process with it: whoever asked has gone, however it ended."""
    for line in sys.stdin:
        asked.put(line)
    os.kill(os.getpid(), signal.SIGTERM)


def prepare(run: Path) -> None:
    """Import what a round of a run uses, also what is otherwise imported when it is first used."""
    import deft.engine.fabric
    import deft.runner.quick  # noqa: F401 (both are used later)
    from deft.artifacts.record import run_record
    from deft.backbone.kind import kind_of
    from deft.engine.memory import keep_freed
    from deft.report.plots import loss_chart
    from deft.runner.recorded import recorded_pipeline

    keep_freed()
    with suppress(InputError):  # which the round will say
        kind_of(recorded_pipeline(run, run_record(run)).backbone)  # timm
    loss_chart({"loss": [(0, 1.0), (1, 0.5)]})  # matplotlib, and its fonts


def answer(run: Path, data: str, tell: Tell) -> dict[str, Any]:
    """Make the next round of a run; errors are answers too.

    Args:
        run: its folder.
        data: ``KIND:PATH``.
        tell: called with each stage that begins.
    """
    from deft.engine.shortage import out_of_memory, release
    from deft.runner.quick import next_round
    from deft.settings import OtherSettingsError

    try:
        next_round(run, data, lambda name: tell({"stage": name}))
        return {"learned": learned(run)}
    except OtherSettingsError:
        told = (
            "tags, photographs or settings are not those that the run was made of; repeat the deft quick command, "
            "which begins the next answer"
        )
    except InputError as error:
        told = str(error)
    except Exception as error:
        if out_of_memory(error):
            told = "there is not enough memory; end other programs and try again. Finished work is kept"
        elif isinstance(error, OSError):
            place = "" if error.filename is None else f" ({os.fsdecode(error.filename)})"
            told = f"{error.strerror or error}{place}; finished work is kept"
        else:
            traceback.print_exc()
            told = f"an error of deft ({type(error).__name__}); the terminal has more"
        del error
        release()
    return {"error": " ".join(told.split())}


def learned(run: Path) -> dict[str, Any]:
    """What the last round of a run has learned from, and how its network does on reviewed images that it has not."""
    from deft.artifacts.corrected import read_corrected
    from deft.evaluate.stored import read_scores

    found, scores = read_corrected(run), read_scores(run).get("reviewed", {})
    told: dict[str, Any] = {"images": len({*found.taught, *found.tags}), "rejected": len(found.rejected)}
    network = scores.get("segmentation", {})
    if network.get("miou") is not None:
        told |= {"miou": network["miou"], "scored": network["images"]}
    return told
