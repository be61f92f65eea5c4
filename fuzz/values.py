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
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "gb18030")


@st.composite
def altered(draw: st.DrawFn, skeleton: Any, most: int = 4) -> Any:
    """A copy of a value of JSON in which up to ``most`` parts are replaced, removed, repeated or nested."""
    holder = [copy.deepcopy(skeleton)]
    for _ in range(draw(st.integers(0, most))):
        places = list(_places(holder))
        inside, key = places[draw(st.integers(0, len(places) - 1))]
        how = draw(st.sampled_from(("odd", "odd", "odd", "remove", "again", "wrap", "into", "swap")))
        if how == "odd":
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
    return holder[0]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of a value: what holds it, and its key or index."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


@st.composite
def json_text(draw: st.DrawFn, *skeletons: Any) -> str:
    """JSON of an altered value; keys may come twice, brackets go deep, halves of pairs are escaped."""
    value = draw(st.one_of([altered(skeleton) for skeleton in skeletons]))
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
    """A text in which up to ``most`` of the words between ``«`` and ``»`` are replaced by odd ones."""
    parts = template.split("«")
    texts = [parts[0]]
    chosen = {draw(st.integers(1, max(1, len(parts) - 1))) for _ in range(draw(st.integers(0, most)))}
    for index, part in enumerate(parts[1:], 1):
        word, _, rest = part.partition("»")
        texts += [draw(st.sampled_from(words)) if index in chosen else word, rest]
    return "".join(texts)


def pieced(pieces: Sequence[str], most: int = 25) -> st.SearchStrategy[str]:
    """Texts of up to ``most`` pieces in any order."""
    return st.lists(st.sampled_from(pieces), max_size=most).map("".join)
