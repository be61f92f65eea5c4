"""Import of a user's Python file as a module."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from deft.contracts import InputError
from deft.guards.opening import check_regular, read_regular
from deft.guards.words import shown


def load_file(path: Path, kind: str) -> ModuleType:
    """Import a file; its code is executed, and its exceptions are not caught.

    Args:
        path: path of the file.
        kind: purpose of the file, ``recipe`` or ``data``. It is part of the module's name, so that a file named
            json.py does not replace the standard json module.

    Raises:
        InputError: there is no such file.
    """
    if not os.path.isfile(path):
        came = "a folder" if os.path.isdir(path) else "no file"
        raise InputError(f"{shown(path)}: expected a Python file, found {came}")
    check_regular(path)
    name = f"deft_{kind}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: expected a Python file with a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_users_file(path: Path, kind: str) -> ModuleType:
    """Import a file as :func:`load_file` does, with one message for an exception of its code.

    Raises:
        InputError: there is no such file, or its code fails; the message names the line and the exception.
    """
    try:
        return load_file(path, kind)
    except InputError:
        raise
    except Exception as error:
        inside = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else inside[-1] if inside else None
        place = shown(path) if line is None else f"{shown(path)}:{line}"
        said = error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0]
        raise InputError(
            f"{place}: {type(error).__name__}: {said}; correct the file (python {shown(path)} shows the traceback)"
        ) from error


def loaded(path: Path, kind: str) -> ModuleType | None:
    """The module of a file that :func:`load_file` has imported before; its code is not executed again."""
    module = sys.modules.get(f"deft_{kind}_{path.stem}")
    return module if module is not None and module.__file__ == str(path) else None


def named(module: ModuleType, name: str) -> Callable[..., Any]:
    """A class or function of a module.

    Raises:
        InputError: there is none with this name; the message lists those that the module defines.
    """
    found: Callable[..., Any] | None = getattr(module, name, None)
    if callable(found):
        return found
    own = [key for key, value in vars(module).items() if callable(value) and _public(key, value, module)]
    near = difflib.get_close_matches(name, own, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise InputError(
        f"{module.__file__}: expected a class or function {name!r}, found none{hint} "
        f"It defines: {', '.join(own) or 'none at all'}"
    )


def code_digest(path: Path) -> str:
    """Twelve hex digits of a hash of the file's content."""
    return hashlib.sha256(read_regular(path)).hexdigest()[:12]


def _public(key: str, value: Any, module: ModuleType) -> bool:
    return not key.startswith("_") and getattr(value, "__module__", "") == module.__name__
