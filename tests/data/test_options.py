from __future__ import annotations

import pytest

from deft.data.options import split_options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", []),
        ("&, ", []),
        ("empty=drop", ["empty=drop"]),
        ("empty=drop,year=2017", ["empty=drop", "year=2017"]),
        ("empty=drop&year=2017&", ["empty=drop", "year=2017"]),
        ("root=photos/a,b & c,size=3", ["root=photos/a,b & c", "size=3"]),
        (r"root=C:\photos,x=(1, 2)", [r"root=C:\photos", "x=(1, 2)"]),
        ("url=a?b=c", ["url=a?b=c"]),
        ("size", ["size"]),
    ],
)
def test_options_are_parted_where_a_name_follows(text: str, options: list[str]) -> None:
    assert split_options(text) == options
