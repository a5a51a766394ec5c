"""Which image would a unit of the network like best?

In: a network.  Out: images that were changed step by step so that one unit
answers more, from noise; and how real images compare.  What such an image
looks like depends on the regularisation, which therefore belongs to the answer.

    U  units      C  channels      H, W  pixels
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from convscope.core.errors import ConfigError, UnknownName
from convscope.evaluate.subject import Result, Subject

from .recording import AtLeastOne, Count, Positions, Split, called, parts, watching

AtLeastZero = Annotated[float, Field(ge=0)]
MOST = 10
"""Units shown if none are asked for."""


@dataclass(frozen=True)
class Maximised(Result):
    """Images that maximise units."""

    subject: str
    split: str
    layer: str
    """`logits`, or the layer whose channels were maximised."""
    units: tuple[int, ...]
    names: tuple[str, ...]
    """Classes, or channel numbers, (U,)."""
    pixels: np.ndarray
    """What was reached, uint8, (U, C, H, W)."""
    reached: tuple[float, ...]
    """The unit's answer to it, without the penalties, (U,)."""
    mean: tuple[float, ...]
    """Its mean answer to real images, (U,)."""
    largest: tuple[float, ...]
    """Its largest answer to a real image, (U,)."""
    images: int
    """Real images."""
    steps: int
    lr: float
    l2: float
    tv: float
    jitter: int

    @property
    def sentence(self) -> str:
        """What was found."""
        above = sum(r > m for r, m in zip(self.reached, self.largest, strict=True))
        return (
            f"{self.subject}: after {self.steps} steps from noise, {above} of {len(self.units)} units of {self.layer} "
            f"answer more to their image than to any of {self.images} images of {self.split} "
            f"(L2 {self.l2:g}, total variation {self.tv:g}, jitter {self.jitter})."
        )


def maximise(
    *,
    subject: Subject,
    units: Positions = (),
    layer: str = "",
    steps: AtLeastOne = 128,
    lr: AtLeastZero = 0.05,
    l2: AtLeastZero = 0.01,
    tv: AtLeastZero = 0.05,
    jitter: Count = 2,
    split: Split = "val",
    images: Count = 1000,
) -> Maximised:
    """Gradient ascent on the image.

    The image x, normalised as the network takes it, starts as noise of deviation 0.1 around the mean colour and
    takes `steps` steps along the gradient of

        a(x) - l2 |x|^2 / 2 - tv T(x),

    divided by the gradient's root mean square, so that a step changes x by `lr` on average.  a is the logit, or
    the mean of a channel over its map; T the sum of |differences| of neighbouring pixels, over all channels.  Before
    each step the image is rolled by up to `jitter` pixels each way, after it cut to what pixels can be, and at the
    end rounded to them.

    Args:
        units: classes, or channels of `layer`; none: the first ten.
        layer: maximise channels of this layer's output instead of logits.
        steps: of gradient ascent.
        lr: root mean square of a step, in standard deviations of the pixels.
        l2: weight of the squared length.
        tv: weight of the total variation.
        jitter: pixels; 0: the image stays where it is.
        split: of the real images, val or train.
        images: real images to compare with, evenly spread over the split; 0: all.

    Raises:
        UnknownName, ConfigError: no such layer or unit.

    Reference:
        Erhan, Bengio, Courville, Vincent (2009), Visualizing Higher-Layer Features of a Deep Network;
        L2: Simonyan, Vedaldi, Zisserman (2014), section 2, https://arxiv.org/abs/1312.6034;
        total variation: Mahendran, Vedaldi (2015), section 3, https://arxiv.org/abs/1412.0035;
        jitter: Mordvintsev, Olah, Tyka (2015), Inceptionism.
        Differs: steps are divided by the gradient's root mean square; T takes differences one by one (anisotropic).
    """
    real = subject.images(split, images)
    answers = _Answers(subject, layer)
    before = torch.cat([answers(inputs, grad=False).cpu() for inputs, _ in parts(subject, real)])
    chosen = _units(units, before.shape[1], answers.layer)
    low, high = _bounds(subject)
    x = _noise(subject, len(chosen)).clamp(low, high)
    rng, which = subject.streams.generator("inspect", 1), torch.tensor(chosen, device=x.device)
    for _ in range(steps):
        shift = tuple(rng.integers(-jitter, jitter + 1, 2).tolist())
        x = x.roll(shift, (2, 3)).requires_grad_(True)
        with torch.enable_grad():
            value = answers(x, grad=True).gather(1, which[:, None]).sum()
            value = value - l2 / 2 * x.square().sum() - tv * _variation(x)
            (gradient,) = torch.autograd.grad(value, x)
        rms = gradient.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
        x = (x.detach() + lr * gradient / rms).clamp(low, high).roll((-shift[0], -shift[1]), (2, 3))
    pixels = _pixels(subject, x)
    reached = answers(subject.normalise(pixels.to(x.device)), grad=False).cpu()
    classes = subject.data.classes
    return Maximised(
        subject=subject.name,
        split=split,
        layer=answers.layer,
        units=chosen,
        names=tuple(classes[u] if not layer and u < len(classes) else str(u) for u in chosen),
        pixels=pixels.numpy(),
        reached=tuple(reached[i, u].item() for i, u in enumerate(chosen)),
        mean=tuple(before.double().mean(0)[list(chosen)].tolist()),
        largest=tuple(before.amax(0)[list(chosen)].tolist()),
        images=len(real),
        steps=steps,
        lr=lr,
        l2=l2,
        tv=tv,
        jitter=jitter,
    )


