"""The command ``deft``: its processes and its exit codes. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import argparse
import errno
import getpass
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence

from deft.cli.arguments import parser
from deft.cli.streams import OutputError, guarded
from deft.contracts import InputError
from deft.engine.memory import keep_freed
from deft.engine.stop import EXIT_CODE, Stopped, ending_on_signals
from deft.guards.output import NO_SPACE
from deft.guards.words import printable, shown

CLOSED_PIPE = 141
"""Exit code if the reader of the output has gone, as of a program that SIGPIPE ends."""
_REMEDIES = {
    errno.ENOENT: "it may have been moved or removed while deft was at work: put it back",
    errno.EIO: "the disk, or the connection to it, has failed: check it or name a folder on another one",
    errno.EFBIG: "files may not be so large here: raise the limit (ulimit -f), or name a folder on another disk",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.EACCES: "change permissions",
    errno.EPERM: "change permissions",
    errno.EROFS: "name a folder on another disk",
}
_JOIN = (
    "there is no deft join any more: machines work together as a Ray cluster. Start one with `ray start`, and add "
    "--engine ray --ray-address auto to the deft run command; see docs/scale.md"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 done, 2 bad input, 130 stopped by Ctrl-C, 143 by SIGTERM, 141 if nobody reads the output.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with guarded():
        try:
            try:
                return _run(words)
            finally:
                sys.stdout.flush()
        except OutputError as error:
            if error.has_reader:
                print(f"deft: standard output cannot be written to ({error})", file=sys.stderr)
                return 2
            return CLOSED_PIPE


def _run(words: Sequence[str]) -> int:
    """Run the command line."""
    if words[:1] == ["join"]:
        print(f"deft: {_JOIN}", file=sys.stderr)
        return 2
    return _answered(parser().parse_args(words), words)


def one_process(words: Sequence[str]) -> int:
    """The command as one of several processes on a Ray cluster, each of which does its part of the work on images."""
    given = parser().parse_args(words)
    given.engine, given.ray_address = "here", ""
    return _answered(given, words)


def _answered(given: argparse.Namespace, words: Sequence[str]) -> int:
    """Run a verb; every error that has a remedy becomes a message."""
    given.command = shlex.join(["deft", *words])
    again = f"\nstopped; finished work is kept. To resume, repeat the same command:\n  {printable(given.command)}"

    def last_words() -> None:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes one is enough
            print(again, file=sys.stderr, flush=True)

    try:
        with ending_on_signals(last_words):
            return _act(given, words)
    except InputError as error:
        told = str(error)
    except Stopped:
        last_words()
        return EXIT_CODE
    except KeyboardInterrupt:
        last_words()
        return 130
    except OSError as error:
        if error.filename is None and error.errno not in _REMEDIES and error.errno not in NO_SPACE:
            raise
        told = of_the_system(error)
    except (MemoryError, RuntimeError) as error:
        if _lacks_memory(error):
            told = (
                "there is not enough memory; take a smaller --max-side, then repeat the command. Finished work is kept"
            )
        elif "home directory" in str(error):  # pathlib's words
            told = "~ stands for your home folder, and the system knows none; set HOME, or write the path without ~"
        else:
            raise
    print(f"deft: {printable(told)}", file=sys.stderr)
    return 2


def _lacks_memory(error: BaseException) -> bool:
    from deft.engine.shortage import out_of_memory

    return out_of_memory(error)


def of_the_system(error: OSError) -> str:
    """The message of an error that the system has raised: a file that has gone, a disk that is full or broken."""
    place = "" if error.filename is None else f"{shown(os.fsdecode(error.filename))}: "
    if error.errno in NO_SPACE:
        return (
            f"no space left on the disk ({place.removesuffix(': ') or 'while writing'}); finished work is kept. "
            "Make room, then repeat the same command to resume"
        )
    if "temporary directory" in str(error.strerror):  # tempfile's words
        return "no folder for temporary files can be written to; set TMPDIR to one, then repeat the same command"
    remedy = _REMEDIES.get(error.errno or 0, "check the path and the disk")
    return f"{place}{error.strerror or error}; {remedy}, then repeat the same command. Finished work is kept"


def _name_user() -> None:
    """Give a user without an entry in the system's list a name: torch up to 2.6 names a folder after the user."""
    try:
        getpass.getuser()
    except (ImportError, KeyError, OSError):
        os.environ["LOGNAME"] = "nobody"


def _act(given: argparse.Namespace, words: Sequence[str]) -> int:
    """Run the verb in as many processes as were asked for."""
    act: Callable[[argparse.Namespace], int] = given.act
    devices, nodes = getattr(given, "devices", 1), getattr(given, "num_nodes", 1)
    if devices < 1 or nodes < 1:
        raise InputError(f"expected --devices and --num-nodes of at least 1, got {devices} and {nodes}")
    keep_freed()
    _name_user()
    if not hasattr(given, "devices") or getattr(given, "show", False):
        return act(given)
    from deft.engine import launch, ranks

    if not launch.launched():
        if devices * nodes == 1:
            return act(given)
        return _on_cluster(given, words) if given.ray_address else launch.start(words, devices, nodes)
    launch.join()
    try:
        code = act(given)
    except Exception:
        if not ranks.first():
            time.sleep(3)  # if the first process failed too, it reports the reason, and this one is ended meanwhile
        raise
    launch.leave()
    return code


def _on_cluster(given: argparse.Namespace, words: Sequence[str]) -> int:
    """Run the command as ``--devices`` processes of a Ray cluster."""
    if given.engine != "ray":
        raise InputError(f"--ray-address {given.ray_address}: expected --engine ray with it; add that")
    if given.num_nodes != 1:
        raise InputError(
            f"--num-nodes {given.num_nodes}: expected none with --ray-address; --devices is the number of processes "
            "on the whole cluster"
        )
    from deft.engine import ray_train
    from deft.engine.ray_engine import Call, Ray

    with Ray(given.ray_address) as cluster:
        return ray_train.start(Call.of(one_process, words=list(words)), given.devices, cluster)
