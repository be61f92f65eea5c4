"""Settings: nested frozen dataclasses as dotted fields on the command line, as JSON in a record, and as a hash."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from deft.contracts import InputError
from deft.ranges import RangeError

Settings = TypeVar("Settings")

FORMAT = 1
"""Increased when the content of a stage's files changes meaning: older stages are then recomputed."""

MOVED = {"deft.engine.fit.Plan": "deft.engine.plan.Plan"}
"""Classes that have moved: the name in records -> where the class is now.

Records and keys keep the old name: older runs stay readable, and no stage is recomputed because of a move.
"""
_RECORDED = {now: recorded for recorded, now in MOVED.items()}


class OtherSettingsError(InputError):
    """A folder holds something that was made with other settings."""


def one_of(choices: Mapping[str, type], **beside: Any) -> dict[str, Any]:
    """Metadata of a field that holds one of several small dataclasses, or an object of the user's own.

    ``--set`` takes a choice by its class or its name. Records and keys hold its name and, as further entries, its
    fields: ``Eq7(power=3.0)`` in the field ``map`` is ``"map": "eq7", "map_power": 3.0``, as when both were fields.

    Args:
        choices: the classes by name.
        beside: entries recorded for a choice without a field of that name, because records always had them.
    """
    return {_CHOICES: choices, _BESIDE: beside}


def read_only(**trained: Any) -> dict[str, Any]:
    """Metadata of a field of a classifier that changes how it is read, and not how it is trained.

    Classifiers that differ in nothing else are one: another reading takes over the trained classifier.

    Args:
        trained: entries that stand for the field in the key of the trained classifier, whatever its value. If there
            are none, the field was added later: its default is not recorded either, so that earlier keys remain.
    """
    return {_TRAINED: trained}


def place() -> dict[str, Any]:
    """Metadata of a field that says where files of the user lie: it is recorded, and no key depends on it."""
    return {_PLACE: True}


def later() -> dict[str, Any]:
    """Metadata of a field that was added later: its default is not recorded, so that earlier records remain."""
    return {_LATER: True}


_CHOICES, _BESIDE, _TRAINED, _PLACE, _LATER = "choices", "beside", "trained", "place", "later"
_NOTHING = ("none", "None", "null")
"""Words for no value, of a field that may have none."""


def fields_of(settings: Any) -> dict[str, Any]:
    """Every field by its dotted name, for ``--set`` and the page."""
    found: dict[str, Any] = {}

    def walk(value: Any, prefix: str) -> None:
        for item in dataclasses.fields(value):
            inner = getattr(value, item.name)
            dotted = f"{prefix}{item.name}"
            if _CHOICES in item.metadata:
                found[dotted] = type(inner).__name__
            if dataclasses.is_dataclass(inner) and not isinstance(inner, type):
                walk(inner, dotted + ".")
            else:
                found.setdefault(dotted, inner)

    walk(settings, "")
    return found


def places_of(settings: Any, prefix: str = "") -> list[str]:
    """Dotted names of the fields that :func:`place` marks."""
    found = []
    for item in dataclasses.fields(settings):
        inner = getattr(settings, item.name)
        if _PLACE in item.metadata:
            found.append(f"{prefix}{item.name}")
        elif dataclasses.is_dataclass(inner) and not isinstance(inner, type):
            found += places_of(inner, f"{prefix}{item.name}.")
    return found


def assign(settings: Settings, assignments: Sequence[str]) -> Settings:
    """Change fields of nested dataclasses by ``dotted.field=value``, each checked against the field's type and range.

    Fields of one dataclass change together, so that two of them that have to fit may be given in any order. Of one
    field, the last value counts.

    Raises:
        InputError: no such field (the message lists all fields), a value of another type or out of its range, or
            settings that do not fit together.

    >>> from deft import recipes
    >>> assign(recipes.irn(), ["classifier.crop=0.7"]).classifier.crop
    0.7
    """
    changes = []
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: expected FIELD=VALUE, as in --set seed=1")
        changes.append(_Change(field, tuple(field.split(".")), text))
    changed: Settings = _changed(settings, changes, settings) if changes else settings
    return changed


@dataclasses.dataclass(frozen=True)
class _Change:
    """One assignment."""

    field: str
    path: tuple[str, ...]
    """What of the dotted name is still to be followed."""
    text: str


def _changed(value: Any, changes: Sequence[_Change], settings: Any) -> Any:
    """A dataclass with other fields; ``settings`` are those that it is a part of."""
    by_name: dict[str, list[_Change]] = {}
    for change in changes:
        by_name.setdefault(change.path[0], []).append(change)
    new = {name: _changed_field(value, name, own, settings) for name, own in by_name.items()}
    try:
        return dataclasses.replace(value, **new)
    except RangeError as error:
        for name, own in by_name.items():  # which of them it is
            try:
                dataclasses.replace(value, **{name: new[name]})
            except RangeError as fault:
                raise InputError(f"--set {own[-1].field}={own[-1].text}: {fault.reason}") from None
            except InputError:
                continue
        raise InputError(str(error)) from None


