"""Every example runs to its end on tiny data."""

from __future__ import annotations

import ast
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft.artifacts import load_mask
from deft.artifacts.corrected import read_corrected
from deft.cli.main import main
from deft.contracts import InputError
from deft.data import open_data

EXAMPLES = Path(__file__).parents[1] / "examples"
ARRAYS = "arrays.py"
STAGES = {"classifier": 4, "refine": 2, "segment": 2}
"""Stages that train, and for how many steps here."""
EAGER = [
    "refine.labels.fg=0.02",
    "refine.labels.bg=0.01",
    "refine.labels.crf.iterations=0",
    "classifier.head.swap_epoch=1",
]
"""So few steps find little; thresholds near 0 leave IRN something to learn from; and the one epoch swaps."""


def tiny(*stages: str) -> list[str]:
    """Settings that make these stages short."""
    plans = [
        f"{stage}.plan.{item}"
        for stage in stages
        for item in (f"min_steps={STAGES[stage]}", "epochs=1", "batch=4", "workers=0")
    ]
    return [*plans, *(["segment.channels=16"] if "segment" in stages else []), "seeds.scales=[1.0]"]


def ran(name: str) -> dict[str, Any]:
    """What the example's file defines."""
    return runpy.run_path(str(EXAMPLES / name))


def test_every_example_is_tested_and_short() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    for path in sorted(EXAMPLES.glob("*.py")):
        assert f'"{path.name}"' in here, path.name
        assert len(path.read_text(encoding="utf-8").splitlines()) < 80, path.name


def test_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [*tiny("classifier", "refine", "segment"), "backbone=test_resnet", "weights=none"]
    data = "demo:train=8,val=2,size=64"
    ran("quickstart.py")["main"](["--data", data, "--out", str(tmp_path / "run"), *settings, *EAGER])
    said = capsys.readouterr().out
    assert "it knows " in said
    assert "val_0000 shows " in said
    assert (tmp_path / "run" / "report.html").exists()


