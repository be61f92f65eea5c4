from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from deft.backbone import Backbone, build_backbone, find_weights, from_spec
from deft.contracts import InputError


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return build_backbone("test_resnet").eval()


@pytest.fixture(scope="module")
def full() -> nn.Module:
    """The same network with its classifier, as weight files hold it."""
    torch.manual_seed(1)
    return timm.create_model("test_resnet", pretrained=False).eval()


def images(n: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=rng)


@pytest.mark.parametrize("size", [(64, 64), (50, 37)])
@pytest.mark.parametrize(("name", "stride"), [("test_resnet", 16), ("test_resnet", 8), ("test_vit", 16)])
def test_maps_have_the_promised_channels_and_grid(name: str, stride: int, size: tuple[int, int]) -> None:
    net = build_backbone(name, stride=stride).eval()
    maps = net(images(1, *size))
    assert tuple(m.shape[1] for m in maps) == net.channels
    assert [m.shape[-2:] for m in maps] == [tuple(-(-side // r) for side in size) for r in net.reductions]
    assert net.reductions[-1] == stride


def test_a_network_of_even_sizes_only_takes_any_size() -> None:
    net = build_backbone("dla46_c", stride=32).eval()
    assert net(images(1, 50, 37))[-1].shape[-2:] == (2, 2)


def test_normalises_like_the_text_book(backbone: Backbone) -> None:
    x = images()
    by_hand = (x.double() / 255 - 0.5) / 0.5  # the mean and std this network was trained with
    for ours, reference in zip(backbone(x), backbone.net(by_hand.float()), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)
    assert backbone.fill == (128, 128, 128)
    assert build_backbone("resnet10t").fill == (124, 116, 104)


def test_float_images_and_channels_last_are_the_same_images(backbone: Backbone) -> None:
    x = images()
    for a, b, c in zip(
        backbone(x), backbone(x.float()), backbone(x.to(memory_format=torch.channels_last)), strict=True
    ):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c, rtol=1e-4, atol=1e-4)
        assert c.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "mobilenetv2_100"])
def test_a_map_can_be_changed_on_its_way(name: str) -> None:
    torch.manual_seed(0)
    net = build_backbone(name, stride=32).eval()
    x = net.normalise(images())
    with torch.no_grad():
        plain = net.features(x)
        for index in range(len(plain)):
            seen: list[torch.Tensor] = []

            def change(features: torch.Tensor, seen: list[torch.Tensor] = seen) -> torch.Tensor:
                seen.append(features.clone())
                return features.roll(1, 0)

            changed = net.features(x, (index, change))
            assert len(seen) == 1
            assert torch.equal(seen[0], plain[index])
            for place, (before, after) in enumerate(zip(plain, changed, strict=True)):
                expected = before if place < index else before.roll(1, 0)  # in eval mode images do not see each other
                torch.testing.assert_close(after, expected, rtol=1e-3, atol=1e-5)
            assert not torch.equal(changed[index], plain[index])
        assert all(torch.equal(a, b) for a, b in zip(net.features(x), plain, strict=True))


def test_a_change_that_fails_leaves_the_network_as_it_was(backbone: Backbone) -> None:
    x = backbone.normalise(images())

    def fail(features: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no change")

    with pytest.raises(RuntimeError, match="no change"):
        backbone.features(x, (1, fail))
    assert torch.equal(backbone.features(x)[-1], backbone.features(x, (1, lambda features: features))[-1])


def test_a_network_whose_maps_are_read_from_inside_is_told() -> None:
    net = build_backbone("test_vit").eval()
    with pytest.raises(InputError, match=r"features of test_vit cannot be changed.*resnet50"):
        net.features(net.normalise(images()), (0, lambda features: features))


def test_stage_of_stride(backbone: Backbone) -> None:
    assert backbone.reductions == (2, 4, 8, 16, 16)
    assert [backbone.stage_of_stride(s) for s in (1, 2, 4, 8, 16, 32)] == [-1, 0, 1, 2, 4, 4]
    assert build_backbone("test_vit").stage_of_stride(8) == -1


def test_freeze_stops_exactly_what_the_map_depends_on() -> None:
    net = build_backbone("test_resnet")
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    net.freeze(net.stage_of_stride(8), batch_norm=True)
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert any("layer2" in name for name in frozen)
    assert not any("layer3" in name or "layer4" in name for name in frozen)
    assert {name for name, _ in net.named_parameters() if "layer3" not in name and "layer4" not in name} == frozen

    net.train()
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net(images())[-1].square().mean().backward()
    optimiser.step()
    after = net.state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed and not changed & frozen
    assert not any("running" in key for key in changed)
    assert any("bn" in key and key.endswith("weight") for key in changed)  # scale and shift behind the cut still learn


def test_frozen_batch_norm_survives_train_and_can_be_undone() -> None:
    net = build_backbone("test_resnet")
    net.freeze(2, batch_norm=True)
    wrapped = nn.Sequential(net).train()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert wrapped.training and net.training and not any(m.training for m in norms)
    net.freeze(-1, batch_norm=False)
    assert all(m.training for m in norms) and all(p.requires_grad for p in net.parameters())
    with pytest.raises(ValueError, match="-1 or a map index below 5"):
        net.freeze(5, batch_norm=True)


def test_spec_rebuilds_the_same_network(backbone: Backbone) -> None:
    again = from_spec(json.loads(json.dumps(backbone.spec())))
    again.load_state_dict(backbone.state_dict())
    x = images()
    assert all(torch.equal(a, b) for a, b in zip(backbone(x), again.eval()(x), strict=True))
    with pytest.raises(InputError, match="name, stride"):
        from_spec({"name": "test_resnet"})


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


def test_without_a_network_the_hub_names_the_other_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"--weights FILE.*lite0 --weights package.*--weights none"):
        build_backbone("resnet10t", "hub")


def test_names_and_strides_that_are_not_there() -> None:
    with pytest.raises(InputError, match=r"nearest names are.*resnet50"):
        build_backbone("resnet5")
    with pytest.raises(InputError, match="Invalid pretrained tag"):
        build_backbone("resnet10t.nobody")
    with pytest.raises(InputError, match="strides 16, 16, 16; ask for stride 16"):
        build_backbone("test_vit", stride=8)
    with pytest.raises(InputError, match="strides 1, 2, 4, 8, 16, 32"):
        build_backbone("vgg11", stride=16)
