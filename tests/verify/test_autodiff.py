"""The check of differentiation fails where a slope or an order is wrong; costs worked by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.verify import autodiff


def test_a_wrong_slope_in_the_graph_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the 2 of the root's derivative, as the lecture's middle line has it."""
    monkeypatch.setitem(autodiff.GRAPH, 5, replace(autodiff.GRAPH[5], slopes=(lambda b: b**-0.5,)))
    right, _ = autodiff._lecture_graph()
    pseudocode, _ = autodiff._pseudocode()
    assert not right.holds and not pseudocode.holds and not autodiff._slope_in_y().holds


def test_the_printed_result_would_be_found_right_of_another_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose root has a third of its slope."""
    monkeypatch.setitem(autodiff.GRAPH, 5, replace(autodiff.GRAPH[5], slopes=(lambda b: b**-0.5 / 6,)))
    _, printed = autodiff._lecture_graph()
    assert printed.holds and not printed.as_expected


def test_slopes_of_the_graph_by_hand() -> None:
    # At x = e and y = 4: b = 4, f = 6; df/dx = 4/e (1 + 1/4), df/dy = 1 + 1/4.
    e = 2.718281828459045
    assert autodiff.evaluate(e, 4.0) == pytest.approx({1: e, 2: 4, 3: 1, 4: 4, 5: 2, 6: 6})
    for way in (autodiff.forward_mode, autodiff.reverse_mode, autodiff.torch_gradient, autodiff.closed_form):
        assert way(e, 4.0) == pytest.approx((5 / e, 1.25), rel=1e-12)


def test_costs_by_hand() -> None:
    # 1x2 times 2x3 times 3x4: from the left 1*2*3 + 1*3*4 = 18, from the right 2*3*4 + 1*2*4 = 32.
    assert autodiff.cost((4, 3, 2, 1), reverse=True) == 18
    assert autodiff.cost((4, 3, 2, 1), reverse=False) == 32
    assert autodiff.cheapest((4, 3, 2, 1)) == 18
    # The textbook example: 30x35, 35x15, 15x5, 5x10, 10x20, 20x25 need 15,125.
    assert autodiff.cheapest((30, 35, 15, 5, 10, 20, 25)) == 15_125
    assert autodiff.cheapest((25, 20, 10, 5, 15, 35, 30)) == 15_125


def test_exchanged_orders_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = autodiff.cost
    monkeypatch.setattr(autodiff, "cost", lambda sizes, reverse: right(sizes, not reverse))
    assert not autodiff._reverse_when_narrowing().holds


def test_operations_of_a_linear_layer_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 images, 3,072 inputs, 10 outputs: 2 x 2 x 3,072 x 10 forward and as many for the weight's gradient."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    monkeypatch.setattr(autodiff, "build", lambda *_, **__: linear)
    assert autodiff.operations("any") == (122_880, 2 * 122_880)


def test_a_gradient_that_costs_six_passes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autodiff, "operations", lambda name: (100, 600))
    found = autodiff._cost_of_gradient()
    assert not found.holds
    assert "simplenn 6.00" in found.evidence


def test_gradients_that_torch_cleared_itself_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    backward = torch.Tensor.backward

    def clearing(self: torch.Tensor) -> None:
        for parameter in network.parameters():
            parameter.grad = None
        backward(self)

    network = autodiff._layer()
    monkeypatch.setattr(autodiff, "_layer", lambda: network)
    assert autodiff._gradients_add_up().holds
    monkeypatch.setattr(torch.Tensor, "backward", clearing)
    assert not autodiff._gradients_add_up().holds
