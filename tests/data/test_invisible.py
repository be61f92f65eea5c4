from __future__ import annotations

import pytest

from deft.data.invisible import visible


@pytest.mark.parametrize(
    "text",
    [
        "polar\u00a0bear",
        "\u200bpolar bear",
        "polar\u202fbear",
        "polar bear\ufeff",
        "\u200epolar bear",
        "polar bear\u200d",
    ],
)
def test_names_that_look_equal_are_equal(text: str) -> None:
    assert visible(text) == "polar bear"


def test_what_can_be_seen_is_kept() -> None:
    assert visible("cow  cow\tgrass") == "cow  cow\tgrass"
    assert visible("e\u0301") == "\u00e9"
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert visible(persian) == persian
