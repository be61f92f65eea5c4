"""One network of each family of timm: one step of a classifier on it, and one class map, or a refusal."""

from __future__ import annotations

import pytest
import torch

from deft.backbone import build_backbone
from deft.backbone.network import created
from deft.classify.classifier import Classifier, ClassifierNetwork
from deft.classify.linear import LinearHead
from deft.contracts import InputError
from deft.engine.optimise import Sgd, built
from fakes import rng

FAMILIES = {
    "byobnet": "mobileone_s0",
    "convmixer": "convmixer_1024_20_ks9_p14",
    "convnext": "convnext_atto",
    "cpubone": "cpubone_nano",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46_c",
    "dpn": "dpn68",
    "edgenext": "edgenext_small",
    "efficientnet": "mnasnet_small",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "eva02_tiny_patch14_224",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_lrf",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_a",
    "hgnet": "hgnetv2_b0",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "lcnetv2": "lcnetv2_small",
    "lowformer": "lowformer_b0",
    "mambaout": "mambaout_femto",
    "metaformer": "caformer_s18",
    "mobilenetv3": "lcnet_035",
    "mobilevit": "mobilevit_xxs",
    "nextvit": "nextvit_small",
    "nfnet": "nf_regnet_b0",
    "pvt_v2": "pvt_v2_b0",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m0_9",
    "res2net": "res2net50_14w_8s",
    "resnest": "resnest14d",
    "resnet": "resnet10t",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet101",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_s3_tiny_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tresnet": "tresnet_l",
    "twins": "twins_svt_base",
    "vgg": "vgg11",
    "vision_transformer": "vit_tiny_patch16_224",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_sam": "samvit_base_patch16",
    "vitamin": "vitamin_small_224",
    "vovnet": "ese_vovnet19b_slim",
    "xception": "legacy_xception",
    "xception_aligned": "xception41",
    "xcit": "xcit_nano_12_p8_224",
}
"""A small network of each module of timm."""
FIXED = {
    "beit": "beit_base_patch16_384",
    "byoanet": "halonet26t",
    "cait": "cait_xxs24_224",
    "coat": "coat_mini",
    "convit": "convit_tiny",
    "crossvit": "crossvit_tiny_240",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "gcvit": "gcvit_xxtiny",
    "hiera": "hiera_tiny_224",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "levit": "levit_384_s8",
    "maxxvit": "maxvit_pico_rw_256",
    "mlp_mixer": "gmlp_ti16_224",
    "mvitv2": "mvitv2_tiny",
    "nest": "nest_tiny",
    "pit": "pit_xs_224",
    "tnt": "tnt_s_patch16_224",
    "visformer": "visformer_tiny",
    "vision_transformer_relpos": "vit_relpos_small_patch16_224",
    "volo": "volo_d1_384",
}
"""Refused: they accept one size of images only, nothing larger, multiples of a window, or nothing as small as two
cells."""
TOO_LARGE = frozenset({"deepseek_vit", "gemma4_vit", "mobilenetv5", "naflexvit", "nasnet", "pnasnet", "qwen3_vit"})
"""Families whose smallest network is too large for a test; a step and their feature maps were tried once."""


def network_of(name: str) -> ClassifierNetwork:
    """A classifier of two classes, at the stride nearest to 32 that the network has."""
    with torch.device("meta"):
        stride = created(name, 32, None, {}).reductions[-1]
    torch.manual_seed(0)
    return Classifier(head=LinearHead()).build(build_backbone(name, "none", stride), 2)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_and_makes_maps(family: str) -> None:
    network = network_of(FAMILIES[family]).train()
    images = torch.randint(0, 256, (2, 3, 96, 80), dtype=torch.uint8, generator=rng())
    before = [parameter.detach().clone() for parameter in network.head.parameters()]
    optimiser = built(Sgd(lr=0.01), network.groups())
    terms = network.terms({"image": images, "labels": torch.eye(2)}, 1, rng())
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()
    assert not all(torch.equal(old, new) for old, new in zip(before, network.head.parameters(), strict=True))
    assert any(parameter.grad is not None for parameter in network.backbone.parameters())
    with torch.no_grad():
        features = network.eval().backbone(images)
        found = network.head.activation(features[-1])
        wide = network.backbone(torch.zeros(1, 3, 90, 410))[-1]
    assert tuple(each.shape[1] for each in features) == network.backbone.channels
    assert found.shape[-2:] == features[-1].shape[-2:] and bool(found.isfinite().all())
    stride = network.backbone.reductions[-1]
    assert abs(wide.shape[-1] - 410 / stride) <= 1.5 and abs(wide.shape[-2] - 90 / stride) <= 1.5


@pytest.mark.slow
@pytest.mark.parametrize("family", FIXED)
def test_a_family_is_refused_with_a_network_that_fits(family: str) -> None:
    with pytest.raises(InputError, match=r"does not accept images of any size .*; choose another one, such as \w+"):
        network_of(FIXED[family])


@pytest.mark.slow
def test_every_family_is_here() -> None:
    import timm

    named = {*FAMILIES, *FIXED, *TOO_LARGE}
    modules = {timm.model_entrypoint(name).__module__.rpartition(".")[2] for name in timm.list_models()}
    assert modules - named == set() or timm.__version__ != "1.0.31"  # other versions have other families
