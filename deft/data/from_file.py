"""``FILE.py:NAME?options``: a dataset made by a class or function in a Python file of the user."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft.contracts import InputError, Splits
from deft.data.options import split_options
from deft.data.sound import check_splits
from deft.extend.files import code_digest, load_users_file, loaded, named
from deft.settings import kind_in_words, typed

EXAMPLE = "my_data.py:Birds?root=photos"
_SPEC = re.compile(r"(?P<file>[^?]*?\.py)(:(?P<name>[^?]*))?(\?(?P<options>.*))?", re.DOTALL)


@dataclass(frozen=True)
class OwnData:
    """A parsed ``FILE.py:NAME?options``."""

    spec: str
    file: Path
    name: str
    options: tuple[str, ...]

    def open(self) -> Splits:
        """Run the file, call the class or function it names, and check what it returns.

        Raises:
            InputError: there is no such file or name, an option does not fit, or no dataset is returned.
        """
        if not self.name:
            raise InputError(
                f"{self.spec}: expected the name of a class or function of {self.file}; write it as in {EXAMPLE}"
            )
        make = named(load_users_file(self.file, "data"), self.name)
        splits = _splits(make(**arguments(make, self.options, f"{self.file}:{self.name}")), self.spec)
        check_splits(splits, self.spec)
        return splits


def own_data(spec: str) -> OwnData | None:
    r"""Parse a specification; None if it names no Python file.

    The file ends at the first ``.py`` that is followed by ``:``, ``?`` or nothing, so that ``C:\birds.py:Birds`` is
    parsed correctly.
    """
    found = _SPEC.fullmatch(spec)
    if found is None:
        return None
    options = tuple(split_options(found["options"] or ""))
    return OwnData(spec, Path(found["file"]).expanduser(), (found["name"] or "").strip(), options)


def code_of(spec: str) -> str:
    """Digest of the Python file that a specification names; empty if it names none."""
    own = own_data(spec)
    return code_digest(own.file) if own is not None and own.file.is_file() else ""


def options_of(spec: str) -> list[str]:
    """The function that was called and its options, but for paths: the place of a dataset does not matter.

    Args:
        spec: ``FILE.py:NAME?options`` of a dataset that is open, or any other text, for which there are none.
    """
    own = own_data(spec)
    module = None if own is None else loaded(own.file, "data")
    if own is None or module is None:
        return []
    values = arguments(named(module, own.name), own.options, own.name)
    return [own.name, *(f"{name}={value}" for name, value in sorted(values.items()) if not _has_path(value))]


def _has_path(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, list | tuple) and any(isinstance(one, Path) for one in value))


def arguments(make: Callable[..., Any], options: Sequence[str], where: str) -> dict[str, Any]:
    """Options as keyword arguments of a function, each converted to the annotated type.

    Args:
        make: the function or class.
        options: each ``name=value``.
        where: name of the function, for messages.

    Raises:
        InputError: an option is unknown, has no value, is given twice or has another type, or one is missing.
    """
    try:
        signature = inspect.signature(make, eval_str=True)
    except NameError:  # an annotation that is imported for type checkers only
        signature = inspect.signature(make)
    known = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    given: dict[str, Any] = {}
    for option in options:
        name, equals, text = (part.strip() for part in option.partition("="))
        if not equals or name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise InputError(f"{where}: expected NAME=VALUE of its arguments, got {option!r}{hint} {_takes(known)}")
        if name in given:
            raise InputError(f"{where}: {name} is given twice; keep one of them")
        kind = _kind(known[name])
        try:
            value = typed(kind, text)
        except ValueError:
            raise InputError(f"{where}: expected {name} as {kind_in_words(kind)}, got {text!r}") from None
        given[name] = value.expanduser() if isinstance(value, Path) else value
    missing = [name for name, parameter in known.items() if parameter.default is parameter.empty and name not in given]
    if missing:
        raise InputError(
            f"{where}: expected a value for {', '.join(missing)}; write {where}?{missing[0]}=VALUE. {_takes(known)}"
        )
    return given


def _kind(parameter: inspect.Parameter) -> Any:
    """The type of an argument: its annotation, else the type of its default, else str."""
    if parameter.annotation is not parameter.empty and not isinstance(parameter.annotation, str):
        return parameter.annotation
    return type(parameter.default) if isinstance(parameter.default, bool | int | float) else str


def _takes(known: dict[str, inspect.Parameter]) -> str:
    if not known:
        return "It takes none"
    words = [
        f"{name}={kind_in_words(_kind(parameter))}"
        + ("" if parameter.default is parameter.empty else f" (default {parameter.default!r})")
        for name, parameter in known.items()
    ]
    return f"It takes: {', '.join(words)}"


def _splits(made: Any, spec: str) -> Splits:
    """Convert what a user's function returned to splits."""
    if isinstance(made, Splits):
        return made
    if isinstance(made, tuple) and len(made) == 2:
        return Splits(train=made[0], val=made[1])
    if not hasattr(made, "classes") and not hasattr(made, "labels"):
        raise InputError(
            f"{spec}: expected it to return a dataset, deft.Splits, or (train, val), got {type(made).__name__}; "
            "return a deft.ImageDataset, for example"
        )
    return Splits(train=made, val=None)
