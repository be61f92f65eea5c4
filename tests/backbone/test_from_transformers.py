from __future__ import annotations

from pathlib import Path

import pytest

from deft.backbone import from_transformers as door
from deft.backbone.from_transformers import from_transformers, model_folder
from deft.contracts import InputError
from fakes import uninstall


def test_a_class_is_transformers_own() -> None:
    transformers = pytest.importorskip("transformers")
    assert from_transformers("CLIPConfig", "tests need") is transformers.CLIPConfig


def test_what_is_missing_names_its_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match=r"tests need transformers, which cannot be imported .*deft-wsss\[sam\]"):
        from_transformers("NoSuchModel", "tests need")
    uninstall("transformers", monkeypatch)
    with pytest.raises(InputError, match=r"tests need transformers, which cannot be imported .*deft-wsss\[clip\]"):
        from_transformers("CLIPConfig", "tests need")


def test_a_folder_is_taken_and_anything_else_that_looks_like_a_path_is_refused(tmp_path: Path) -> None:
    assert model_folder(str(tmp_path), "seeds.model") == tmp_path
    (tmp_path / "file").write_text("")
    for given in (tmp_path / "none", tmp_path / "file", "./none/there", "~/none", "a", "a/b/c"):
        with pytest.raises(InputError, match=r"seeds\.model: expected the folder of a model, or OWNER/NAME on the hub"):
            model_folder(str(given), "seeds.model")
    with pytest.raises(InputError, match=r"got nothing; give --set seeds\.model=MODEL"):
        model_folder("", "seeds.model")


def test_a_model_that_the_hub_does_not_give_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: str, **options: object) -> str:
        assert options["local_files_only"] is True
        raise OSError("no connection")

    monkeypatch.setattr(door, "hub_answers", lambda: False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    said = r"owner/name is no folder here, and cannot be had from the hub \(no connection\); download it elsewhere"
    with pytest.raises(InputError, match=said):
        model_folder("owner/name", "seeds.model")
