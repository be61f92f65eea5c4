from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft.contracts import InputError
from deft.deploy.hub import push


class FakeHub:
    """Stands in for huggingface_hub.HfApi: keeps what it is asked to do."""

    asked: list[tuple[str, dict[str, Any]]]
    refuses: Exception | None = None

    def __init__(self, **_: Any) -> None:
        type(self).asked = []

    def create_repo(self, repo_id: str, **more: Any) -> str:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append((repo_id, more))
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, **more: Any) -> None:
        self.asked.append((more["repo_id"], more))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[FakeHub]:
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    monkeypatch.setattr(FakeHub, "refuses", None)
    return FakeHub


def test_a_private_repository_gets_the_named_files(hub: type[FakeHub], tmp_path: Path) -> None:
    assert push(tmp_path, ["README.md", "segment.onnx"], "jane/birds") == "https://huggingface.co/jane/birds"
    (made, how), (filled, what) = hub.asked
    assert made == filled == "jane/birds"
    assert how == {"repo_type": "model", "private": True, "exist_ok": True}
    assert (what["folder_path"], what["allow_patterns"]) == (tmp_path, ["README.md", "segment.onnx"])


@pytest.mark.parametrize("error", [OSError("401 Unauthorized\nRequest ID"), ValueError("no token"), RuntimeError("")])
def test_what_the_hub_refuses_is_told(error: Exception, hub: type[FakeHub], tmp_path: Path) -> None:
    hub.refuses = error
    with pytest.raises(InputError, match=r"--push jane/birds: .*the model is in .*hf auth login") as told:
        push(tmp_path, ["README.md"], "jane/birds")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "name", ["birds", "jane/birds/more", "jane/", "https://huggingface.co/jane/birds", "a b/c", ""]
)
def test_only_owner_and_name_are_taken(name: str, hub: type[FakeHub], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected OWNER/NAME"):
        push(tmp_path, ["README.md"], name)


def test_a_revision_cannot_be_pushed_to(hub: type[FakeHub], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave out @main"):
        push(tmp_path, ["README.md"], "jane/birds@main")
