"""Reader of pickles of dicts, lists and numpy arrays that never unpickles.

Unpickling can run any code. Instead, the few opcodes that such a pickle consists of are interpreted here, and all
others are refused. The four names that numpy writes into its pickles are compared as text; nothing is imported, called
or looked up.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass


class Refused(Exception):
    """The pickle contains something other than dicts, lists and arrays; the message says what."""


@dataclass(eq=False)
class _Name:
    """A reference to a global, as text."""

    module: str
    name: str


@dataclass(eq=False)
class PickledDtype:
    """Data type of an array: numpy's code without byte order, ``f4``, and its byte order, ``<``."""

    code: str
    order: str = "="


@dataclass(eq=False)
class PickledArray:
    """An array as stored: its state is a plain tuple."""

    state: tuple[object, ...] | None = None


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_MARK = object()


def walk(data: bytes) -> object:
    """The value that the opcodes describe, with arrays as :class:`PickledArray`.

    Raises:
        Refused: an opcode or a name is not supported.
        Exception: of any kind, if the bytes are not a pickle.
    """
    stack: list[object] = []
    memo: dict[int, object] = {}

    def to_mark() -> list[object]:
        at = max(index for index, value in enumerate(stack) if value is _MARK)
        items = stack[at + 1 :]
        del stack[at:]
        return items

    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            break
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            stack.append(argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else int(argument)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(str(argument))])
        elif name == "TUPLE":
            stack.append(tuple(to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("LIST", "APPENDS", "APPEND"):
            items = [stack.pop()] if name == "APPEND" else to_mark()
            if name == "LIST":
                stack.append([])
            as_list(stack[-1]).extend(items)
        elif name in ("DICT", "SETITEMS", "SETITEM"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else to_mark()
            if name == "DICT":
                stack.append({})
            for key, value in zip(items[::2], items[1::2], strict=True):
                if not isinstance(key, (str, int)):
                    raise Refused(f"got a key that is {type(key).__name__}, neither text nor number")
                as_dict(stack[-1])[key] = value
        elif name == "GLOBAL":
            stack.append(_known(*str(argument).split(" ", 1)))
        elif name == "STACK_GLOBAL":
            what, module = stack.pop(), stack.pop()
            stack.append(_known(str(module), str(what)))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_reduce(function, arguments))
        elif name == "BUILD":
            _build(stack.pop(), stack[-1])
        else:
            raise Refused(f"got the pickle instruction {name}")
    if len(stack) != 1:
        raise Refused("got an unfinished pickle")
    return stack[0]


_CONSTANTS: dict[str, Callable[[], object]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    )
)


def _known(module: str, name: str) -> _Name:
    if (
        (module in _MULTIARRAY and name == "_reconstruct")
        or (module == "numpy" and name in ("ndarray", "dtype"))
        or (module == "_codecs" and name == "encode")
    ):
        return _Name(module, name)
    raise Refused(f"got a reference to {module}.{name}, which could run code")


def _reduce(function: object, arguments: object) -> object:
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise Refused("got a call of something unknown")
    if function.name == "_reconstruct":
        return PickledArray()
    if function.name == "dtype":
        return PickledDtype(_text(arguments[0]))
    if function.name == "encode":  # how protocol 2 writes bytes
        return _text(arguments[0]).encode("latin-1")
    raise Refused(f"got a call of {function.name}")


def _build(state: object, target: object) -> None:
    if not isinstance(state, tuple):
        raise Refused("got a state that is not a tuple")
    if isinstance(target, PickledArray):
        target.state = state
    elif isinstance(target, PickledDtype):
        target.order = _text(state[1])
    else:
        raise Refused("got a state of something unknown")


def array_state(array: PickledArray) -> tuple[tuple[object, ...], PickledDtype, object]:
    """Shape, type and content (bytes, or a list for objects) of an array; raises Refused if it has none."""
    if array.state is None or len(array.state) != 5:
        raise Refused("got an array without content")
    _, shape, dtype, _, data = array.state
    if not isinstance(shape, tuple) or not isinstance(dtype, PickledDtype):
        raise Refused("got an array without shape")
    return shape, dtype, data


def as_list(value: object) -> list[object]:
    """The value, which must be a list."""
    if not isinstance(value, list):
        raise Refused(f"got {type(value).__name__} for a list")
    return value


def as_dict(value: object) -> dict[str | int, object]:
    """The value, which must be a dict."""
    if not isinstance(value, dict):
        raise Refused(f"got {type(value).__name__} for a dict")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Refused(f"got {type(value).__name__} for text")
    return value
