"""Eigenvalues and trace against the Hessian itself, computed another way."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from convscope.core.streams import Streams
from convscope.data import Data, ImageSet, Normaliser
from convscope.data.images import Sealed
from convscope.diagnostics.curvature import HessianProduct, curvature, largest_eigenvalues, traces
from convscope.diagnostics.weightspace import BATCH, batch_statistics, batches_of, image_loss
from convscope.evaluate.subject import Subject, subject_of

CLASSES = ("a", "b", "c")


class Residual(nn.Module):
    """A shortcut added in place, and ReLUs in place or not, after a norm."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(1, 2, 2), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        self.first, self.last = nn.ReLU(inplace=in_place), nn.ReLU(inplace=in_place)
        self.fc = nn.Linear(18, 3)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        out: Tensor = self.norm(self.conv(self.first(x * 1.0)))
        if self.in_place:
            out += x
        else:
            out = out + x
        result: Tensor = self.fc(self.last(out).flatten(1))
        return result


def subject_with(model: nn.Module, count: int = 20) -> Subject:
    draw = np.random.default_rng(5)
    pixels = torch.from_numpy(draw.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8))
    train = ImageSet(pixels, torch.arange(count), torch.from_numpy(draw.integers(0, 3, count)), CLASSES)
    data = Data("noise", CLASSES, train, train, Sealed(0, lambda: train), (0.5,), (0.25,), "")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(draw.standard_normal(tuple(parameter.shape))))
    return subject_of(model, data, Normaliser(data.mean, data.std), "a net on noise", streams=Streams(3))


def dense(subject: Subject) -> np.ndarray:
    """The whole Hessian of the cross-entropy on the training images, in float64 and without anything in place."""
    images = subject.data.train
    inputs = subject.normalise(images.pixels).double()
    model = Residual(in_place=False).double().eval()
    model.load_state_dict(subject.model.state_dict())
    names, parts = zip(*model.named_parameters(), strict=True)
    sizes = [p.numel() for p in parts]

    def loss(vector: Tensor) -> Tensor:
        pieces = [v.view(p.shape) for v, p in zip(torch.split(vector, sizes), parts, strict=True)]
        outputs = functional_call(model, dict(zip(names, pieces, strict=True)), (inputs,))
        return nn.functional.cross_entropy(outputs, images.labels)

    start = torch.cat([p.detach().reshape(-1) for p in parts])
    found: np.ndarray = hessian(loss, start).numpy()
    return found


@pytest.mark.parametrize("count", [20, BATCH + 50])
def test_eigenvalues_and_trace_are_those_of_the_dense_hessian(count: int) -> None:
    subject = subject_with(Residual(in_place=True), count)
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    found = curvature(subject=subject, images=0, top=4, steps=60, tolerance=1e-6, probes=40)
    whole = dense(subject)
    known = np.linalg.eigvalsh(whole)
    np.testing.assert_allclose(found.eigenvalues, known[::-1][:4], rtol=1e-4)
    assert found.smallest == pytest.approx(known[0], rel=1e-4)
    assert abs(found.trace - np.trace(whole)) < 4 * found.trace_error
    # Hutchinson's error with signs: variance 2 (|H|^2 - |diagonal|^2) a probe.
    error = np.sqrt(2 * (np.square(whole).sum() - np.square(np.diag(whole)).sum()) / 40)
    assert found.trace_error == pytest.approx(error, rel=0.5)
    assert found.parameters == len(whole)
    assert (found.images, found.sharpness) == (count, found.eigenvalues[0])
    assert all(torch.equal(subject.model.state_dict()[name], tensor) for name, tensor in before.items())


def test_norms_with_the_statistics_of_the_batch_have_another_hessian() -> None:
    subject = subject_with(Residual(in_place=True))
    found = curvature(subject=subject, images=0, top=1, steps=60, tolerance=1e-6, probes=1, norm="batch")
    with batch_statistics(subject.model):
        product = HessianProduct(
            subject.model, batches_of(subject, "train", 0), image_loss(subject, "cross-entropy")
        )
        whole = torch.stack([product(row) for row in torch.eye(product.size, dtype=torch.float64)]).numpy()
    np.testing.assert_allclose(whole, whole.T, atol=1e-4 * np.abs(whole).max())
    assert found.sharpness == pytest.approx(np.linalg.eigvalsh(whole)[-1], rel=1e-4)
    assert found.sharpness != pytest.approx(np.linalg.eigvalsh(dense(subject))[-1], rel=1e-2)
    assert found.norm == "batch"


