"""What every head can leave as it is, and which are refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deft.contracts import InputError
from deft.engine.head import HeadModule, checked, normalise


class Least(HeadModule):
    """A head with what has to be there and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(3, 2, 1)

    def logits(self, features: Tensor) -> Tensor:
        return self.classifier(features).mean((2, 3))

    def activation(self, features: Tensor) -> Tensor:
        return self.classifier(features).relu()[:, None]


class NoMaps(HeadModule):
    def logits(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


def batch() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 5, 6, generator=rng), (torch.rand(4, 2, generator=rng) > 0.5).float()


def test_the_loss_is_soft_margin_of_the_last_map() -> None:
    head, (features, labels), rng = Least(), batch(), torch.Generator()
    probability = head.logits(features).sigmoid()
    expected = -(labels * probability.log() + (1 - labels) * (1 - probability).log()).mean()
    assert not head.all_maps
    for terms in (
        head.loss(features, labels, 1, rng),
        head.loss_of_maps([torch.zeros(4, 9, 2, 2), features], labels, 1, rng),
    ):
        assert terms.keys() == {"classify"}
        torch.testing.assert_close(terms["classify"], expected)


def test_maps_are_divided_by_their_maximum() -> None:
    torch.manual_seed(0)
    head, (features, _) = Least(), batch()
    activation = head.activation(features)[1]
    maps = head.combine(activation)
    assert maps.shape == (2, 5, 6)
    for k in range(2):
        torch.testing.assert_close(maps[k], activation[0, k] / activation[0, k].max(), atol=1e-4, rtol=0)


def test_all_weights_are_trained_at_ten_times_the_base_rate() -> None:
    head = Least()
    assert [(len(parameters), rate) for parameters, rate in head.groups()] == [(2, 10.0)]


def test_an_empty_map_stays_empty() -> None:
    assert float(normalise(torch.zeros(2, 3, 3)).abs().max()) == 0


@pytest.mark.parametrize(
    ("built", "says"),
    [
        (nn.Conv2d(3, 2, 1), "got Conv2d; derive Conv2d from HeadModule"),
        (None, "got NoneType"),
        (NoMaps(), "NoMaps to define .* it lacks activation$"),
        (HeadModule(), "lacks logits and activation"),
    ],
)
def test_what_is_no_whole_head_is_refused(built: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        checked(built)


def test_a_whole_head_is_itself() -> None:
    head = Least()
    assert checked(head) is head
