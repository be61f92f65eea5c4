from __future__ import annotations

import pytest

from deft.contracts import InputError
from deft.data.faults import Fault, Faults, counted, nearest, refuse
from deft.guards.words import shown


def test_a_fault_is_one_line_with_place_what_and_remedy() -> None:
    assert str(Fault("a.csv", 3, "bad", "mend it")) == "a.csv:3: bad; mend it"
    assert str(Fault("a.csv", None, "odd", "look", warning=True)) == "a.csv: warning: odd; look"


def test_warnings_pass_and_errors_are_told_up_to_a_number() -> None:
    faults = Faults()
    faults.warn("a", None, "odd", "look")
    refuse(faults.all, "voc:x")
    for line in range(1, 8):
        faults.add("a", line, "bad", "mend")
    assert len(faults.errors) == 7 and len(faults.all) == 8
    with pytest.raises(InputError) as caught:
        refuse(faults.all, "voc:x", most=2)
    assert str(caught.value) == "a:1: bad; mend\na:2: bad; mend\n... and 5 more: `deft check voc:x` lists them all"


@pytest.mark.parametrize(
    ("word", "answer"), [("cwo", "cow"), ("COW", "cow"), ("Aeroplan", "Aeroplane"), ("zebra", None), ("", None)]
)
def test_the_nearest_name_is_found_whatever_the_case(word: str, answer: str | None) -> None:
    assert nearest(word, ("cow", "Aeroplane")) == (f" (nearest: {answer!r})" if answer else "")


def test_names_cannot_write_to_the_terminal() -> None:
    fault = Fault("a\x1b[2J\n.csv", 3, "bad \u202e name \ud83d", "mend it\u00e9 \u725b")
    assert str(fault) == "a\\x1b[2J\\n.csv:3: bad \\u202e name \\ud83d; mend it\u00e9 \u725b"
    assert shown("caf\u00e9\u00a0x") == "caf\u00e9\u00a0x"


def test_numbers_have_their_nouns() -> None:
    assert [counted(1, "row"), counted(2, "row"), counted(0, "entry", "entries")] == ["1 row", "2 rows", "0 entries"]
