from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from deft.backbone import build_backbone, hub, weights_digest, weights_key
from deft.contracts import InputError

TAG = "r160_in1k"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``cached(seed, name)`` puts weights of test_resnet into an empty cache of the hub, which nobody can reach."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))

    def put(seed: int, name: str = "model.safetensors") -> Path:
        root = tmp_path / "cache" / f"models--timm--test_resnet.{TAG}"
        path = root / "snapshots" / str(seed) / name
        path.parent.mkdir(parents=True)
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / "main").write_text(str(seed))
        torch.manual_seed(seed)
        state = timm.create_model("test_resnet", pretrained=False).state_dict()
        save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
        return path

    return put


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("backbone", ["test_resnet", f"test_resnet.{TAG}"])
def test_weights_of_the_hub_are_known_by_tag_and_hash(backbone: str, name: str, cached: Callable[..., Path]) -> None:
    path = cached(1, name)
    digest = weights_digest("hub", backbone)
    assert digest == f"hub test_resnet.{TAG} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    assert weights_key(digest) == digest
    network = build_backbone(backbone, "hub")
    torch.manual_seed(1)
    own = timm.create_model("test_resnet", pretrained=False).state_dict()
    assert network.pretrained
    assert all(torch.equal(value, own[key.replace("model.", "")]) for key, value in network.net.state_dict().items())


def test_other_weights_of_the_same_name_are_others(cached: Callable[..., Path]) -> None:
    cached(1)
    before = weights_digest("hub", "test_resnet")
    cached(2)
    assert weights_digest("hub", "test_resnet") != before


def test_another_tag_is_another_name(cached: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cached(1)
    assert " test_resnet.r160_in1k " in weights_digest("hub", "test_resnet")
    config = timm.get_pretrained_cfg("test_resnet")
    config.tag = "next_year"
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: config)
    assert " test_resnet.next_year " in weights_digest("hub", "test_resnet")


def test_weights_that_are_gone_are_known_from_the_record(cached: Callable[..., Path]) -> None:
    recorded = f"hub test_resnet.{TAG} 0123456789abcdef"
    assert weights_digest("hub", "test_resnet", recorded) == recorded
    for other in ("", "hub", "none", "hub test_resnet.other 0123456789abcdef", f"hub resnet18.{TAG} 0123456789abcdef"):
        with pytest.raises(InputError, match="not in the local cache"):
            weights_digest("hub", "test_resnet", other)
    cached(1)
    assert weights_digest("hub", "test_resnet", recorded) != recorded


@pytest.mark.parametrize("backbone", ["test_resnet", "legacy_senet154"])
def test_without_a_network_the_hub_names_the_other_ways(backbone: str, cached: Callable[..., Path]) -> None:
    for ask in (lambda: build_backbone(backbone, "hub"), lambda: weights_digest("hub", backbone)):
        with pytest.raises(InputError, match=r"--weights FILE.*lite0 --weights package.*--weights none"):
            ask()


@pytest.mark.parametrize("backbone", ["legacy_senet154", "gcvit_tiny"])
def test_a_file_that_torch_keeps_is_found(backbone: str, cached: Callable[..., Path]) -> None:
    place = Path(torch.hub.get_dir()) / "checkpoints" / timm.get_pretrained_cfg(backbone).url.rpartition("/")[2]
    assert hub.cached_weights(backbone) is None
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    assert hub.hub_file(backbone) == place
    assert re.fullmatch(rf"hub {backbone}\.in1k [0-9a-f]{{16}}", weights_digest("hub", backbone))


@pytest.mark.parametrize("kept", [0, 5, 500, -1])
def test_a_broken_file_in_the_cache_is_named(kept: int, cached: Callable[..., Path]) -> None:
    path = cached(1)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"model\.safetensors: .*remove the file"):
        build_backbone("test_resnet", "hub")


def test_a_backbone_without_weights_is_told(cached: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"the hub has no weights for backbone 'coatnet_1_224'"):
        hub.hub_file("coatnet_1_224")
    with pytest.raises(
        InputError, match=r"backbone 'resnet50' has no pretrained weights 'nothing'; its .* are a1_in1k, "
    ):
        hub.hub_file("resnet50.nothing")
    with pytest.raises(InputError, match="unknown backbone 'resnet_50'; the nearest names are"):
        weights_digest("hub", "resnet_50")


def test_what_is_missing_is_downloaded(
    cached: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import EntryNotFoundError

    asked = []

    def download(place: str, name: str) -> str:
        asked.append((place, name))
        if name == "model.safetensors":
            raise EntryNotFoundError("404")
        return str(tmp_path / name)

    monkeypatch.setattr(hub, "hub_answers", lambda: True)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert hub.hub_file("test_resnet") == tmp_path / "pytorch_model.bin"
    assert asked == [(f"timm/test_resnet.{TAG}", name) for name in ("model.safetensors", "pytorch_model.bin")]

    def refuse(url: str, target: str, progress: bool) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(InputError, match="could not be downloaded from the hub: connection reset; download a weight"):
        hub.hub_file("legacy_senet154")
