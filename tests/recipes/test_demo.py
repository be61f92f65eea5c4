from __future__ import annotations

from dataclasses import replace

from deft.classify.deft import DeftHead
from deft.classify.linear import LinearHead
from deft.engine.optimise import AdamW
from deft.recipes import demo, demo_cam
from deft.refine.irn import Irn
from deft.segment.deeplab import DeepLab


def test_both_begin_from_nothing_and_train_alike() -> None:
    for pipeline in (demo_cam(), demo()):
        assert (pipeline.backbone, pipeline.weights, pipeline.stride) == ("test_resnet", "none", 8)
        plan = pipeline.own_classifier.plan
        assert (plan.min_steps, plan.batch, plan.optimiser) == (1200, 16, AdamW(lr=4e-3))
        assert pipeline.seeds.scales == (0.5, 1.0, 1.5)
    same = replace(demo().own_classifier, head=demo_cam().own_classifier.head)
    assert same == demo_cam().own_classifier


def test_the_plain_one_stops_at_its_seeds() -> None:
    assert demo_cam().own_classifier.head == LinearHead(learning_rate=1.0)
    assert demo_cam().refine is None and demo_cam().segment is None


def test_the_other_is_deft_refined_and_segmented_from_its_classifier() -> None:
    head, segment = demo().own_classifier.head, demo().segment
    assert isinstance(head, DeftHead) and isinstance(segment, DeepLab)
    assert (head.classifier_rate, head.swap_rate) == (1.0, 1.0)  # nothing was trained beforehand
    assert demo().refine == Irn()
    assert (segment.from_classifier, segment.stride, segment.plan.min_steps) == (True, 8, 120)
    base = replace(demo(), classifier=demo_cam().classifier, refine=None, segment=None)
    assert base == demo_cam()


def test_all_of_deft_is_swapping_before_the_training_ends() -> None:
    classifier = demo().own_classifier
    assert isinstance(classifier.head, DeftHead)
    assert classifier.head.swap_epoch < classifier.plan.epochs == 10
