"""Each check of `counting` with counts, entropies and networks that are wrong."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from convscope.evaluate.metrics import score
from convscope.verify import counting as topic


def scored(monkeypatch: pytest.MonkeyPatch, **wrong: Any) -> None:
    monkeypatch.setattr(topic, "score", lambda *args: replace(score(*args), **wrong))


def test_a_top5_below_top1_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, correct=1, correct_top5=0)
    finding = topic._top5()
    assert not finding.holds
    assert "1,260 are right at the first guess and not among five" in finding.evidence
    assert not topic._top5_of_few().holds


def test_a_right_top5_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, correct=1, correct_top5=1)
    assert topic._top5().holds


def test_counts_that_depend_on_the_batch_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, correct=1)
    assert not topic._batches().holds


def test_entropies_by_hand() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.25, 0.25]], dtype=torch.float64)
    assert topic._entropy(p).tolist() == pytest.approx([math.log(2), 0, 1.5 * math.log(2)])
    assert len(topic._simplex()) == 13 * 14 / 2
    assert (topic._simplex().sum(1) - 1).abs().max() < 1e-15


def test_a_wrong_entropy_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._entropy
    monkeypatch.setattr(topic, "_entropy", lambda p: -right(p))
    assert not topic._largest_entropy().holds
    assert topic._smallest_entropy().holds
    monkeypatch.setattr(topic, "_entropy", lambda p: right(p) / math.log(2))
    assert not topic._largest_entropy().holds
    assert not topic._cross_entropy().holds


def test_a_loss_in_bits_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    cross_entropy = topic.F.cross_entropy
    monkeypatch.setattr(topic.F, "cross_entropy", lambda *args: cross_entropy(*args) / math.log(2))
    assert not topic._uniform_loss().holds


def test_a_loss_that_sums_over_classes_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic.F, "cross_entropy", lambda logits, _: (logits.exp() * logits).sum())
    assert topic._sum_over_classes().holds


def test_another_logarithm_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        isclose = math.isclose

        @staticmethod
        def log(x: float) -> float:
            return abs(math.log(x))

    monkeypatch.setattr(topic, "math", Wrong)
    assert topic._sign().holds


class Loud(nn.Module):
    """Sure of the first class, and wrong."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(1, classes)
        self.loud = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(x.mean((1, 2, 3))[:, None])
        return logits + 5 * torch.eye(logits.shape[1])[0] if self.loud else 0 * logits


def test_networks_that_are_sure_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "build", lambda name, classes, **_: Loud(classes))
    assert not topic._first_losses().holds
    assert not topic._zero_head().holds


def test_networks_that_are_all_unsure_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def quiet(name: str, classes: int, **_: Any) -> Loud:
        network = Loud(classes)
        network.loud = False
        return network

    monkeypatch.setattr(topic, "build", quiet)
    assert topic._every_first_loss().holds
