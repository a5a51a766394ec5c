"""Each check of `parameters` with networks of another size, and small counts by hand."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

from convscope.models.blocks import Parts
from convscope.verify import parameters as topic


def test_counts_by_hand() -> None:
    """4 channels to 6, 10x10: 9 * 4 * 6 weights at 100 places; 9 * 4 and 4 * 6."""
    assert topic._both(4, 6, 10) == [(216, 21_600), (60, 6_000)]
    assert topic._saved(6) == Fraction(9 * 6, 6 + 9) == Fraction(18, 5)


class Fork(nn.Module):
    """Two layers one after the other, beside one, and one for both."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(2, 2) for _ in range(4))
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.d(self.b(self.norm(self.a(x))) + self.c(x))
        return result


def test_the_longest_way_by_hand() -> None:
    assert topic._depth(Fork()) == 3


def test_one_parameter_more_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    stated, makes = {"small": 6}, {"small": lambda: nn.Linear(2, 2)}
    assert topic._compared("Six.", "S0.0", stated, makes).holds
    makes["small"] = lambda: nn.Sequential(nn.Linear(2, 2), nn.PReLU())
    finding = topic._compared("Six.", "S0.0", stated, makes)
    assert not finding.holds
    assert finding.evidence == "Built, they have: small 7."


@pytest.mark.parametrize(
    "check",
    [topic._simplenn_total, topic._small_resnets, topic._vgg, topic._lectures, topic._hidden_units],
)
def test_networks_with_a_layer_more_are_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._count
    monkeypatch.setattr(topic, "_count", lambda network: right(network) + 2)
    assert not check().holds


def other(monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """All networks are built with these options as well."""
    right = topic._bare
    monkeypatch.setattr(topic, "_bare", lambda make, *shape, **given: right(make, *shape, **given | options))


def test_other_layers_of_simplenn_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    other(monkeypatch, parts=Parts(norm="batch"))
    assert not topic._simplenn_layers().holds


def test_other_splits_are_seen() -> None:
    split = topic._split("AlexNet", topic.alexnet.alexnet, (2_469_696, 58_631_144), "S3.34")
    assert "2,469,696 (4%) and 58,631,144 (96%)" in split.evidence
    assert not topic._split("AlexNet", topic.alexnet.alexnet, (2_469_697, 58_631_143), "S3.34").holds


def test_errata_that_were_none_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "_count", lambda network: 61_100_840)
    assert topic._towers().holds
    monkeypatch.setattr(topic, "_count", lambda network: 25_557_032)
    assert topic._second_stage().holds
    monkeypatch.setattr(topic, "_macs", lambda depth: 41_000_000_000)
    assert topic._garbled().holds


def test_modules_of_another_width_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert topic._modules().holds
    monkeypatch.setattr(topic, "_count", lambda network: 6_624_904)  # torchvision's variant
    assert not topic._modules().holds


def test_a_module_of_480_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    other(monkeypatch, form=topic.googlenet.SmallForm(module_3b="paper"))
    assert topic._third_module().holds


def test_multiply_adds_by_the_other_version_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1.5 has 7 % more in ResNet-50."""
    monkeypatch.setattr(topic, "_macs", lambda depth: topic.PRINTED[depth] * (1.07 if depth == 50 else 1))
    assert not topic._multiply_adds().holds


def test_another_depth_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "RESNETS", {20: topic.RESNETS[18]})
    assert not topic._depths().holds


@pytest.mark.parametrize("check", [topic._separable, topic._ratio])
def test_a_separable_convolution_that_is_none_is_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic.make_conv
    monkeypatch.setattr(topic, "make_conv", lambda parts, *args, **options: right(Parts(), *args, **options))
    assert not check().holds


def test_a_factor_of_nine_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "_saved", lambda n: Fraction(9))
    assert topic._nine().holds
    rows = iter([9, 1, 9, 1])

    class Summary:
        @property
        def rows(self) -> Any:
            return [topic_row(next(rows))]

    def topic_row(macs: int) -> Any:
        return type("Row", (), {"macs": macs, "group": "convolutions", "name": "conv"})

    monkeypatch.setattr(topic, "summarise", lambda *_: Summary())
    assert topic._nine_in_networks().holds
