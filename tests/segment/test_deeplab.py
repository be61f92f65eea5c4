from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from deft.artifacts import load_tensors, save_tensors
from deft.backbone import build_backbone
from deft.contracts import InputError
from deft.engine.optimise import Sgd
from deft.segment.deeplab import DeepLab, SegmentationNetwork, balancing_weight, load_network, save_network

SMALL = DeepLab(channels=16, dropout=0.0)
CLASSES = ("cat", "dog", "ünïcode; <b>")


def network(name: str = "test_resnet", stride: int = 16, seed: int = 0, background: float = 1) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return SegmentationNetwork(build_backbone(name, stride=stride), len(CLASSES), SMALL, 64, background)


def images(n: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=rng)


@pytest.mark.parametrize(
    ("name", "stride"), [("test_resnet", 16), ("test_resnet", 8), ("test_vit", 16), ("test_convnext", 32)]
)
@pytest.mark.parametrize("size", [(64, 64), (50, 37), (1, 1)])
def test_logits_have_the_size_of_the_images(name: str, stride: int, size: tuple[int, int]) -> None:
    net = network(name, stride).eval()
    with torch.inference_mode():
        logits = net(images(1, *size))
    assert logits.shape == (1, 4, *size)
    assert bool(torch.isfinite(logits).all())


def test_padding_is_the_mean_colour_below_and_to_the_right() -> None:
    net = network().eval()
    small = images(1, 40, 33)
    by_hand = torch.empty(1, 3, 48, 48, dtype=torch.uint8)
    by_hand[:] = torch.tensor(net.backbone.fill).view(1, 3, 1, 1)
    by_hand[..., :40, :33] = small
    torch.testing.assert_close(net(small), net(by_hand)[..., :40, :33])


def test_forward_is_the_coarse_grid_enlarged() -> None:
    net = network().eval()
    x = images()
    coarse = net.coarse(x)
    assert coarse.shape == (2, 4, 16, 16)
    torch.testing.assert_close(net(x), F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=False))


def test_loss_is_the_mean_over_valid_pixels() -> None:
    net = network().eval()
    x = images()
    mask = torch.randint(0, 4, (2, 64, 64), generator=torch.Generator().manual_seed(1))
    mask[0, :40] = 255
    mask[1, :, 50:] = 255
    loss = net.terms({"image": x, "mask": mask}, 1, torch.Generator())["segmentation"]
    log_shares = net(x).detach().log_softmax(1)
    valid = [(n, h, w) for n in range(2) for h in range(64) for w in range(64) if mask[n, h, w] != 255]
    reference = -sum(float(log_shares[n, mask[n, h, w], h, w]) for n, h, w in valid) / len(valid)
    assert loss.detach().item() == pytest.approx(reference, rel=1e-4)


@pytest.mark.parametrize("parts", [1, 2])
def test_background_counts_as_much_as_it_is_told_to(parts: int) -> None:
    net = network(background=0.25).eval()
    net.parts = parts
    x, mask = images(), torch.randint(0, 4, (2, 64, 64), generator=torch.Generator().manual_seed(1))
    mask[0, :40] = 255
    loss = net.terms({"image": x, "mask": mask}, 1, torch.Generator())["segmentation"]
    expected = F.cross_entropy(net(x), mask, torch.tensor([0.25, 1, 1, 1]), ignore_index=255)  # divides by the weights
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_class_counts_as_much_as_the_background() -> None:
    assert balancing_weight([600, 100, 0, 200]) == 150 / 600  # the second class is on no mask
    assert balancing_weight([0.2, 0.8]) == 1  # less background than objects
    assert balancing_weight([10, 0, 0]) == balancing_weight([0, 3]) == 1


def test_ignored_pixels_teach_nothing_and_a_batch_of_them_is_zero() -> None:
    net = network()
    batch = {"image": images(), "mask": torch.full((2, 64, 64), 255)}
    loss = net.terms(batch, 1, torch.Generator())["segmentation"]
    assert loss.item() == 0.0
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in net.parameters())


def test_one_image_of_one_cell_can_be_trained_on() -> None:
    x, mask = images(1, 16, 16), torch.ones(1, 16, 16).long()
    net, same = network().train(), network().train()
    loss = net.terms({"image": x, "mask": mask}, 1, torch.Generator())["segmentation"]
    loss.backward()
    assert loss.item() == pytest.approx(F.cross_entropy(same(x), mask).item(), rel=1e-4)
    gradient = net.head.weight.grad
    assert gradient is not None and gradient.isfinite().all() and gradient.any()


