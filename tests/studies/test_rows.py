from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deft.contracts import InputError
from deft.extend.files import code_digest
from deft.recipes import RECIPES, cda, irn, irn_deft, psa, published
from deft.settings import fields_of
from deft.studies.rows import Row, beside_irn, choose_rows, has_field, recipe, system_rows, up_to_seeds
from deft.thresholds import AUTO


def chosen(names: tuple[str, ...], *settings: str, as_published: bool = False) -> list[Row]:
    return choose_rows(system_rows(), names, settings, as_published)


def test_only_rows_that_have_a_field_get_it() -> None:
    settings = ("backbone=test_resnet", "refine.labels.fg=0.02", "classifier.head.swap_epoch=2")
    cam, irn, deft = chosen(("cam", "irn", "irn_deft"), *settings)
    assert fields_of(irn.pipeline)["refine.labels.fg"] == 0.02
    assert fields_of(deft.pipeline)["classifier.head.swap_epoch"] == 2
    assert not has_field(cam.pipeline, "refine.labels.fg")
    assert not has_field(irn.pipeline, "classifier.head.swap_epoch")
    assert cam.pipeline.backbone == "test_resnet"


def test_rows_are_in_the_order_of_the_names_without_repeats() -> None:
    assert [row.name for row in chosen(("irn", "cam", "irn"))] == ["irn", "cam"]


def test_a_setting_can_be_for_one_row_alone() -> None:
    settings = ("seed_threshold=0.3", "irn:seed_threshold=0.5", "irn:refine.labels.fg=0.6")
    found = chosen(("irn", "irn_deft"), *settings)
    assert [row.pipeline.seed_threshold for row in found] == [0.5, 0.3]
    assert [fields_of(row.pipeline)["refine.labels.fg"] for row in found] == [0.6, AUTO]


def test_settings_override_the_published_thresholds() -> None:
    one, two = chosen(("irn", "psa"), "irn:seed_threshold=0.5", as_published=True)
    assert one.pipeline == replace(published(irn()), seed_threshold=0.5)
    assert two.pipeline == published(psa())
    plain = chosen(("irn", "psa"))
    assert [row.pipeline.refine for row in plain] == [irn().refine, psa().refine]


@pytest.mark.parametrize(
    ("systems", "setting", "message"),
    [
        (("irm",), "backbone=test_resnet", "no system 'irm'"),
        (("cam",), "refine.labels.fg=0.1", "no such field"),
        (("cam",), "clasifier.crop=1", "did you mean 'classifier.crop'"),
        (("cam",), "seed=1", "--seeds"),
        (("cam",), "backbone", "expected FIELD=VALUE"),
        (("cam",), "classifier.crop=much", "expected"),
        (("cam",), "irn:refine.labels.fg=0.1", "'irn' is not one of the systems to make: cam"),
        (("cam", "irn"), "cam:refine.labels.fg=0.1", "no such field"),
    ],
)
def test_unknown_systems_and_settings_are_refused(systems: tuple[str, ...], setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chosen(systems, setting)


def test_a_deft_row_is_compared_with_the_system_it_extends() -> None:
    rows = {row.name: row for row in system_rows({"irn": "48.3"})}
    assert list(rows) == list(RECIPES)
    assert (rows["irn"].against, rows["irn"].paper) == ((), "48.3")
    assert (rows["irn_deft"].against, rows["irn_deft"].paper) == (("irn",), "")


def test_rows_beside_the_papers_are_compared_with_irn_too() -> None:
    def against(*names: str) -> dict[str, tuple[str, ...]]:
        rows = [row for row in system_rows() if row.name in names]
        return {row.name: row.against for row in beside_irn(rows, {"irn": "", "irn_deft": "", "psa": ""})}

    assert against("irn", "irn_deft", "psa", "seam", "seam_deft") == {
        "irn": (),
        "irn_deft": ("irn",),
        "psa": (),
        "seam": ("irn",),
        "seam_deft": ("seam", "irn"),
    }
    assert against("seam") == {"seam": ()}


def test_up_to_seeds_drops_what_comes_after_them() -> None:
    assert up_to_seeds(irn_deft()) == replace(irn_deft(), refine=None, segment=None)
    # CDA trains on pseudo-masks, which its refiner makes.
    assert up_to_seeds(cda()) == replace(cda(), segment=None)
    assert cda().refine is not None


def test_unknown_recipes_are_refused() -> None:
    assert recipe("irn") == irn()
    with pytest.raises(InputError, match=r"no recipe 'irm'; did you mean 'irn'\? There are: cam, irn, "):
        recipe("irm")


WALK = "from deft import recipes\n\n\ndef recipe():\n    return recipes.cam()\n"


def test_a_file_of_the_user_is_a_row_named_after_it(tmp_path: Path) -> None:
    mine, twin = tmp_path / "walk.py", tmp_path / "walk_deft.py"
    for path in (mine, twin):
        path.write_text(WALK)
    systems = (str(twin), "cam", str(mine))
    rows = choose_rows(system_rows(systems=systems), systems, (f"{mine}:seed_threshold=0.5", "stride=8"), False)
    assert [row.label for row in rows] == ["walk_deft", "cam", "walk"]
    assert [row.pipeline.seed_threshold for row in rows] == [AUTO, AUTO, 0.5]
    assert [row.pipeline.stride for row in rows] == [8, 8, 8]
    digest = code_digest(mine)
    assert (rows[2].name, rows[2].file) == (f"walk ({digest})", str(mine))
    assert rows[0].against == (rows[2].name,)
    assert [row.against for row in beside_irn([*chosen(("irn",)), *rows], {})][-1] == ("irn",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("irn.py",), "irn.py: a recipe has the name 'irn' too, .*rename the file"),
        (("a/walk.py", "b/walk.py"), "b/walk.py: the file .*a/walk.py has the name 'walk' too"),
        (("nowhere.py",), "nowhere.py: expected a Python file, found no file"),
    ],
)
def test_a_file_that_cannot_be_a_row_is_refused(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    for name in names:
        if name != "nowhere.py":
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(WALK)
    with pytest.raises(InputError, match=message):
        system_rows(systems=[str(tmp_path / name) for name in names])
