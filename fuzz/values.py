"""Odd values in sound structures: JSON whose parts are of other types, missing, twice, nested, huge or not a number."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from fuzz.damage import sometimes_damaged

WORDS = (
    *("cow", "dog", "polar bear", "Cow", "background", "", " ", "a.png", "b", "b.jpg", "sub/c.png", "images/a.png"),
    *("NaN", "null", "None", "-", "0", "1", "-1", "1e999", "007", "7.0", "9" * 400, "True", "yes"),
    *("\0", "\x1b[31mred", "a\nb", "\u202e", "\u200b", "e\u0301", "牛", "\ud83d", "\U0001f404", "x" * 300),
    *("/dev/zero", "../../a.png", "..", "/", "C:\\photos\\a.png", "file:///a.png", "http://[a", "a%20b.png", "%", "~"),
    *("<script>", "&amp;", "';--", "${HOME}", "{0}", "%s", "[", "]", "{}", "a,b", "a;b", "a|b", '"', "'"),
)
"""Texts where a name, a number or a path is expected."""
NUMBERS = (
    *(0, 1, 2, 3, 7, 255, 256, -1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**70, 10**400),
    *(0.5, -0.0, 7.0, 1e-320, 1e9, 1e30, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
)
_DEEP = "@deep@"
_ODD: tuple[Any, ...] = (
    *WORDS,
    *NUMBERS,
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"a": None},
    {"": []},
    [1, 2],
    _DEEP,
)
ENCODINGS = (*["utf-8"] * 12, "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "gb18030")


_CHANGES = (0, 1, 1, 1, 1, 2, 2, 3, 5)
"""How many parts of an input are changed: mostly one, so that the rest of it is read."""
_HOW = (*["near"] * 8, *["odd"] * 3, "remove", "remove", "again", "again", "wrap", "into", "swap")


@st.composite
def altered(draw: st.DrawFn, skeleton: Any, how: Sequence[str] = _HOW) -> Any:
    """A copy of a value of JSON in which a few parts are replaced, removed, repeated or nested.

    Half of the changes are to a value that could be right: another number, a text that is elsewhere in the value.
    """
    holder = [copy.deepcopy(skeleton)]
    for _ in range(draw(st.sampled_from(_CHANGES))):
        places = list(_places(holder))
        inside, key = places[draw(st.integers(0, len(places) - 1))]
        _change(draw, holder, places, inside, key, draw(st.sampled_from(how)))
    return holder[0]


def _change(draw: st.DrawFn, holder: Any, places: Sequence[tuple[Any, Any]], inside: Any, key: Any, how: str) -> None:
    """Change one part, ``inside[key]``, of what is held."""
    if how == "near":
        inside[key] = _near(draw, inside[key], places)
    elif how == "odd":
        inside[key] = copy.deepcopy(draw(st.sampled_from(_ODD)))
    elif how == "remove" and inside is not holder:
        del inside[key]
    elif how == "again" and isinstance(inside, list) and inside is not holder:
        inside.append(copy.deepcopy(inside[key]))
    elif how == "wrap":
        inside[key] = [inside[key]]
    elif how == "into":
        inside[key] = {draw(st.sampled_from(WORDS)): inside[key]}
    elif how == "swap":
        other, place = places[draw(st.integers(0, len(places) - 1))]
        inside[key] = copy.deepcopy(other[place])


def _near(draw: st.DrawFn, value: Any, places: Sequence[tuple[Any, Any]]) -> Any:
    """Another value of the same type: a number beside it, a text of another place, fewer or other items."""
    if isinstance(value, bool) or value is None:
        return draw(st.sampled_from((True, False, None)))
    if isinstance(value, int | float):
        scaled = (value / 2, float(value)) if abs(value) < 2**64 else ()
        return draw(st.sampled_from((value + 1, value - 1, 2 * value, 0, 1, *scaled)))
    if isinstance(value, str):
        texts = [inside[key] for inside, key in places if isinstance(inside[key], str)]
        return draw(st.sampled_from((*texts, value.upper(), f" {value} ", value + "2")))
    if isinstance(value, list):
        return draw(st.sampled_from((value[::-1], value[1:], value[:-1], [], value + value[:1])))
    kept = draw(st.integers(0, max(0, len(value) - 1)))
    return {**dict(list(value.items())[kept:]), **dict(list(value.items())[:kept]), "more": None}


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of a value: what holds it, and its key or index."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


@st.composite
def json_text(draw: st.DrawFn, *skeletons: Any) -> str:
    """JSON of an altered value; some brackets go deep, and halves of pairs are escaped.

    Args:
        draw: of Hypothesis.
        skeletons: values, or strategies for them, one of which is altered.
    """
    skeleton = draw(st.sampled_from(skeletons))
    value = draw(altered(draw(skeleton) if isinstance(skeleton, st.SearchStrategy) else skeleton))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from((None, 1))))
    return text.replace(json.dumps(_DEEP), "[" * 20_000 + "]" * draw(st.sampled_from((0, 20_000))))


@st.composite
def encoded(draw: st.DrawFn, text: st.SearchStrategy[str]) -> bytes:
    """A text in UTF-8, or another encoding."""
    encoding = draw(st.sampled_from(ENCODINGS))
    return draw(text).encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")


def json_file(*skeletons: Any) -> st.SearchStrategy[bytes]:
    """Files of JSON, one of three damaged."""
    return sometimes_damaged(encoded(json_text(*skeletons)))


@st.composite
def filled(draw: st.DrawFn, template: str, words: Sequence[str] = WORDS, most: int = 4) -> str:
    """A text in which a few of the words between ``«`` and ``»`` are replaced, by odd ones or by others of the text."""
    parts = template.split("«")
    texts = [parts[0]]
    changes = min(most, draw(st.sampled_from(_CHANGES)))
    chosen = {draw(st.integers(1, max(1, len(parts) - 1))) for _ in range(changes)}
    own = [part.partition("»")[0] for part in parts[1:]]
    for index, part in enumerate(parts[1:], 1):
        word, _, rest = part.partition("»")
        if index in chosen:
            word = draw(st.sampled_from(words if draw(st.booleans()) else own))
        texts += [word, rest]
    return "".join(texts)


def pieced(pieces: Sequence[str], most: int = 25) -> st.SearchStrategy[str]:
    """Texts of up to ``most`` pieces in any order."""
    return st.lists(st.sampled_from(pieces), max_size=most).map("".join)
