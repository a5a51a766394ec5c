"""How sharp is the minimum?

The Hessian H of the loss over some training images: its largest eigenvalues
by Lanczos' method, the smallest one, and its trace after Hutchinson.  H itself (P
x P) is never formed: both need only products H v, two passes backwards each.

    N  images      P  parameters      k  eigenvalues      m  products of Lanczos' method
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from convscope.evaluate.subject import Result, Subject

from .weightspace import (
    NORMS,
    Batch,
    ImageLoss,
    Norm,
    batches_of,
    borrowed,
    flat,
    image_loss,
    norm_mode,
    unflat,
)

Product = Callable[[Tensor], Tensor]
"""v (P,) -> H v (P,)."""


@dataclass(frozen=True)
class Curvature(Result):
    """What is known of the Hessian of the loss at the weights."""

    name: str
    """The network and its data."""
    split: str
    images: int
    """N."""
    loss_name: str
    norm: str
    """`running`, `batch`, or `none` where the network has no norms with statistics."""
    parameters: int
    """P."""
    eigenvalues: np.ndarray
    """(k,): the largest, in falling order."""
    residuals: np.ndarray
    """(k,): |H v - eigenvalue v| of each with its vector v of length 1: so far at most is a true eigenvalue."""
    sharpness: float
    """The largest eigenvalue."""
    smallest: float
    """The smallest eigenvalue as far as Lanczos' method found it: the true one is not larger."""
    trace: float
    """Mean over the probes."""
    trace_error: float
    """Standard error of the trace, from the spread over the probes; not a number for one."""
    products: int
    """H v computed in all."""

    @property
    def sentence(self) -> str:
        """The largest and smallest eigenvalue and the trace."""
        return (
            f"{self.name}: the largest eigenvalue of the Hessian on {self.images} {self.split} images is "
            f"{self.sharpness:.4g} (residual {self.residuals[0]:.2g}), the smallest one found {self.smallest:.4g}, and "
            f"the trace {self.trace:.4g} with a standard error of {self.trace_error:.2g}; {self.parameters:,} "
            f"parameters, {self.products} products, {NORMS[self.norm]}."
        )


def curvature(
    *,
    subject: Subject,
    split: Literal["train", "val"] = "train",
    images: Annotated[int, Field(ge=0)] = 128,
    top: Annotated[int, Field(ge=1)] = 3,
    steps: Annotated[int, Field(ge=1)] = 50,
    tolerance: Annotated[float, Field(gt=0)] = 1e-3,
    probes: Annotated[int, Field(ge=1)] = 16,
    norm: Norm = "running",
    loss: str = "auto",
) -> Curvature:
    """Largest eigenvalues and trace of the Hessian of the loss.

    In evaluation mode (no dropout), without augmentation, decay and penalty.  Where activations have a kink the
    Hessian is that of the pieces between the kinks.  A product costs about as much as ten forward passes.

    Args:
        subject: the network.
        split: train, whose loss was minimised, or val.
        images: evenly spread over the split; 0: all of them.
        top: how many of the largest eigenvalues.
        steps: products at most for the eigenvalues; stops earlier where they are known.
        tolerance: known means: the residuals are below this share of the largest eigenvalue in size.
        probes: random vectors for the trace.
        norm: running: batch norms use their stored statistics; batch: those of each batch, as in training.
        loss: auto: what the run was trained with, else cross-entropy; or a name of `convscope list losses`.

    Reference:
        Lanczos (1950); full reorthogonalisation as in Golub, van Loan, Matrix Computations, section 10.3.
        Hutchinson (1990), A Stochastic Estimator of the Trace of the Influence Matrix.
        Sharpness as the largest eigenvalue: Cohen, Kaur, Li, Kolter, Talwalkar (2021), Gradient Descent on
        Neural Networks Typically Occurs at the Edge of Stability.  https://arxiv.org/abs/2103.00065
        S3.67.  Differs from Keskar et al. (2017), whose sharpness is the rise of the loss in a box.
    """
    batches, cost = batches_of(subject, split, images), image_loss(subject, loss)
    with borrowed(subject.model.eval(), norm):
        product = HessianProduct(subject.model, batches, cost)
        values, residuals, smallest = largest_eigenvalues(
            product, product.size, top, steps, tolerance, subject.streams.generator("inspect", 0)
        )
        trace = traces(product, product.size, probes, subject.streams.generator("inspect", 1))
    return Curvature(
        name=subject.name,
        split=split,
        images=sum(len(labels) for _, labels in batches),
        loss_name=cost.text,
        norm=norm_mode(subject.model, norm),
        parameters=product.size,
        eigenvalues=values,
        residuals=residuals,
        sharpness=float(values[0]),
        smallest=smallest,
        trace=float(trace.mean()),
        trace_error=float(trace.std(ddof=1)) / math.sqrt(probes) if probes > 1 else math.nan,
        products=product.count,
    )