class _Answers:
    """Images (n, C, H, W) -> what each unit says, (n, U): logits, or means of the layer's channels."""

    def __init__(self, subject: Subject, layer: str) -> None:
        self.model, self.layer = subject.model, layer or "logits"
        self._watched = {}
        if layer:
            shapes = called(self.model, subject.inputs(subject.images("train", 1)))
            if layer not in shapes:
                raise UnknownName("layer of this network", layer, shapes)
            self._watched = {layer: self.model.get_submodule(layer)}

    def __call__(self, inputs: Tensor, *, grad: bool) -> Tensor:
        kept: list[Tensor] = []

        def see(_: str, entered: Tensor, output: Tensor) -> Tensor:
            kept.append(output)
            return output.clone()

        with torch.enable_grad() if grad else torch.no_grad(), watching(self._watched, see):
            logits: Tensor = self.model(inputs.clone())
        found = kept[-1] if kept else logits
        return found.flatten(2).mean(2) if found.dim() > 2 else found


def _units(asked: tuple[int, ...], count: int, layer: str) -> tuple[int, ...]:
    chosen = asked or tuple(range(min(MOST, count)))
    if max(chosen) >= count:
        raise ConfigError(f"There is no unit {max(chosen)} in {layer}: it has the units 0 to {count - 1}.")
    return chosen


def _noise(subject: Subject, count: int) -> Tensor:
    channels, height, width = subject.data.shape
    drawn = subject.streams.generator("inspect").standard_normal(
        (1, channels, height, width), dtype=np.float32
    )
    device = next(subject.model.parameters()).device
    return 0.1 * torch.from_numpy(drawn).expand(count, -1, -1, -1).to(device)


def _bounds(subject: Subject) -> tuple[Tensor, Tensor]:
    """What black and white are once normalised, (1, C, 1, 1)."""
    device = next(subject.model.parameters()).device
    mean = torch.tensor(subject.normalise.mean, device=device).view(1, -1, 1, 1)
    std = torch.tensor(subject.normalise.std, device=device).view(1, -1, 1, 1)
    return -mean / std, (1 - mean) / std


def _variation(x: Tensor) -> Tensor:
    return x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()


def _pixels(subject: Subject, x: Tensor) -> Tensor:
    """The nearest image: normalised (n, C, H, W) -> uint8, on the CPU."""
    mean = torch.tensor(subject.normalise.mean, device=x.device).view(1, -1, 1, 1)
    std = torch.tensor(subject.normalise.std, device=x.device).view(1, -1, 1, 1)
    return ((x.detach() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).cpu()
