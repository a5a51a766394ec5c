"""Internal covariate shift against a network of its own, by laws, and for a network where it is known."""

import numpy as np
import pytest
import torch
from small import Residual, drawn, linear, noise, subject_on
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.diagnostics.shift import covariate_shift
from convscope.evaluate.subject import Moment, Subject

LR = 0.5


def residual() -> Subject:
    return subject_on(drawn(Residual(in_place=True)), noise(16), std=(0.3,), mean=(0.5,))


def gradients(subject: Subject, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the training loss, from a network of its own that works in place nowhere."""
    images = subject.images("train")
    net = Residual(in_place=False).train()
    net.load_state_dict({**subject.model.state_dict(), **parameters})
    loss = F.cross_entropy(net(subject.inputs(images)), images.labels)
    named = dict(net.named_parameters())
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def test_definition_2_1_another_way() -> None:
    subject = residual()
    start = {name: p.detach().clone() for name, p in subject.model.named_parameters()}
    first = gradients(subject, start)
    found = covariate_shift(subject=subject, lr=LR, layers=0)
    assert found.layers == ("conv2", "fc")
    before = {"conv2": ("conv1", "bn1"), "fc": ("conv1", "bn1", "conv2", "bn2")}
    for i, layer in enumerate(found.layers):
        moved = {
            name: p - LR * first[name] if name.split(".")[0] in before[layer] else p
            for name, p in start.items()
        }
        later = gradients(subject, moved)
        g, h = (
            torch.cat([each[f"{layer}.{part}"].flatten() for part in ("weight", "bias")])
            for each in (first, later)
        )
        assert found.gradient[i] == pytest.approx(g.norm().item(), rel=1e-4)
        assert found.difference[i] == pytest.approx((g - h).norm().item(), rel=1e-3)
        assert found.cosine[i] == pytest.approx(F.cosine_similarity(g, h, dim=0).item(), abs=1e-4)
    assert found.mean_cosine == pytest.approx(np.mean(found.cosine))
    assert found.mean_difference == pytest.approx(np.mean(np.divide(found.difference, found.gradient)))


def test_the_input_moves_as_the_layer_before_says() -> None:
    # One weight w = 2 before: the input of the last layer is w x, so its mean and deviation are multiplied by w'/w.
    net = nn.Sequential(nn.Flatten(), linear([[2.0]]), linear([[0.1], [-0.2], [0.3]]))
    subject = subject_on(net, noise(30, size=1), std=(1.0,))
    inputs, labels = subject.inputs(subject.images()).flatten(1), subject.images().labels
    w = torch.tensor(2.0, requires_grad=True)
    loss = F.cross_entropy(inputs * w * torch.tensor([[0.1, -0.2, 0.3]]), labels)
    (slope,) = torch.autograd.grad(loss, w)
    found = covariate_shift(subject=subject, lr=3.0)
    factor = (2 - 3 * slope.item()) / 2
    assert found.variance_ratio == pytest.approx((factor**2,), rel=1e-4)
    expected = abs(factor - 1) * inputs.mean().item() / inputs.std(correction=0).item()
    assert found.mean_shift == pytest.approx((expected,), rel=1e-4)


class Dropping(nn.Sequential):
    """Draws in training mode."""

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(36, 20), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(20, 3)
        )


def test_no_step_is_no_shift_even_with_dropout() -> None:
    moment = Moment(3, 0.0, 0.0, lambda step: (torch.ones(5, 1, 6, 6) * step, torch.arange(5) % 3))
    found = covariate_shift(subject=subject_on(drawn(Dropping()), noise(9), moment=moment))
    assert (found.images, found.lr) == (5, 0)
    assert found.difference == (0,)
    assert found.cosine == pytest.approx((1,))
    assert found.mean_shift == (0,)


def test_in_a_run_the_batch_and_the_rate_are_those_of_the_coming_step() -> None:
    def batch(step: int) -> tuple[Tensor, Tensor]:
        shares = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
        return torch.full((2, 1, 6, 6), float(step)), shares

    asked: list[int] = []
    moment = Moment(7, 0.0, 0.25, lambda step: asked.append(step) or batch(step))  # type: ignore[func-returns-value]
    found = covariate_shift(subject=subject_on(drawn(Residual(in_place=True)), noise(9), moment=moment))
    assert (asked, found.images, found.lr) == ([7], 2, 0.25)


def test_weights_come_back_between_layers() -> None:
    subject = residual()
    before = {name: p.detach().clone() for name, p in subject.model.named_parameters()}
    covariate_shift(subject=subject, lr=LR)
    assert all(torch.equal(p, before[name]) for name, p in subject.model.named_parameters())


def test_what_the_sentence_says_and_what_is_refused() -> None:
    found = covariate_shift(subject=residual())
    assert found.sentence == (
        f"toy on toys: a gradient step of 0.1 of the layers before changes a layer's gradient by "
        f"{found.mean_difference:.3g} times its length and turns it to a cosine of {found.mean_cosine:.3f} (mean of 2 "
        f"layers, 16 images of train, batch statistics)."
    )
    with pytest.raises(ConfigError) as caught:
        covariate_shift(subject=subject_on(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), noise(4)))
    assert str(caught.value) == (
        "The shift needs two or more convolutions or linear layers, one before the other."
    )
