from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import deft.predict.seeds
from deft.artifacts import file_stem, load_seeds, save_tensors, write_json
from deft.backbone import build_backbone
from deft.classify.classifier import Classifier, load_classifier, save_classifier
from deft.classify.linear import LinearHead
from deft.contracts import InputError, SeedMaps
from deft.data.images import read_image
from deft.data.layouts.shards import read_shard
from deft.engine.precision import EXACT
from deft.predict.seeds import load_locator, locate_folder, locate_shards
from deft.refine.labels import ConfidentLabels
from deft.seeds.advcam import AdvCam
from deft.seeds.amn import Amn
from deft.seeds.amn_network import AmnNetwork
from deft.seeds.cam import Cam
from deft.seeds.external import External
from deft.seeds.icd import Icd
from deft.seeds.ood import Ood, OodNetwork
from deft.seeds.rib import Rib
from deft.settings import plain
from deft.thresholds import MapStatistics
from ray_fakes import OneProcess
from userfiles import write_tar

CLASSES = ("cat", "cow", "dog")


def write_run(folder: Path, seeds: object) -> Path:
    torch.manual_seed(0)
    settings = Classifier(head=LinearHead())
    network = settings.build(build_backbone("test_resnet", "none", 16), 3)
    torch.nn.init.normal_(network.head.classifier.weight)
    save_classifier(folder / "classifier" / "model.safetensors", network, CLASSES, "key")
    record = {"settings": {"classifier": plain(settings), "seeds": plain(seeds)}, "data": {"classes": CLASSES}}
    write_json(folder / "run.json", record)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), Cam(scales=(0.5, 1.0)))


def same(one: SeedMaps, other: SeedMaps, stored: bool = False) -> None:
    assert (one.classes, one.size) == (other.classes, other.size)
    assert torch.allclose(one.maps, other.maps, atol=1 / 255 if stored else 1e-6)
    assert one.scores == pytest.approx(other.scores, abs=1e-6)


def test_maps_are_those_of_the_seed_method(trained: Path, own_folder: Path) -> None:
    path = own_folder / "images" / "img_00.png"
    locator = load_locator(trained, EXACT)
    network = load_classifier(trained / "classifier" / "model.safetensors", LinearHead())
    method, pixels = Cam(scales=(0.5, 1.0)), read_image(path)
    same(locator.locate(path, ["dog", "cat"]), method(network, pixels, np.array([True, False, True])))
    same(locator.locate(pixels, []), method(network, pixels, np.zeros(3, dtype=bool)))
    same(locator.locate(pixels), method(network, pixels))
    with pytest.raises(InputError, match="'horse' is no class of this network; it knows cat, cow, dog"):
        locator.locate(path, ["horse"])
    with pytest.raises(InputError, match="expected an image file or RGB"):
        locator.locate(pixels[:, :, 0])


def test_a_method_that_climbs_and_one_that_learned(tmp_path: Path, own_folder: Path) -> None:
    path = own_folder / "images" / "img_00.png"
    climbing = write_run(tmp_path / "climbing", AdvCam(scales=(1.0,), iterations=2))
    assert load_locator(climbing, EXACT).locate(path, ["cow"]).classes == (1,)
    numbers = ConfidentLabels(fg=0.3, bg=0.05)
    learned = write_run(tmp_path / "learned", Amn(labels=numbers, base=Cam(scales=(1.0,)), scales=(1.0,)))
    with pytest.raises(InputError, match=r"expected localiser/model\.safetensors, found none"):
        load_locator(learned, EXACT)
    backbone = load_classifier(learned / "classifier" / "model.safetensors", LinearHead()).backbone
    network = AmnNetwork(backbone, 3, dropout=0.1, smoothing=0.4, head_lr=20.0)
    save_tensors(learned / "localiser" / "model.safetensors", network.state_dict())
    found = load_locator(learned, EXACT).locate(path, ["cow", "dog"])
    assert found.classes == (1, 2)
    assert 0 <= float(found.maps.min()) <= float(found.maps.max()) <= 1


def test_what_methods_keep_is_enough_for_new_photographs(tmp_path: Path, own_folder: Path) -> None:
    path = own_folder / "images" / "img_00.png"
    crops = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    once = (1.0,)
    for name, method in (("rib", Rib(scales=once, steps=1)), ("icd", Icd(scales=once)), ("ood", Ood(Cam(scales=once)))):
        run = write_run(tmp_path / name, method)
        network = load_classifier(run / "classifier" / "model.safetensors", LinearHead())
        channels = network.backbone.channels[-1]
        kept = {
            "rib": {"image": crops, "labels": torch.eye(3)},
            "icd": {"weight": torch.ones(3, channels), "offset": torch.zeros(3)},
            "ood": OodNetwork(network.backbone, network.head, Ood()).state_dict(),
        }
        save_tensors(run / "localiser" / "model.safetensors", kept[name])
        found = load_locator(run, EXACT).locate(path, ["cow", "dog"])
        assert found.classes == (1, 2) and len(found.scores) == 3
        assert 0 <= float(found.maps.min()) <= float(found.maps.max()) <= 1