def matrix_with(values: list[float]) -> np.ndarray:
    draw = np.random.default_rng(1)
    turn, _ = np.linalg.qr(draw.standard_normal((len(values), len(values))))
    made: np.ndarray = turn @ np.diag(values) @ turn.T
    return made


def lanczos(
    values: list[float], top: int, steps: int = 100, tolerance: float = 1e-6
) -> tuple[Any, Any, float, int]:
    matrix, calls = torch.from_numpy(matrix_with(values)), []

    def product(vector: Tensor) -> Tensor:
        calls.append(vector)
        return matrix @ vector

    found = largest_eigenvalues(product, len(values), top, steps, tolerance, np.random.default_rng(0))
    return *found, len(calls)


def test_lanczos_stops_when_the_largest_are_known() -> None:
    values, residuals, smallest, calls = lanczos([100.0, 50.0, *np.linspace(-5, 1, 200)], top=2)
    np.testing.assert_allclose(values, [100, 50], rtol=1e-6)
    assert (residuals <= 1e-6 * 100).all()
    assert calls < 30
    assert -5.0 - 1e-6 <= smallest < -4.5


def test_lanczos_says_how_far_off_it_still_is() -> None:
    spectrum = np.linspace(0, 1, 50).tolist()
    values, residuals, _, calls = lanczos(spectrum, top=1, steps=5)
    assert calls == 5
    assert residuals[0] > 1e-3
    assert min(abs(values[0] - true) for true in spectrum) <= residuals[0]


def test_lanczos_finds_equal_eigenvalues_and_no_more_than_there_are() -> None:
    values, _, smallest, _ = lanczos([3.0, 3.0, 3.0, 1.0], top=4)
    np.testing.assert_allclose(values, [3, 3, 3, 1], rtol=1e-5)
    assert smallest == pytest.approx(1.0, rel=1e-5)
    assert len(lanczos([2.0, 1.0], top=5)[0]) == 2


def test_trace_of_a_diagonal_matrix_needs_no_luck() -> None:
    matrix = torch.diag(torch.tensor([3.0, -1.0, 4.0], dtype=torch.float64))
    assert traces(lambda v: matrix @ v, 3, 5, np.random.default_rng(0)).tolist() == [6.0] * 5


def test_parameters_that_enter_linearly_or_not_at_all_have_no_curvature() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(16, 3), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.used(x.flatten(1))
            return out

    subject = subject_with(Unused())
    found = curvature(subject=subject, images=0, top=1, probes=2, steps=3, loss="l1")
    assert (found.sharpness, found.smallest, found.trace, found.parameters) == (0.0, 0.0, 0.0, 57)
    # Squared error of a linear model: the Hessian is 2/K of the inputs' second moment, once a class.
    inputs = subject.normalise(subject.data.train.pixels).flatten(1).double().numpy()
    inputs = np.hstack([inputs, np.ones((20, 1))])
    known = 2 / 3 * np.linalg.eigvalsh(inputs.T @ inputs / 20)[-1]
    assert curvature(subject=subject, images=0, loss="mse").sharpness == pytest.approx(known, rel=1e-4)


def test_sentence_and_repeatability() -> None:
    subject = subject_with(Residual(in_place=True))
    found, again = (curvature(subject=subject, images=10) for _ in range(2))
    assert np.array_equal(found.eigenvalues, again.eigenvalues)
    assert found.trace == again.trace
    plain = dataclasses.replace(
        found, sharpness=27.185, residuals=np.array([2.1e-5]), smallest=-0.9, trace=88.47, trace_error=10.3,
        products=26,
    )  # fmt: skip
    assert plain.sentence == (
        "a net on noise: the largest eigenvalue of the Hessian on 10 train images is 27.18 (residual 2.1e-05), the "
        "smallest one found -0.9, and the trace 88.47 with a standard error of 10; 77 parameters, 26 products, norms "
        "with stored statistics."
    )
