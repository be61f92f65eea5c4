from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import deft
from deft.artifacts import read_json
from deft.contracts import InputError, LayerAugmentation
from deft.engine.optimise import Adam, AdamW, Sgd
from deft.recipes import RECIPES, irn, irn_deft, ood, psa
from deft.runner.preset import MODERN, fitted
from deft.runner.recorded import reopen
from deft.runner.run import resolved
from deft.settings import assign, plain
from short import tiny


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_nothing_changes_for_the_networks_of_the_papers(name: str) -> None:
    for backbone in ("resnet50", "efficientnetv2_rw_s"):
        pipeline = replace(RECIPES[name](), backbone=backbone)
        assert fitted(pipeline) == (pipeline, [])


@pytest.mark.parametrize(
    "backbone", ["convnext_tiny", "swin_tiny_patch4_window7_224", "vit_base_patch16_dinov3", "efficientnetv2_rw_s"]
)
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_fits_or_is_refused_with_the_nearest(name: str, backbone: str) -> None:
    pipeline = replace(RECIPES[name](), backbone=backbone)
    changes = pipeline.classifier is not None and isinstance(pipeline.classifier.augment, LayerAugmentation)
    if changes and backbone.startswith(("swin", "vit")):
        with pytest.raises(InputError, match=f"features of {backbone} cannot be changed .* mixup and cutmix"):
            fitted(pipeline)
        return
    found, told = fitted(pipeline)
    assert fitted(found) == (found, [])
    if pipeline.frozen is not None:
        assert (found, told) == (pipeline, [])
        return
    modern = backbone != "efficientnetv2_rw_s"
    if found.classifier is not None:
        assert found.classifier.freeze is not modern
        assert isinstance(found.classifier.plan.optimiser, AdamW) or not modern
    stride = 32 if backbone.startswith("swin") else 16 if backbone.startswith("vit") else pipeline.stride
    assert found.stride == stride and (found.segment is None or found.segment.stride == stride)
    changed = f"stride: {stride} instead of {pipeline.stride}, which this network cannot have"
    assert (changed in told) == (stride != pipeline.stride)


def test_what_trains_the_backbone_has_the_optimiser_and_nothing_else() -> None:
    found, told = fitted(replace(psa(), backbone="test_vit"))
    assert (found.refine.plan.optimiser, found.refine.stride) == (MODERN, 16)  # type: ignore[union-attr]
    assert told[0] == "refine.stride: 16 instead of 8, which this network cannot have" and len(told) == 4
    found, _ = fitted(replace(ood(), backbone="test_vit"))
    assert found.seeds.plan.optimiser == MODERN  # type: ignore[attr-defined]
    assert isinstance(found.refine.plan.optimiser, Sgd)  # type: ignore[union-attr]  # IRN's backbone is frozen
    own = assign(replace(irn(), backbone="test_vit"), ["classifier.plan.optimiser=Adam", "classifier.freeze=false"])
    assert fitted(own) == (own, []) and isinstance(own.own_classifier.plan.optimiser, Adam)


def test_presets_can_be_named() -> None:
    paper = assign(replace(irn(), backbone="test_convnext"), ["preset=paper"])
    assert fitted(paper) == (paper, [])
    with pytest.raises(InputError, match=r"no feature maps of stride 8 \(refine\.stride\), but of 16; give --set ref"):
        fitted(assign(replace(psa(), backbone="test_vit"), ["preset=paper"]))
    modern, _ = fitted(assign(irn(), ["preset=modern"]))
    assert modern.own_classifier.plan.optimiser == MODERN


def test_the_default_is_not_recorded_so_that_earlier_runs_stay() -> None:
    assert "preset" not in plain(irn())
    assert "layer_decay" not in plain(AdamW())
    assert plain(MODERN)["layer_decay"] == MODERN.layer_decay


def test_a_transformer_runs_by_one_word_and_its_settings_are_recorded(
    folder_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = tiny(irn_deft(), "backbone=test_vit", "segment=none", "refine=none", steps=2)
    deft.run(pipeline, f"folder:{folder_data}", tmp_path / "run")
    said = capsys.readouterr().err
    assert "for test_vit: classifier.plan.optimiser: AdamW (lr 0.0001, layer_decay 0.8) instead of Sgd" in said
    assert "for test_vit: classifier.freeze: False" in said
    recorded = read_json(tmp_path / "run" / "run.json")["settings"]["classifier"]
    assert recorded["freeze"] is False and recorded["plan"]["optimiser"]["layer_decay"] == 0.8
    again = reopen(tmp_path / "run")
    try:
        assert again.pipeline == resolved(pipeline)
    finally:
        again.out.close()


@pytest.mark.parametrize(
    ("recipe", "change", "message"),
    [
        ("irn", "backbone=mixer_b16_224", "does not accept images of any size"),
        ("manifold_mixup", "backbone=test_vit", "cannot be changed in its forward pass"),
        ("clip_text", "seeds.model=nowhere", "nowhere"),
        ("irn", "backbone=nonesuch", "unknown backbone"),
    ],
)
def test_what_cannot_serve_is_told_before_weights_are_asked_for(
    recipe: str, change: str, message: str, folder_data: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()  # holds none
    pipeline = assign(tiny(RECIPES[recipe]()), [change, f"weights={weights}"])
    with pytest.raises(InputError, match=message):
        deft.run(pipeline, f"folder:{folder_data}", tmp_path / "run")
    assert not (tmp_path / "run").exists()