def test_a_method_that_chose_its_thresholds_keeps_those_of_its_run(tmp_path: Path, own_folder: Path) -> None:
    """Labels of new photographs are cut where those of the training images were."""
    path = own_folder / "images" / "img_00.png"
    maps = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    pixels = (maps[0].repeat_interleave(4, 0).repeat_interleave(4, 1)[..., None] * 255).expand(-1, -1, 3)
    statistics = MapStatistics.of(SeedMaps((0,), maps, (64, 64)), pixels.numpy().astype(np.uint8))
    found = []
    for labels in (ConfidentLabels(), ConfidentLabels().settled(statistics)):
        run = write_run(tmp_path / str(labels.open), Amn(labels=labels, base=Cam(scales=(1.0,)), scales=(1.0,)))
        backbone = load_classifier(run / "classifier" / "model.safetensors", LinearHead()).backbone
        torch.manual_seed(1)
        network = AmnNetwork(backbone, 3, dropout=0.1, smoothing=0.4, head_lr=20.0)
        save_tensors(run / "localiser" / "model.safetensors", network.state_dict())
        write_json(run / "localiser" / "stage.json", {"key": "localiser's", "state": "done"})
        kept = run / "localiser" / "statistics.json"
        write_json(kept, {"made_by": "localiser's", **statistics.to_json()})
        before = kept.read_bytes()
        found.append(load_locator(run, EXACT).locate(path, ["cow", "dog"]))
        assert kept.read_bytes() == before
    same(*found)


def test_a_run_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no run\.json"):
        load_locator(tmp_path)
    (write_run(tmp_path / "a", Cam()) / "classifier" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"expected classifier/model\.safetensors, found none"):
        load_locator(tmp_path / "a")
    for seeds in (External(folder="x"), Amn(labels=ConfidentLabels(), base=External(folder="x"))):
        with pytest.raises(InputError, match="got one whose seeds are files of maps"):
            load_locator(write_run(tmp_path / "b", seeds))


def test_a_folder_becomes_seeds(trained: Path, own_folder: Path, tmp_path: Path) -> None:
    (own_folder / "images" / "deep").mkdir()
    (own_folder / "images" / "img_00.png").rename(own_folder / "images" / "deep" / "é %1.png")
    (own_folder / "images" / "img_05.png").write_bytes(b"no image")
    table = tmp_path / "tags.csv"
    table.write_text("image,labels\nimg_01,dog\nimg_02,\n")
    with pytest.raises(InputError, match=r"5 of 6 photographs are done; these cannot be read:\n.*img_05.png"):
        locate_folder(trained, own_folder / "images", tmp_path / "out", table, EXACT)
    assert len(list((tmp_path / "out").rglob("*.npz"))) == 5
    assert load_seeds(tmp_path / "out" / "img_01.npz").classes == (2,)
    assert load_seeds(tmp_path / "out" / "img_02.npz").classes == ()
    path = own_folder / "images" / "deep" / "é %1.png"
    expected = load_locator(trained, EXACT).locate(path)
    same(load_seeds(tmp_path / "out" / f"{file_stem('deep/é %1')}.npz"), expected, stored=True)


def test_shards_become_shards_of_the_same_seeds(trained: Path, own_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    images = sorted((own_folder / "images").iterdir())
    told = json.dumps({"tags": ["cow"]}).encode()
    files = [(path.stem, (("png", path.read_bytes()), ("json", told))) for path in images]
    write_tar(tmp_path / "p.tar", [(f"{stem}.{suffix}", content) for stem, both in files for suffix, content in both])
    out = tmp_path / "out"
    assert locate_shards(trained, f"shards:{tmp_path}/p.tar", out, tags_from="json", precision=EXACT).images == 6
    locator = load_locator(trained, EXACT)
    for entry, path in zip(read_shard(out / "p.tar", lambda _: True), images, strict=True):
        assert entry.key == path.stem
        stored = tmp_path / "one.npz"
        stored.write_bytes(entry.files["npz"])
        same(load_seeds(stored), locator.locate(path, ["cow"]), stored=True)
    assert deft.predict.seeds.locate_shards(
        trained, f"shards:{tmp_path}/p.tar", out, tags_from="json", precision=EXACT
    ) == deft.predict.seeds.Streamed(0, 0, 1)


def test_a_cluster_makes_the_same_seeds(trained: Path, own_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    images, ray = own_folder / "images", OneProcess()
    photos = sorted(images.iterdir())
    write_tar(tmp_path / "p.tar", [(path.name, path.read_bytes()) for path in photos])
    for out, how in (("plain", None), ("ray", ray)):
        assert locate_folder(trained, images, tmp_path / out, precision=EXACT, ray=how) == 6  # type: ignore[arg-type]
        done = locate_shards(
            *(trained, f"shards:{tmp_path}/p.tar", tmp_path / f"{out}-shards"),
            precision=EXACT,
            ray=how,  # type: ignore[arg-type]
        )
        assert (done.images, done.shards) == (6, 1)
    for name in ("img_00.npz", "img_05.npz"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert (tmp_path / "ray-shards" / "p.tar").read_bytes() == (tmp_path / "plain-shards" / "p.tar").read_bytes()
    assert ray.blocks == [[0, 1, 2, 3, 4, 5], [0]]
