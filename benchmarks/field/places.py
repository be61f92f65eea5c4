"""Storage and machines: no file locks, little shared memory, folders of other users, and results inside the data."""

from __future__ import annotations

import errno
import io
import os
import shutil
import socket
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cache
from pathlib import Path
from unittest import mock

from field.case import Case, Content, NotHere, called, photographs, picture
from field.runs import (
    NOBODY,
    PHOTOS,
    all_of,
    copied,
    differs,
    expected,
    finished,
    process,
    run_words,
    unlike,
    whole,
)

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SOFT = "the storage has no locks; lock.held holds the folder instead"


@contextmanager
def _no_locks(code: int, links: bool = True) -> Iterator[None]:
    """Storage that answers every request for a lock with an error, and perhaps every one for a hard link."""
    if fcntl is None:
        raise NotHere("locks of other systems cannot be taken away")

    def refuse(*given: object, **more: object) -> None:
        raise OSError(code, os.strerror(code))

    with (
        mock.patch.object(fcntl, "flock", refuse),
        mock.patch.object(os, "link", os.link if links else refuse),
    ):
        yield


def _a_run(folder: Path) -> str:
    run = folder / "out" / "run"
    with _no_locks(errno.ENOLCK):
        ended = called(run_words(folder / "photos", run))
    left = "lock.held is left behind" if (run / "lock.held").exists() else ""
    return all_of(expected(ended, 0, _SOFT), differs(run, finished()), whole(run), left)


def _reused(folder: Path) -> str:
    """Neither locks nor links: stages of another run are copied."""
    run, new = copied(folder), folder / "out" / "new"
    with _no_locks(errno.ENOTSUP, links=False):
        ended = called([*run_words(folder / "photos", new), "--reuse", str(run)])
    name = "classifier/model.safetensors"
    return all_of(
        expected(ended, 0, _SOFT, never=("Traceback", "classifier:")),
        differs(new, finished()),
        "the file is a link" if (new / name).samefile(run / name) else "",
    )


