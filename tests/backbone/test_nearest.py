"""What was typed, and which of timm's names it may have meant."""

from __future__ import annotations

import pytest
import timm

from deft.backbone.nearest import SHOWN, nearest_names
from deft.backbone.network import FITTING, check_name
from deft.contracts import InputError


def nearest(name: str) -> list[str]:
    return nearest_names(name, timm.list_models(), timm.list_pretrained(), FITTING)


@pytest.mark.parametrize(
    ("typed", "first", "all_hold"),
    [
        ("dinov2", "vit_base_patch14_dinov2", "dinov2"),
        ("DINOv3", "vit_base_patch16_dinov3", "dinov3"),
        ("vit", "vit_small_patch16_224", "vit_"),
        ("clip", "vit_base_patch16_clip_224", "clip"),
        ("siglip", "naflexvit_base_patch16_siglip", "siglip"),
        ("swin", "swin_tiny_patch4_window7_224", "swin_"),
        ("mae", "hiera_base_224.mae", ".mae"),  # a word of tags alone
        ("ViT-B/16", "vit_base_patch16_224", "vit_base_patch16"),
        ("dinov2_vits14", "vit_small_patch14_dinov2", "vit_small_patch14"),
        ("ResNet", "resnet50", "resnet"),
        ("resnet_50", "resnet50", "resnet"),
        ("resnet999", "resnet50", "resnet"),
        ("convnextv3", "convnextv2_base", "convnextv2"),
        ("mobilnetv3_large_100", "mobilenetv3_large_100", "mobilenetv3_large"),
        ("vit_bse_patch16_224", "vit_base_patch16_224", "patch16_"),
    ],
)
def test_the_nearest_names_hold_the_words_that_were_typed(typed: str, first: str, all_hold: str) -> None:
    found = nearest(typed)
    assert found[0] == first and 1 <= len(found) <= SHOWN == len(set(found)) + SHOWN - len(found)
    assert all(all_hold in name and not name.startswith("test_") for name in found), found
    assert all(timm.is_model(name) for name in found)
    with pytest.raises(InputError, match=rf"^unknown backbone '{typed}'; the nearest names are {first}"):
        check_name(typed)


def test_common_sizes_come_first_and_short_names_before_long_ones() -> None:
    known = ["a_huge_x", "a_large_x", "a_tiny_x", "a_x", "a_small_x_384", "a_small_x", "test_a_small"]
    assert nearest_names("A-x", known, [], ()) == ["a_small_x", "a_small_x_384", "a_tiny_x", "a_x", "a_large_x"]
    assert nearest_names("a", known, [], ("a_huge_x",))[:2] == ["a_huge_x", "a_small_x"]


@pytest.mark.parametrize("typed", ["xyzzy", "nonesuch", "", "/"])
def test_a_word_that_is_like_no_name_gives_none(typed: str) -> None:
    assert nearest(typed) == []
    with pytest.raises(InputError, match=r"expected one of timm's \d+ names; timm\.list_models\(\) lists all$"):
        check_name(typed)


def test_the_tags_of_a_known_network_are_listed() -> None:
    check_name("resnet50.a1_in1k")
    with pytest.raises(
        InputError, match=r"'resnet50' has no pretrained weights 'nope'; its .* are a1_in1k, .*, tv_in1k;"
    ):
        check_name("resnet50.nope")
    bare = next(name for name in timm.list_models() if not timm.list_pretrained(f"{name}.*"))
    with pytest.raises(
        InputError, match=rf"'{bare}' has no pretrained weights 'x'; it has none at all; give '{bare}' alone"
    ):
        check_name(f"{bare}.x")