class HessianProduct:
    """H v for the mean loss over batches of images, by differentiating the gradient along v.

    torch.func's forward over reverse gives the same to rounding, takes as long (5.6 and 4.9 s for 125 images of
    ResNet-20) and 18 s more the first time.

    Args:
        model: in the mode it is meant in; its weights stay.
        batches: where there is only one, the graph of its gradient is kept and used for all products.
        cost: of an image.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Batch], cost: ImageLoss) -> None:
        self.model, self.batches, self.cost = model, batches, cost
        self.parameters = list(model.parameters())
        self.size = sum(p.numel() for p in self.parameters)
        self.count = 0
        self._images = sum(len(labels) for _, labels in batches)
        self._kept = self._gradient(batches[0]) if len(batches) == 1 else None

    def __call__(self, vector: Tensor) -> Tensor:
        """v float64 (P,) -> H v, float64 (P,) on the CPU."""
        self.count += 1
        device = self.parameters[0].device
        parts = unflat(vector.to(device, torch.float32), self.parameters)
        total = torch.zeros(self.size, dtype=torch.float64)
        for batch in self.batches:
            gradient = self._kept or self._gradient(batch)
            # Parameters that the loss does not depend on twice have no second derivative.
            along = sum((g * v).sum() for g, v in zip(gradient, parts, strict=True))
            total += self._derivative(along, keep=self._kept is not None).double().cpu()
        return total

    def _gradient(self, batch: Batch) -> list[Tensor]:
        images, labels = batch
        with torch.enable_grad():
            loss = self.cost(self.model(images).float(), labels).sum() / self._images
            found = torch.autograd.grad(loss, self.parameters, create_graph=True, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, self.parameters, strict=True)]

    def _derivative(self, along: Tensor | int, *, keep: bool) -> Tensor:
        if not isinstance(along, Tensor) or not along.requires_grad:
            return torch.zeros(self.size)
        found = torch.autograd.grad(along, self.parameters, retain_graph=keep, allow_unused=True)
        return flat(
            [torch.zeros_like(p) if g is None else g for g, p in zip(found, self.parameters, strict=True)]
        )


def largest_eigenvalues(
    product: Product, size: int, top: int, steps: int, tolerance: float, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """The largest eigenvalues of a symmetric matrix, by Lanczos' method with full reorthogonalisation.

    Args:
        product: v -> H v, in float64.
        size: P.
        top: how many; no more than P come back, nor than steps.
        steps: products at most.
        tolerance: of the residuals, as a share of the largest eigenvalue in size.
        draw: the first vector comes from here.

    Returns:
        Eigenvalues (k,) in falling order, their residuals (k,), and the smallest eigenvalue found.
    """
    steps, top = min(steps, size), min(top, steps, size)
    basis: list[Tensor] = [_unit(torch.from_numpy(draw.standard_normal(size)))]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        image = product(basis[-1].double())
        diagonal.append(float(basis[-1].double() @ image))
        rest = _orthogonal(image, basis)
        coupling = float(rest.norm())
        matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        values, vectors = np.linalg.eigh(matrix)
        residuals = np.abs(coupling * vectors[-1])[::-1]
        scale = float(np.abs(values).max())
        exhausted = coupling <= 1e-6 * scale
        known = len(values) >= top and bool((residuals[:top] <= tolerance * scale).all())
        if len(values) == steps or (known and not exhausted):
            return values[::-1][:top].copy(), residuals[:top].copy(), float(values[0])
        # But for rounding in float32 the space of the vectors so far is closed; an eigenvalue may have
        # more than one vector: begin elsewhere.
        if exhausted:
            rest, coupling = _orthogonal(torch.from_numpy(draw.standard_normal(size)), basis), 0.0
        beside.append(coupling)
        basis.append(_unit(rest))


def traces(product: Product, size: int, probes: int, draw: np.random.Generator) -> np.ndarray:
    """z H z of random z of +1 and -1, (probes,); the mean of each is the trace (Hutchinson)."""
    found = []
    for _ in range(probes):
        signs = torch.from_numpy(draw.integers(0, 2, size) * 2.0 - 1.0)
        found.append(float(signs @ product(signs)))
    return np.array(found)


def _orthogonal(vector: Tensor, basis: Sequence[Tensor]) -> Tensor:
    """Without its part in the space of the basis; twice, because once leaves rounding behind."""
    for _ in range(2):
        for other in basis:
            vector = vector - (vector @ other.double()) * other
    return vector


def _unit(vector: Tensor) -> Tensor:
    """Of length 1, in float32: 50 of them for 10^7 parameters are 2 GB."""
    return nn.functional.normalize(vector, dim=0).float()