def test_a_few_steps_learn_one_batch() -> None:
    net = network().train()
    x = images()
    mask = torch.zeros(2, 64, 64, dtype=torch.long)
    mask[:, 16:48, 16:48] = 2
    optimiser = Sgd(lr=0.01, momentum=0.9).build(net.groups())
    losses = []
    for _ in range(8):
        loss = net.terms({"image": x, "mask": mask}, 1, torch.Generator())["segmentation"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_gradients_do_not_depend_on_parts() -> None:
    net = network().eval()
    mask = torch.randint(0, 4, (3, 64, 64), generator=torch.Generator().manual_seed(1))
    mask[0, :40], mask[1] = 255, 255
    found = []
    for parts in (1, 2, 3):
        net.parts = parts
        net.zero_grad()
        loss = net.terms({"image": images(3), "mask": mask}, 1, torch.Generator())["segmentation"]
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)])
    assert len(found[0]) > 40
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-5)


def test_groups_hold_every_parameter_once() -> None:
    net = network()
    backbone, new = net.groups()
    listed = [id(p) for p in [*backbone.params, *new.params]]
    assert sorted(listed) == sorted(id(p) for p in net.parameters())
    assert (backbone.lr, new.lr) == (1.0, 10.0)


def test_trained_stages_are_kept_and_random_ones_learned(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(build_backbone("test_resnet").net.state_dict(), tmp_path / "w.safetensors")
    for weights, kept in ((str(tmp_path / "w.safetensors"), True), ("none", False)):
        net = SegmentationNetwork(build_backbone("test_resnet", weights), 3, SMALL).train()
        norms = [m for m in net.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms and all(m.training is not kept for m in norms)
        frozen = {key for key, p in net.named_parameters() if not p.requires_grad}
        assert any("layer1" in key for key in frozen) is kept and not any("layer2" in key for key in frozen)
        assert all(m.training for m in net.decoder.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_saved_network_is_rebuilt_from_its_file_alone(tmp_path: Path) -> None:
    net = network().eval()
    path = tmp_path / "model.safetensors"
    save_network(path, net, CLASSES, "key")
    torch.manual_seed(7)
    again, classes = load_network(path)
    assert classes == CLASSES and again.side == 64 and not again.training
    torch.testing.assert_close(again(images()), net(images()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_other_backbones_are_rebuilt_too(name: str, tmp_path: Path) -> None:
    net = network(name).eval()
    save_network(tmp_path / "model.safetensors", net, CLASSES)
    again, _ = load_network(tmp_path / "model.safetensors")
    torch.testing.assert_close(again(images()), net(images()), rtol=1e-4, atol=1e-4)


def test_files_that_are_no_network_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError):
        load_network(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not a segmentation network"):
        load_network(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="safetensors"):
        load_network(path)
    save_network(path, network(), CLASSES)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        load_network(path)

    path.write_bytes(whole)
    with safe_open(str(path), "pt") as file:
        header = dict(file.metadata())
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=header | {"format": "99"})
    with pytest.raises(InputError, match="expected format 1, got 99"):
        load_network(path)
    save_file({k: v for k, v in tensors.items() if "head" not in k}, path, metadata=header)
    with pytest.raises(InputError, match="damaged"):
        load_network(path)
    save_file(tensors, path, metadata={k: v for k, v in header.items() if k != "classes"})
    with pytest.raises(InputError, match="damaged"):
        load_network(path)


def test_sizes_follow_the_photographs() -> None:
    settings = DeepLab(crop=0.7, long_side=(0.75, 1.5))
    assert settings.pixels(320) == (224, (240, 480))
    assert settings.pixels(64) == (64, (48, 96))


@pytest.mark.parametrize("wrong", [{"channels": 100}, {"channels": 0}, {"long_side": (2.0, 0.5)}, {"crop": 0.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"^(DeepLab|segment)\.{next(iter(wrong))}"):
        DeepLab(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("classes", ["cow"]),
        ("classes", 7),
        ("classes", [["a"], {}] * 400),
        ("channels", 65_536),
        ("channels", float("inf")),
        ("channels", "many"),
        ("side", None),
        ("backbone", None),
        ("backbone", ["name"]),
        ("backbone", {}),
    ],
)
def test_a_network_with_an_edited_header_is_told(entry: str, value: Any, tmp_path: Path) -> None:
    network = SegmentationNetwork(build_backbone("resnet10t", "none"), 2, DeepLab(channels=8), 32)
    path = tmp_path / "w.safetensors"
    save_network(path, network, ("cow", "dog"))
    tensors, header = load_tensors(path)
    save_tensors(path, tensors, {**header, entry: value})
    with pytest.raises(InputError):
        load_network(path)
