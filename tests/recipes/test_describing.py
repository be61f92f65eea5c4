from __future__ import annotations

import re
from dataclasses import replace

import pytest

from deft.cli.main import main
from deft.recipes import RECIPES, irn, irn_deft
from deft.recipes.describing import describe, describe_all, differences
from deft.settings import fields_of


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_says_what_it_is_in_a_line_and_names_its_paper(name: str) -> None:
    one = describe(name, RECIPES[name])
    assert one.line.endswith(".")
    assert 20 < len(one.line) <= 105
    assert "`" not in one.line
    if name != "external":
        assert re.search(r"\d{4}, arXiv:\d{4}\.\d{5}|\d{4}, CVPR, |DEFT, see irn_deft", one.paper), one.paper
    assert ("DEFT, see irn_deft" in one.paper) == (name == "demo" or (name.endswith("_deft") and name != "irn_deft"))


def test_what_says_nothing_is_listed_all_the_same() -> None:
    def silent() -> None: ...

    def brief() -> None:
        """Brief."""

    assert describe("silent", silent).line == ""
    assert (describe("brief", brief).line, describe("brief", brief).paper) == ("Brief.", "")
    assert [one.name for one in describe_all()][: len(RECIPES)] == list(RECIPES)


def test_differences_are_the_fields_that_another_has_not() -> None:
    assert list(differences(irn(), irn())) == []
    changed = replace(irn(), stride=8, refine=None)
    assert list(differences(changed, irn())) == [("refine", "None", "Irn"), ("stride", "8", "16")]
    found = list(differences(irn_deft(), irn()))
    assert ("classifier.head", "DeftHead", "LinearHead") in found
    assert ("classifier.plan.epochs", "10", "5") in found
    names = {name for name, _, _ in found}
    fields = fields_of(irn_deft())
    assert {name for name in fields if name.startswith("classifier.head.")} <= names
    assert not any(name.startswith(("refine", "segment", "seeds")) for name in names)


def test_the_verb_lists_all_or_says_what_one_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)
    irn_line = next(line for line in lines if line.startswith("irn "))
    assert irn_line.endswith("(Ahn et al., 2019, arXiv:1904.05044)")
    assert main(["recipes", "advcam"]) == 0
    out = capsys.readouterr().out
    assert "Paper: Lee et al., 2021, arXiv:2103.08896\nFields that differ from those of irn:\n" in out
    assert "  classifier.freeze_stride = 2  (irn: 8)\n" in out
    assert "  seeds = AdvCam  (irn: Cam)\n" in out
    assert "  refine.power = 1.5  (irn: 1.0)\n" in out
    assert main(["recipes", "irn"]) == 0
    assert "Fields that differ from those of irn: none" in capsys.readouterr().out
    assert main(["recipes", "advcamp"]) == 2
    assert "did you mean 'advcam'" in capsys.readouterr().err