def test_the_notebook_runs_cell_by_cell_and_is_stored_without_results(tmp_path: Path) -> None:
    notebook = json.loads((EXAMPLES / "tutorial.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    settings = [*tiny("classifier", "refine", "segment"), "backbone=test_resnet", "weights=none", *EAGER]
    here = {"data": "demo:train=8,val=2,size=64", "out": str(tmp_path / "run"), "settings": settings}
    results: list[Any] = []
    names: dict[str, Any] = {}
    for cell in cells:
        body = ast.parse("".join(cell["source"])).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        if last is not None:  # what a notebook shows
            results.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
        if "parameters" in cell["metadata"].get("tags", ()):
            assert here.keys() <= names.keys()
            names.update(here)
    train, val, scores, corrected = [result for result in results if result is not None]
    assert "pseudo-mask" in train.pictures and list(val.pictures)[1:] == ["prediction"]
    assert "reviewed mask" in corrected.pictures
    assert read_corrected(tmp_path / "run").taught or read_corrected(tmp_path / "run").held_out
    assert val._repr_html_().count("<img ") == 2
    assert set(scores) == set(names["found"].found)


def test_own_photos(make_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = make_folder(tmp_path / "photos", count=6, side=64)
    own = ran("own_photos.py")["main"]
    words = [str(photos), "--out", str(tmp_path / "run"), "--backbone", "test_resnet", "--weights", "none"]
    assert own([*words, "--new", str(photos / "images"), *tiny("classifier", "refine", "segment"), *EAGER]) == 0
    assert "6 new photographs segmented" in capsys.readouterr().out
    assert len(list((tmp_path / "run" / "masks").glob("*.png"))) == 4
    new = sorted((tmp_path / "run-new" / "masks").glob("*.png"))
    assert len(new) == 6
    assert load_mask(new[0]).shape == (64, 64)

    (photos / "images" / "img_00.png").write_bytes(b"no image")
    assert own(words) == 2
    assert "img_00.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["guided_filter.py", "layer_cam.py", "lion.py", "patch_shuffle.py", "smooth_max_head.py"]
)
def test_methods_of_ones_own_run_from_their_file(name: str, folder_data: Path, tmp_path: Path) -> None:
    own = {
        "guided_filter.py": ["refine.radius=2"],
        "layer_cam.py": ["seeds.long_side=48", "refine=none"],
        "lion.py": ["classifier.plan.optimiser.lr=1e-3", "refine=none"],
        "patch_shuffle.py": ["classifier.augment.side=4", "refine=none"],
        # In so few steps it learns nothing: its maps are 0 everywhere, so that no threshold can be chosen from them.
        "smooth_max_head.py": ["classifier.head.sharpness=3", "refine=none", "seed_threshold=0.3"],
    }[name]
    words = ["run", str(EXAMPLES / name), "--data", f"folder:{folder_data}", "--out", str(tmp_path / "run")]
    words += ["--backbone", "test_resnet", "--weights", "none"]
    for item in [*tiny("classifier"), "segment=none", *own]:
        if name != "layer_cam.py" or not item.startswith("seeds.scales"):
            words += ["--set", item]
    assert main(words) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["recipe"].startswith(name.removesuffix(".py") + " (")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    assert 0 < scores["train"]["masks"]["used"]["miou"] <= 1
    fixed = name in ("guided_filter.py", "smooth_max_head.py")
    assert scores["train"]["masks"]["used"]["chosen"] == ("fixed" if fixed else "auto")


def test_arrays_are_a_data_set_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = open_data("demo:train=8,val=2,size=64").train
    samples = [demo[index] for index in range(8)]
    path = tmp_path / "birds.npz"
    content = {"images": np.stack([sample.image for sample in samples]), "labels": demo.labels}
    np.savez(path, **content, classes=np.array(demo.classes), masks=np.stack([sample.mask for sample in samples]))
    data = f"{EXAMPLES / ARRAYS}:arrays?path={path},held_out=0.25"
    opened = open_data(data)
    assert opened.val is not None
    assert (len(opened.train), opened.val.names) == (6, ("birds_00006", "birds_00007"))
    assert (opened.val[1].image == samples[7].image).all() and (opened.val[1].mask == samples[7].mask).all()
    assert main(["check", data]) == 0
    words = ["run", "cam", "--data", data, "--out", str(tmp_path / "run"), "--backbone", "test_resnet"]
    for item in [*tiny("classifier"), "weights=none", "segment=none"]:
        words += ["--set", item]
    assert main(words) == 0
    assert (tmp_path / "run" / "masks" / "birds_00000.png").exists()
    np.savez(path, **content)
    assert main(["check", data]) == 2
    assert "found no classes" in capsys.readouterr().err


def test_layer_cam_of_a_linear_head_is_the_positive_part_of_class_activation_maps() -> None:
    import torch

    from deft.classify.linear import LinearHead

    own = ran("layer_cam.py")["LayerCam"]()
    head = LinearHead().build(4, 3)
    features = torch.rand(1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    weights = head.classifier.weight.detach().reshape(3, 4).clamp(min=0)
    expected = torch.einsum("kc,chw->khw", weights[[0, 2]], features[0])
    expected = expected / expected.amax(dim=(1, 2), keepdim=True)
    assert torch.allclose(own.maps(features, head, (0, 2)), expected, atol=1e-5)


def test_lion_takes_the_papers_step_and_scales_rates_by_group() -> None:
    import torch

    from deft.engine.optimise import ParamGroup, built

    settings = ran("lion.py")["Lion"](lr=0.1, decay=0.5, warmup=0.1)
    weight, fast = torch.nn.Parameter(torch.tensor([1.0, -2.0])), torch.nn.Parameter(torch.tensor([3.0]))
    optimiser = built(settings, [ParamGroup([weight]), ParamGroup([fast], lr=10.0, decay=False)])
    assert [group["scale"] for group in optimiser.param_groups] == pytest.approx([1.0, 10.0])
    slow, mean = weight.detach().clone(), torch.zeros(2)
    for gradient in ([0.5, -1.0], [-3.0, 0.1], [0.2, 0.2]):
        weight.grad, fast.grad = torch.tensor(gradient), torch.tensor([1.0])
        optimiser.step()
        g = torch.tensor(gradient)
        slow = slow - 0.1 * ((0.9 * mean + 0.1 * g).sign() + 0.5 * slow)
        mean = 0.99 * mean + 0.01 * g
    assert torch.allclose(weight, slow, atol=1e-6)
    assert fast.item() == pytest.approx(0.0, abs=1e-6)  # three steps of 10 * 0.1 in one direction, without decay
    assert [settings.factor(step, 20) for step in (0, 1)] == [0.5, 1.0]
    assert settings.factor(19, 20) < 0.05


def test_the_guided_filter_keeps_what_the_photograph_has() -> None:
    """A map that is a step where the photograph has one stays; with no edge in the photograph it is blurred."""
    import torch

    own = ran("guided_filter.py")["GuidedFilter"](radius=2)
    step = torch.zeros(1, 1, 9, 12)
    step[..., 6:] = 1
    assert (own.filter(step, step) - step).abs().max() < 0.02
    flat = own.filter(torch.full_like(step, 0.5), step)[0, 0, 4]
    assert 0.05 < flat[5] < 0.95
    assert (flat[1:] >= flat[:-1] - 1e-6).all()


def test_smooth_maximum_lies_between_mean_and_maximum() -> None:
    import torch

    found = ran("smooth_max_head.py")
    features = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    head = found["SmoothMaxHead"](sharpness=2.0).build(3, 4)
    cells = head.classifier(features).flatten(2)
    scores = head.logits(features)
    assert (scores > cells.mean(2)).all()
    assert (scores < cells.amax(2)).all()
    slow = torch.log(torch.exp(2 * cells).mean(2)) / 2
    assert torch.allclose(scores, slow, atol=1e-5)


def test_patch_shuffle_keeps_each_patchs_pixels_and_whole_colours() -> None:
    import torch

    shuffle = ran("patch_shuffle.py")["PatchShuffle"]
    x, labels = torch.randn(3, 3, 10, 14, generator=torch.Generator().manual_seed(0)), torch.eye(3)
    new, same = shuffle(side=4, share=1.0)(x, labels, torch.Generator().manual_seed(1))
    assert torch.equal(same, labels)
    assert torch.equal(new[..., 8:, :], x[..., 8:, :])
    assert torch.equal(new[..., :, 12:], x[..., :, 12:])
    for n in range(3):
        for top in (0, 4):
            for left in (0, 4, 8):
                before = x[n, :, top : top + 4, left : left + 4].flatten(1).T.tolist()
                after = new[n, :, top : top + 4, left : left + 4].flatten(1).T.tolist()
                assert after != before
                assert sorted(after) == sorted(before)
    some = shuffle(side=2, share=0.5)(x.repeat(10, 1, 1, 1), labels, torch.Generator().manual_seed(1))[0]
    kept = (some == x.repeat(10, 1, 1, 1)).flatten(1).all(1)
    assert 5 < int(kept.sum()) < 25
    with pytest.raises(InputError, match="PatchShuffle expects"):
        shuffle(side=0)
