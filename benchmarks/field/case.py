"""A case: the files that it is made of, and a function that says what is not right, or nothing."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.contracts import InputError, Splits
from deft.data.check import look_at
from deft.data.faults import Fault

Content = bytes | str | Callable[[Path], object]
"""What a file holds; a function makes something else at its path, such as a pipe."""
Files = Mapping[str, Content]


@dataclass(frozen=True)
class Case:
    """One input with its right outcome."""

    group: str
    name: str
    files: Files
    wrong: Callable[[Path], str]
    """What is not right about the outcome; empty if it is right. Raises :class:`NotHere`."""


class NotHere(Exception):
    """A case needs what this machine does not give; the words say what."""


def picture(kind: str = "PNG", seed: int = 0, size: tuple[int, int] = (16, 12), **options: Any) -> bytes:
    """A picture of (width, height) pixels."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return encoded(Image.fromarray(values), kind, **options)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(values: NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    """A picture of one channel."""
    return encoded(Image.fromarray(values), kind, **options)


def photographs(*names: str, below: str = "images") -> dict[str, Content]:
    """Pictures of different contents, as JPEG or PNG by their suffix."""
    return {
        f"{below}/{name}" if below else name: picture("PNG" if name.endswith("png") else "JPEG", seed)
        for seed, name in enumerate(names)
    }


ABC = photographs("a.png", "b.png", "c.png")
"""Three images."""


def tags(splits: Splits | None) -> dict[str, list[str]]:
    """The classes of each image."""
    parts = [] if splits is None else [part for part in (splits.train, splits.val) if part is not None]
    return {
        name: [part.classes[k] for k in np.flatnonzero(labels)]
        for part in parts
        for name, labels in zip(part.names, part.labels, strict=True)
    }


def looked_at(spec: str) -> tuple[Splits | None, list[Fault], str]:
    """What ``deft check`` finds: splits, faults, and the message if the data cannot be opened at all."""
    try:
        return *look_at(spec), ""
    except InputError as error:
        return None, [], str(error)


def reads(
    group: str, name: str, files: Files, expected: Mapping[str, Sequence[str]], *words: str, kind: str = "folder"
) -> Case:
    """The data is read with these tags, without a fault; warnings contain these words."""

    def wrong(folder: Path) -> str:
        splits, faults, message = looked_at(_spec(kind, folder))
        errors = [str(fault) for fault in faults if not fault.warning]
        if message or errors:
            return f"refused: {message or errors[0]}"
        if tags(splits) != {key: list(value) for key, value in expected.items()}:
            return f"tags {tags(splits)}"
        said = "\n".join(map(str, faults))
        return _lacking(said, words)

    return Case(group, name, files, wrong)


def refuses(group: str, name: str, files: Files, *words: str, kind: str = "folder", most: int = 1) -> Case:
    """The data is refused with one fault, or at most ``most``, that contain these words."""

    def wrong(folder: Path) -> str:
        _, faults, message = looked_at(_spec(kind, folder))
        errors = [message] if message else [str(fault) for fault in faults if not fault.warning]
        if not errors:
            return "taken without a fault"
        if len(errors) > most:
            return f"{len(errors)} faults: {errors[0]}"
        return _lacking("\n".join(errors), words)

    return Case(group, name, files, wrong)


def either(group: str, name: str, files: Files, expected: Mapping[str, Sequence[str]], kind: str = "folder") -> Case:
    """The data is read with these tags, or refused with one fault."""

    def wrong(folder: Path) -> str:
        splits, faults, message = looked_at(_spec(kind, folder))
        errors = [message] if message else [str(fault) for fault in faults if not fault.warning]
        if errors:
            return "" if len(errors) == 1 else f"{len(errors)} faults: {errors[0]}"
        found = tags(splits)
        return "" if found == {key: list(value) for key, value in expected.items()} else f"tags {found}"

    return Case(group, name, files, wrong)


def command(
    group: str,
    name: str,
    files: Files,
    words: Sequence[str],
    code: int | Sequence[int],
    *said: str,
    never: Sequence[str] = ("Traceback",),
    prefix: Sequence[str] = (),
    after: Callable[[Path], str] = lambda folder: "",
    **environment: str,
) -> Case:
    """A command ends with this code and says these words; ``@`` in its words is the folder of the case."""

    def wrong(folder: Path) -> str:
        full = [word.replace("@", str(folder)) for word in words]
        try:
            ended, text = _process(full, prefix, environment, folder) if prefix or environment else called(full)
        except subprocess.TimeoutExpired:
            return "did not end"
        codes = (code,) if isinstance(code, int) else code
        if ended not in codes:
            return f"exit code {ended}: {text[-300:]}"
        if found := [word for word in never if word in text]:
            return f"says {found[0]!r}: {text[-300:]}"
        return _lacking(text, said) or after(folder)

    return Case(group, name, files, wrong)


def called(words: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of a command that is called in this process, which saves the time of the imports."""
    from deft.cli.main import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            ended = main(list(words))
        except SystemExit as error:  # of argparse
            ended = error.code if isinstance(error.code, int) else 1
    return ended, said.getvalue()


def _process(
    words: Sequence[str], prefix: Sequence[str], environment: Mapping[str, str], folder: Path
) -> tuple[int, str]:
    """Exit code and output of a command in a process of its own."""
    place = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    full = [*prefix, sys.executable, "-m", "deft", *words]
    done = subprocess.run(full, capture_output=True, timeout=300, env=place, cwd=folder.parent)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def calls(group: str, name: str, files: Files, wrong: Callable[[Path], str]) -> Case:
    """A function looks at the outcome itself."""
    return Case(group, name, files, wrong)


def raises(group: str, name: str, files: Files, act: Callable[[Path], object], *words: str) -> Case:
    """A function of the library raises an InputError that contains these words."""

    def wrong(folder: Path) -> str:
        try:
            act(folder)
        except InputError as error:
            return _lacking(str(error), words)
        return "taken"

    return Case(group, name, files, wrong)


def write(folder: Path, files: Files) -> None:
    """Make the files of a case."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def digest(folder: Path) -> str:
    """Digest of all names and contents, without following links or opening pipes."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=os.fsencode):
        if path.relative_to(folder).parts[0] == "out":  # what a case lets a command make
            continue
        mode = path.lstat().st_mode
        found.update(os.fsencode(path.relative_to(folder)) + f"\0{stat.S_IFMT(mode)}\0".encode())
        if stat.S_ISREG(mode) and os.access(path, os.R_OK):
            found.update(path.read_bytes())
    return found.hexdigest()


def outcome(case: Case, folder: Path) -> str:
    """What is not right about a case; empty if all is right.

    Raises:
        NotHere: it cannot be tried on this machine.
    """
    write(folder, case.files)
    before = digest(folder)
    try:
        wrong = case.wrong(folder)
    except NotHere:
        raise
    except Exception as error:  # the outcome of the case, which has to be in the table
        wrong = f"{type(error).__name__}: {error}"
    return wrong or ("" if digest(folder) == before else "files of the user were changed")


def _spec(kind: str, folder: Path) -> str:
    name, _, rest = kind.partition("/")
    return f"{name}:{folder / rest if rest else folder}"


def _lacking(text: str, words: Sequence[str]) -> str:
    missing = [word for word in words if word.casefold() not in text.casefold()]
    return f"does not say {missing[0]!r}: {text[:300]}" if missing else ""
