from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import deft
from deft.classify.deft import DeftHead
from deft.contracts import InputError
from deft.recipes import amn, irn, ood, ood_deft, published, recam
from deft.refine.irn import Irn
from deft.seeds.advcam import AdvCam
from deft.seeds.amn import Amn
from deft.seeds.cam import Cam
from deft.seeds.ood import Ood
from deft.seeds.recam import ReCam
from deft.settings import assign
from short import tiny


def test_w_oods_numbers() -> None:
    """The published settings, line by line."""
    pipeline = published(ood())
    seeds, refine = pipeline.seeds, pipeline.refine
    assert isinstance(seeds, Ood) and isinstance(refine, Irn)
    assert pipeline.classifier == irn().classifier
    assert seeds.base == AdvCam()
    assert (seeds.plan.epochs, seeds.plan.batch, seeds.plan.optimiser.lr) == (5, 16, 0.1)
    assert (seeds.negative_weight, seeds.climb, seeds.distance_weight) == (0.25, 0.07, 0.007)
    assert (seeds.clusters, seeds.nearest, seeds.freeze_stride) == (50, 0.2, 8)
    assert (refine.labels.fg, refine.labels.bg, refine.power, refine.background) == (0.30, 0.15, 1.5, 0.22)
    assert ood() == dataclasses.replace(pipeline, seed_threshold="auto", refine=Irn(power=1.5))


def test_deft_changes_the_classifier_and_the_score_that_is_climbed() -> None:
    assert isinstance(ood_deft().own_classifier.head, DeftHead)
    same = dataclasses.replace(ood_deft(), classifier=ood().classifier, seeds=Ood(base=AdvCam()))
    assert same == ood()


@pytest.mark.parametrize("make", [ood, ood_deft, recam, amn])
def test_the_method_that_reads_the_maps_is_chosen_by_name(make: Callable[[], deft.Pipeline]) -> None:
    for kind in (AdvCam, Cam):
        seeds = assign(make(), [f"seeds.base={kind.__name__}", "seeds.base.scales=(1.0, 3.0)"]).seeds
        assert isinstance(seeds, Ood | ReCam | Amn) and seeds.base == kind(scales=(1.0, 3.0))
    with pytest.raises(InputError, match=r"or replace the whole group by (Adv)?Cam$"):
        assign(make(), ["seeds.base=Rib"])


def test_a_folder_of_tagged_images_is_refused_before_any_work(folder_data: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(folder_data / "images" / "img_00.png", outside / "rails.png")  # tagged cat
    with pytest.raises(InputError, match=r"rails in .* is the image img_00 of the data, tagged cat"):
        deft.run(tiny(ood(), f"seeds.folder={outside}"), f"folder:{folder_data}", tmp_path / "run")
    assert not (tmp_path / "run").exists()