def _changed_field(value: Any, name: str, changes: Sequence[_Change], settings: Any) -> Any:
    """The new value of a field; changes of the field itself and of fields inside it, in their order."""
    known = {item.name: item for item in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else {}
    if name not in known:
        raise _no_such_field(changes[0], value, settings)
    kind, named = get_type_hints(type(value))[name], known[name].metadata.get(_CHOICES)
    current = getattr(value, name)
    for whole, run in itertools.groupby(changes, lambda change: len(change.path) == 1):
        if whole:
            for one in run:
                given = one.text, one.field, current
                current = _chosen(named, *given) if named else _typed(kind, *given)
        else:
            inner = [dataclasses.replace(one, path=one.path[1:]) for one in run]
            current = _changed(current, inner, settings)
    return current


def _no_such_field(change: _Change, value: Any, settings: Any) -> InputError:
    fields = fields_of(settings)
    if dataclasses.is_dataclass(value):  # which may have taken the place of another one
        inside = change.field.removesuffix(".".join(change.path))
        fields |= {f"{inside}{name}": current for name, current in fields_of(value).items()}
    near = difflib.get_close_matches(change.field, fields, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    listed = "\n  ".join(f"{field} = {current!r}" for field, current in fields.items())
    return InputError(f"--set {change.field}: this recipe has no such field{hint} Its fields are:\n  {listed}")


def _chosen(named: Mapping[str, type], text: str, field: str, current: Any) -> Any:
    """The choice with this name or class name."""
    by_class = {option.__name__: option for option in named.values()}
    if text not in {**named, **by_class}:
        now = type(current).__name__
        raise InputError(f"--set {field}={text}: expected {' or '.join(by_class)} (now {now}), got {text!r}")
    return {**named, **by_class}[text]()


def _typed(kind: Any, text: str, field: str, current: Any) -> Any:
    """Convert text to a field's type; of a group of fields, only a choice of its class."""
    choices = {option.__name__: option for option in get_args(kind) if _is_settings(option)}
    if text in choices:
        return choices[text]()
    if dataclasses.is_dataclass(current):
        if text in _NOTHING and type(None) in get_args(kind):
            return None
        listed = ", ".join(name for name in choices if not isinstance(current, choices[name]))
        others = f", or replace the whole group by {' or '.join(listed.rsplit(', ', 1))}" if listed else ""
        none = ", or none to leave it out" if type(None) in get_args(kind) else ""
        raise InputError(f"--set {field}={text}: {field} is a group of fields; set one of them{others}{none}")
    if text in _NOTHING and type(None) in get_args(kind) and str not in get_args(kind):
        return None
    try:
        return typed(kind, text)
    except ValueError:
        words = kind_in_words(kind)
        raise InputError(f"--set {field}={text}: expected {words} (now {current!r}), got {text!r}") from None


def typed(kind: Any, text: str) -> Any:
    """Convert text from the command line to a type: a number, a string, a bool, a path, a tuple of these and so on.

    Raises:
        ValueError: the text is not a value of this type.
    """
    import jsonargparse

    reader = jsonargparse.ArgumentParser(exit_on_error=False)
    reader.add_argument("--value", type=kind)
    try:
        return reader.parse_object({"value": _literal(text)}).value
    except (jsonargparse.ArgumentError, TypeError, ValueError):
        pass
    try:
        return reader.parse_args([f"--value={text}"]).value
    except (jsonargparse.ArgumentError, TypeError, ValueError, SystemExit):
        raise ValueError(f"expected {kind_in_words(kind)}, got {text!r}") from None


def kind_in_words(kind: Any) -> str:
    """A type in words: ``float or auto``."""
    if get_origin(kind) is Literal:
        return " or ".join(str(value) for value in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(kind_in_words(option) for option in get_args(kind))
    if kind is type(None):
        return "none"
    return getattr(kind, "__name__", str(kind)) if isinstance(kind, type) else str(kind)


def _is_settings(option: Any) -> bool:
    return isinstance(option, type) and dataclasses.is_dataclass(option)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def plain(value: Any, trained: bool = False, key: bool = False) -> Any:
    """Settings as JSON values: a dataclass becomes a mapping that names its class.

    Args:
        value: settings.
        trained: leave out how a trained classifier is read, see :func:`read_only`.
        key: leave out where files lie, see :func:`place`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        recorded: dict[str, Any] = {"class": _RECORDED.get(name, name)}
        for item in dataclasses.fields(value):
            recorded |= _entries(item, getattr(value, item.name), trained, key)
        return recorded
    if isinstance(value, Mapping):
        return {str(name): plain(item, trained, key) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, trained, key) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def _entries(item: dataclasses.Field[Any], value: Any, trained: bool, key: bool) -> dict[str, Any]:
    """Entries of a field in a record: its value, or the name of a choice followed by the choice's fields."""
    if key and _PLACE in item.metadata:
        return {}
    if _LATER in item.metadata and value == item.default:
        return {}
    if _TRAINED in item.metadata and (trained or (not item.metadata[_TRAINED] and value == item.default)):
        return dict(item.metadata[_TRAINED])
    name = next((name for name, kind in item.metadata.get(_CHOICES, {}).items() if type(value) is kind), None)
    if name is None:
        return {item.name: plain(value, trained, key)}
    own = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    beside = {f"{item.name}_{part}": plain(inner) for part, inner in {**item.metadata[_BESIDE], **own}.items()}
    return {item.name: name, **beside}


def _gathered(item: dataclasses.Field[Any], given: dict[str, Any]) -> dict[str, Any]:
    """Fields of a record, in which the entries of a choice are replaced by the choice itself."""
    choices, name = item.metadata.get(_CHOICES, {}), given.get(item.name)
    if not choices or not isinstance(name, str):
        return given
    if name not in choices:
        raise InputError(
            f"the run was made by another version of deft, in which {item.name} could be {name!r}; repeat the run"
        )
    own = {each.name for each in dataclasses.fields(choices[name])}
    beside = {f"{item.name}_{key}": key for key in own | set(item.metadata[_BESIDE])}
    choice = choices[name](**{key: given[entry] for entry, key in beside.items() if key in own and entry in given})
    return {entry: value for entry, value in given.items() if entry not in beside} | {item.name: choice}


def restore(value: Any) -> Any:
    """Inverse of :func:`plain`; only dataclasses of this package are built.

    Raises:
        InputError: a class is not part of this package, or a recorded field or choice no longer exists.
    """
    if isinstance(value, list):
        return tuple(restore(item) for item in value)
    if not isinstance(value, dict):
        return value
    recorded = str(value.get("class", ""))
    module, _, name = MOVED.get(recorded, recorded).rpartition(".")
    kind = _class(module, name)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InputError(
            f"the run was made with {module}.{name}, which is not part of deft; repeat its deft run command"
        )
    given = {key: restore(item) for key, item in value.items() if key != "class"}
    for item in dataclasses.fields(kind):
        given = _gathered(item, given)
    known = {item.name for item in dataclasses.fields(kind)}
    if unknown := sorted(given.keys() - known):
        raise InputError(
            f"the run was made by another version of deft, in which {name} had a field {unknown[0]!r}; repeat the run"
        )
    try:
        return kind(**given)
    except InputError:
        raise
    except Exception as error:  # a record may be edited to hold anything, and a dataclass checks only so much
        raise InputError(
            f"the record of the run cannot be used: {name} with {type(error).__name__}: {error}; restore its run.json"
        ) from None


def _class(module: str, name: str) -> Any:
    """A class of this package; None if there is none of this name."""
    if module.split(".")[0] != "deft":
        return None
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping with dotted names."""
    if isinstance(value, Mapping):
        nested = [flat(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items()]
        return {key: item for part in nested for key, item in part.items()}
    return {prefix: value}


def refuse_other(
    what: str, before: Any, now: Any, unbound: tuple[str, ...] = (), told: Mapping[str, str] | None = None
) -> None:
    """Refuse to resume in a folder with other settings than it was begun with.

    Args:
        what: start of the message, the folder and its content: ``--out runs/a holds a run``.
        before: the folder's settings, nested.
        now: the settings given now.
        unbound: prefixes of dotted names that may differ.
        told: lines that say better how an entry differs, by its dotted name; an entry with an empty one may differ.

    Raises:
        OtherSettingsError: settings differ; the message names up to twelve, with both values.
    """
    old, new, told = flat(before), flat(now), told or {}
    different = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    different = [name for name in different if not name.startswith(unbound) and told.get(name) != ""]
    if not different:
        return
    plainly = {name: f"{name}: {old.get(name)!r} in the folder, {new.get(name)!r} now" for name in different}
    lines = [f"  {told.get(name, line)}" for name, line in plainly.items()]
    more = [f"  and {len(lines) - 12} more"] if len(lines) > 12 else []
    way_out = "name another folder, or use the settings the folder was begun with"
    raise OtherSettingsError("\n".join([f"{what} with other settings:", *lines[:12], *more, way_out]))


def key_of(stage: str, settings: Any, *inputs: str) -> str:
    """Hash of what determines a stage: its name, its settings and the keys of its inputs."""
    content = json.dumps([FORMAT, stage, plain(settings, key=True), list(inputs)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:24]
