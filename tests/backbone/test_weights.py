from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from deft.backbone import build_backbone, find_weights, weights_digest, weights_key
from deft.contracts import InputError


@pytest.fixture(scope="module")
def full() -> nn.Module:
    """The same network with its classifier, as weight files hold it."""
    torch.manual_seed(1)
    return timm.create_model("test_resnet", pretrained=False).eval()


def images(n: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=rng)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "wrapped.pt", "folder"])
def test_weights_of_a_whole_classifier_load(kind: str, full: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "test_resnet-mine.safetensors"
    if kind in ("safetensors", "folder"):
        save_file(full.state_dict(), path)
        (tmp_path / "README.md").write_text("not weights")
    else:
        path = tmp_path / f"any.{kind}"
        state = full.state_dict()
        content = state if kind == "pth" else {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
        torch.save(content, path)
    net = build_backbone("test_resnet", str(tmp_path if kind == "folder" else path), stride=32).eval()
    assert net.pretrained and not build_backbone("test_resnet").pretrained
    x = images()
    torch.testing.assert_close(net(x)[-1], full.forward_features((x.float() / 255 - net.mean) / net.std))


@pytest.mark.parametrize("name", ["test_convnext", "test_vit", "test_efficientnet"])
def test_renamed_keys_are_found(name: str, tmp_path: Path) -> None:
    whole = timm.create_model(name, pretrained=False).eval()
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    net = build_backbone(name, str(tmp_path / "w.safetensors"))
    own, theirs = list(net.net.state_dict().values()), whole.state_dict()
    assert all(any(t.shape == o.shape and torch.equal(t, o) for t in theirs.values()) for o in own)


def test_metadata_is_obeyed(tmp_path: Path) -> None:
    whole = timm.create_model("test_efficientnet", pretrained=False, pad_type="same")
    path = tmp_path / "w.safetensors"
    metadata = {"architecture": "test_efficientnet", "pad_type": "same", "mean": "0.5,0.5,0.5", "std": ".25,.25,.25"}
    save_file(whole.state_dict(), path, metadata=metadata)
    net = build_backbone("test_efficientnet", str(path))
    assert net.spec() == {
        "name": "test_efficientnet",
        "stride": 16,
        "pad_type": "same",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "pretrained": True,
    }
    assert net.fill == (128, 128, 128)
    with pytest.raises(InputError, match="of 'test_efficientnet', not of 'test_resnet'"):
        build_backbone("test_resnet", str(path))


def test_faults_of_weights_name_the_way_out(full: nn.Module, tmp_path: Path) -> None:
    state = full.state_dict()
    with pytest.raises(InputError, match=r"expected 'hub', 'none'"):
        build_backbone("test_resnet", str(tmp_path / "nowhere.pth"))
    with pytest.raises(InputError, match=r"exactly one file test_resnet\*.*found none"):
        find_weights("test_resnet", str(tmp_path))
    (tmp_path / "w.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"\.safetensors"):
        build_backbone("test_resnet", str(tmp_path / "w.npz"))
    for suffix in (".pth", ".safetensors"):
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(b"no tensors here")
        with pytest.raises(InputError, match="cannot be read"):
            build_backbone("test_resnet", str(broken))
    save_file({k: v for k, v in state.items() if "layer3" not in k}, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match=r"layer3\S* is missing"):
        build_backbone("test_resnet", str(tmp_path / "part.safetensors"))
    grey = {k: v.sum(1, keepdim=True) if k == "conv1.0.weight" else v for k, v in state.items()}
    save_file(grey, tmp_path / "grey.safetensors")
    with pytest.raises(InputError, match=r"expected \(\d+, 3, 3, 3\)"):
        build_backbone("test_resnet", str(tmp_path / "grey.safetensors"))


def test_code_in_weights_is_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    torch.save({"state_dict": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="cannot be read"):
        build_backbone("test_resnet", str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_a_copy_of_a_file_is_the_same_weights(tmp_path: Path) -> None:
    for name, content in (("a b.pth", b"one"), ("copy.safetensors", b"one"), ("other.pth", b"two")):
        (tmp_path / name).write_bytes(content)
    one, copy, other = (
        weights_digest(str(tmp_path / name), "resnet18") for name in ("a b.pth", "copy.safetensors", "other.pth")
    )
    assert one.startswith("a b.pth ") and one != copy
    assert weights_key(one) == weights_key(copy) != weights_key(other)
    assert [weights_key(word) for word in ("none", "package x 1 abc", "hub x.y abc")] == [
        "none",
        "package x 1 abc",
        "hub x.y abc",
    ]
