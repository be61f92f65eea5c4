from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft.artifacts import save_mask
from deft.backbone import build_backbone, frozen_net
from deft.contracts import IGNORE, InputError, Sample
from deft.data import open_data
from deft.engine.features import (
    FeatureFiles,
    Features,
    Frozen,
    MaskedFeatures,
    TaggedFeatures,
    find_features,
    load_features,
    save_features,
    seen_size,
    standardise,
)

DATA = open_data("demo:train=3,val=2,size=64").train


def written(folder: Path, index: int = 0, height: int = 4, width: int = 6) -> Path:
    rng = torch.Generator().manual_seed(index)
    deep = torch.randn(5, height, width, generator=rng)
    path = folder / f"{index}.safetensors"
    save_features(path, Features(deep, torch.rand(4, height, width, generator=rng)), "key")
    return path


def test_sizes_are_those_of_inference() -> None:
    from deft.segment.inference import Inference
    from fakes import segmenter

    network = segmenter()
    for size in ((213, 320), (3000, 4000), (1, 900), (64, 64)):
        assert Inference()._size(network, size, 1.0) == seen_size(size, 64, 16)


def test_features_in_16_bits(tmp_path: Path) -> None:
    found = load_features(written(tmp_path))
    rng = torch.Generator().manual_seed(0)
    torch.testing.assert_close(found.deep, torch.randn(5, 4, 6, generator=rng).half())
    assert found.affinity is not None and found.affinity.shape == (4, 4, 6) and found.affinity.dtype == torch.float16
    with pytest.raises(InputError, match="16 bits"):
        save_features(tmp_path / "x.safetensors", Features(torch.full((1, 1, 1), 1e6)), "key")


def test_an_image_is_looked_at_as_its_settings_say() -> None:
    frozen = Frozen(side=64, scales=(1.0,), stride=8)
    backbone = frozen.on(build_backbone("test_resnet", "none", 16))
    image = DATA[0].image[:48]
    found = find_features(backbone, image)
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        torch.testing.assert_close(frozen_net(backbone).standardised(found.deep), backbone(pixels)[-1][0])
    assert frozen.bytes_of(backbone, 10) > 10 * 2 * found.deep.numel()
    with pytest.raises(InputError, match="frozen"):
        find_features(build_backbone("test_resnet", "none", 16), image)


def test_a_head_sees_averages_of_cells(tmp_path: Path) -> None:
    files = [written(tmp_path, index) for index in range(3)]
    examples = TaggedFeatures(DATA, files, cells=1)
    one = examples.example(1, np.random.default_rng(0))
    torch.testing.assert_close(
        one["features"][:, 0, 0].float(), load_features(files[1]).deep.float().mean((1, 2)), atol=1e-3, rtol=1e-3
    )
    assert one["labels"].tolist() == DATA.labels[1].astype(float).tolist()
    assert len(examples) == 3 and examples.name(1) == DATA.names[1]
    files[1].unlink()  # it is kept
    assert torch.equal(examples.example(1, np.random.default_rng(1))["features"], one["features"])


def test_crops_of_maps_and_masks_agree(tmp_path: Path) -> None:
    views = Frozen(side=64, stride=8).views
    deep = torch.zeros(1, 4, 6)
    deep[0, 2, 4] = 1
    path, drawn = tmp_path / "0.safetensors", tmp_path / "0.png"
    save_features(path, Features(deep), "key")
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[16:24, 32:40] = 2
    save_mask(drawn, mask)
    examples = MaskedFeatures(DATA, [path], [drawn], views, 3, (0,))
    shown = set()
    for draw in range(12):
        one = examples.example(0, np.random.default_rng(draw))
        assert one["mask"].shape == (24, 24) and one["deep"].shape == (1, 3, 3)
        rows, columns = np.nonzero(one["deep"][0].numpy())
        for y, x in zip(rows, columns, strict=True):
            assert (one["mask"][8 * y : 8 * y + 8, 8 * x : 8 * x + 8] == 2).all()
            shown.add((int(y), int(x)))
    assert len(shown) > 2
    wide = MaskedFeatures(DATA, [path], [drawn], views, 8, (0,)).example(0, np.random.default_rng(0))
    assert (wide["mask"][32:] == IGNORE).all() and (wide["mask"][:, 48:] == IGNORE).all()


def test_files_by_the_name_of_an_image(tmp_path: Path) -> None:
    splits = open_data("demo:train=3,val=2,size=64")
    assert splits.val is not None
    parts = [("train", splits.train), ("val", splits.val)]
    files = FeatureFiles(tmp_path, parts, lambda data: [f"{len(data)}-{index}" for index in range(len(data))])
    assert [len(files.of(part)) for part, _ in parts] == [3, 2] and len(files.every) == 5
    save_features(files.of("train")[0], Features(torch.ones(1, 2, 2)), "key")
    assert files.stored(splits.train[0]) is not None
    assert files.stored(splits.train[1]) is None
    assert files.stored(Sample("another", splits.train[0].image, splits.train.labels[0])) is None


def test_channels_are_measured_on_the_files(tmp_path: Path) -> None:
    backbone = Frozen(side=64, stride=8, taps=1).on(build_backbone("test_resnet", "none", 16))
    path = tmp_path / "0.safetensors"
    save_features(path, Features(7 + torch.randn(backbone.channels[0], 4, 4)), "key")
    standardise(backbone, [path])
    assert abs(float(frozen_net(backbone).standardised(load_features(path).deep).mean())) < 1e-3
    with pytest.raises(InputError, match=r"frozen\.stride"):
        Frozen(stride=6)