def _killed(folder: Path) -> str:
    """The file of a process that was killed on this machine holds nothing."""
    run = copied(folder)
    (run / "scores.json").unlink()
    before = f"import fcntl\ndef refuse(*given):\n    raise OSError({errno.EOPNOTSUPP}, 'no')\nfcntl.flock = refuse"
    program = (
        "import os, pathlib, signal, sys\nfrom deft.artifacts.lock import claim\n"
        "with claim(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = process([run / "lock"], before, program=program)
    if child.code != -9 or not (run / "lock.held").exists():
        return f"the process was to be killed while it held the folder: {child}"
    with _no_locks(errno.EOPNOTSUPP):
        ended = called(run_words(folder / "photos", run))
    left = "lock.held is left behind" if (run / "lock.held").exists() else ""
    return all_of(expected(ended, 0, _SOFT), differs(run, finished()), left)


def _in_use(folder: Path) -> str:
    """A process that lives, and one of another machine, which may live: both are named."""
    from deft.artifacts.lock import claim

    run = copied(folder)
    words = run_words(folder / "photos", run)
    with _no_locks(errno.ENOSYS):
        with redirect_stderr(io.StringIO()), claim(run / "lock"):
            here = called(words)
        (run / "lock.held").write_text("7\nelsewhere.example\n")
        there = called(words)
    left = "" if (run / "lock.held").exists() else "the file of another machine was removed"
    (run / "lock.held").unlink(missing_ok=True)
    remedy = (f"remove {run / 'lock.held'}", "in use by")
    return all_of(
        expected(here, 2, f"process {os.getpid()} on {socket.gethostname()}", *remedy),
        expected(there, 2, "process 7 on elsewhere.example", *remedy),
        left,
        differs(run, finished()),
    )


@cache
def _own_mounts() -> tuple[str, ...]:
    """Words of a command in which a process has mounts of its own.

    Raises:
        NotHere: this machine gives it none.
    """
    if sys.platform == "linux":
        for words in (("unshare", "-m"), ("unshare", "-rm")):
            if shutil.which("unshare") and not os.system(f"{' '.join(words)} mount -t tmpfs x /dev/shm 2>/dev/null"):
                return words
    raise NotHere("shared memory cannot be replaced without mounts of one's own (unshare -m)")


def _shared(size: str, number: int, told: str, then: str = "") -> Callable[[Path], str]:
    """/dev/shm of a size; ``number`` of two loader processes are left, and the weights are those of any number."""

    def wrong(folder: Path) -> str:
        settings = ("segment=none", "classifier.plan.batch=96", "classifier.plan.workers=2")
        mount = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && {then or "true"} && exec "$@"'
        prefix = (*_own_mounts(), "sh", "-c", mount, "sh")
        run = folder / "out" / "run"
        ended = process(run_words(folder / "photos", run, *settings), prefix=prefix)
        alone = called(run_words(folder / "photos", folder / "out" / "alone", *settings[:2]))
        said = f"{number} loader processes instead of 2: /dev/shm has {told} MB free"
        return all_of(expected(ended, 0, said), expected(alone, 0), whole(run), unlike(run, folder / "out" / "alone"))

    return wrong


def _unreadable(path: Path) -> None:
    path.mkdir()
    path.chmod(0)


_AS_USER = f"""
import os, sys
from deft.cli.main import main
at = sys.argv.index("THEN")
main(sys.argv[1:at])
print("THEN", flush=True)
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
sys.exit(main(sys.argv[at + 1:]))
"""
"""A command, after another one that imports what both need: not every user may read where Python is installed."""


def _as_user(folder: Path, words: list[str], before: list[str], own: bool = True) -> tuple[int, str]:
    """Exit code and output of a command of a user who may not read everything.

    The administrator may, and becomes another user after the command ``before``. ``own`` gives that user the folder of
    results.
    """
    if not hasattr(os, "geteuid"):
        raise NotHere("permissions of other systems are others")
    if os.geteuid() != 0:
        return called(words)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    for path in (out, *out.rglob("*")) if own else ():
        os.chown(path, NOBODY, NOBODY)
    ended = process([*before, "THEN", *words], program=_AS_USER, home=out)
    first, _, said = ended.said.partition("THEN\n")
    return (ended.code, said) if said else (ended.code, first)


def _checked(folder: Path) -> str:
    words = ["check", f"folder:{folder / 'photos'}"]
    ended = _as_user(folder, words, ["check", f"folder:{finished().parent / 'data' / 'photos'}"])
    return expected(ended, 0, "permission", "lost", "2 classes, 2 training images", "cow/a", "dog/b")


def _trained(folder: Path) -> str:
    out, data = folder / "out", finished().parent / "data" / "photos"
    before = [*run_words(data, out / "before")]
    ended = _as_user(folder, run_words(folder / "photos", out / "run"), before)
    return all_of(expected(ended, 0, "permission", "lost"), whole(out / "run"))


def _predicted(folder: Path) -> str:
    run, out, data = copied(folder), folder / "out" / "new", finished().parent / "data" / "photos"
    words = ["predict", str(run), str(folder / "photos" / "images"), "--out", str(out)]
    before = ["predict", str(run), str(data / "images"), "--out", str(folder / "out" / "before")]
    ended = _as_user(folder, words, before)
    names = sorted(path.relative_to(out / "masks").as_posix() for path in out.rglob("masks/**/*.png"))
    return all_of(
        expected(ended, 0, "2 masks", "permission", "lost"),
        "" if names == ["cow/a.png", "dog/b.png"] else f"has made {names}",
    )


def _tree(place: str) -> dict[str, Content]:
    return {
        "photos/images/cow/a.png": picture(seed=1),
        "photos/images/dog/b.png": picture(seed=2),
        f"photos/images/{place}": _unreadable,
    }


def _inside(verb: str, images: str, out: str, told: str) -> Callable[[Path], str]:
    """A command on new photographs is refused, however often; nothing is made among the photographs."""

    def wrong(folder: Path) -> str:
        given = images.replace("@", str(folder))
        words = [verb, str(copied(folder)), given, "--out", str(folder / out)]
        return next(filter(None, (expected(called(words), 2, "--out", told) for _ in range(2))), "")

    return wrong


def _shard(path: Path) -> None:
    with tarfile.open(path, "w") as shard:
        for name in ("a.png", "b.png"):
            shard.add(path.parent / "images" / name, name)


_SHARDS: dict[str, Content] = {
    **{f"photos/{name}": content for name, content in photographs("a.png", "b.png").items()},
    "photos/x-0.tar": _shard,
}
_LINKED: dict[str, Content] = {**PHOTOS, "link": lambda path: path.symlink_to("photos/images")}


CASES: list[Case] = [
    Case("datasets 2618: storage without locks", "no locks", PHOTOS, _a_run),
    Case("datasets 2618: storage without locks", "neither locks nor links, --reuse", PHOTOS, _reused),
    Case("datasets 2618: storage without locks", "a killed process", PHOTOS, _killed),
    Case("datasets 2618: storage without locks", "in use, here and elsewhere", PHOTOS, _in_use),
    Case("pytorch 5040: /dev/shm", "1 MB", PHOTOS, _shared("1m", 0, "1")),
    Case("pytorch 5040: /dev/shm", "room for one process", PHOTOS, _shared("1400k", 1, "1")),
    Case(
        "pytorch 5040: /dev/shm",
        "taken by another program",
        PHOTOS,
        _shared("64m", 0, "0", "head -c 64m /dev/zero > /dev/shm/x 2>/dev/null; true"),
    ),
    Case("pytorch 5040: /dev/shm", "read-only", PHOTOS, _shared("64m,ro", 0, "0")),
    Case(
        "nnDetection 279: results inside data",
        "a folder in the folder, twice",
        PHOTOS,
        _inside("predict", "@/photos/images", "photos/images/out", "inside"),
    ),
    Case(
        "nnDetection 279: results inside data",
        "over the drawn masks",
        PHOTOS,
        _inside("predict", "@/photos/images", "photos", "contains"),
    ),
    Case(
        "nnDetection 279: results inside data",
        "seeds, through a link",
        _LINKED,
        _inside("seeds", "@/photos/images", "link/maps", "inside"),
    ),
    Case(
        "nnDetection 279: results inside data",
        "masks among shards",
        _SHARDS,
        _inside("predict", "shards:@/photos/x-0.tar", "photos", "photos"),
    ),
    Case("rescuezilla 667: unreadable folders", "beside", _tree("lost"), _checked),
    Case("rescuezilla 667: unreadable folders", "inside a class", _tree("cow/lost"), _checked),
    Case("rescuezilla 667: unreadable folders", "with a suffix, in a run", _tree("lost.d"), _trained),
    Case("rescuezilla 667: unreadable folders", "deep, in a prediction", _tree("dog/lost.png"), _predicted),
]
