"""Which pixels of an image speak for its class?

Two answers.  Grad-CAM weighs the maps of a late layer by the gradient of the
logit: coarse, but it follows objects.  The input gradient asks how the logit
changes with each pixel: fine, and noisy.  Either map is also put to a test:
the pixels it marks are erased, or those that the map of another image marks.

    n  images      C  channels      H, W  pixels      h, w  places of the map      K  classes
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError, UnknownName
from convscope.data import ImageSet
from convscope.evaluate.subject import Result, Subject

from .recording import (
    AtLeastOne,
    Split,
    called,
    does_nothing,
    input_gradient,
    parts,
    refuse_unlabelled,
    watching,
)

Target = Literal["predicted", "true"]
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Attribution(Result):
    """Maps of what speaks for a class."""

    subject: str
    split: str
    method: str
    layer: str
    """Whose maps were weighed; `input` for the input gradient."""
    target: str
    images: int
    pixels: np.ndarray
    """The images, uint8, (n, C, H, W)."""
    maps: np.ndarray
    """What speaks for the class, float32, (n, h, w)."""
    classes: tuple[str, ...]
    """The class each map is about, (n,)."""
    labels: tuple[str, ...]
    """The true one, (n,)."""
    probability: float
    """Mean probability of that class."""
    share: float
    """Of the pixels erased, those of the largest values."""
    erased: float
    """Mean probability once they are replaced by the mean colour of the training images."""
    erased_elsewhere: float
    """Mean probability once the pixels that another image's map marks are replaced; nan for a single image."""

    @property
    def sentence(self) -> str:
        """What was found."""
        return (
            f"{self.subject}: erasing the {self.share:.0%} of pixels that {self.method} marks takes the mean "
            f"probability of the {self.target} class from {self.probability:.3f} to {self.erased:.3f}, those "
            f"that it marks in another image to {self.erased_elsewhere:.3f} ({self.images} images of {self.split})."
        )


def grad_cam(
    *,
    subject: Subject,
    split: Split = "val",
    images: AtLeastOne = 64,
    target: Target = "predicted",
    layer: str = "",
    share: Share = 0.2,
) -> Attribution:
    """Gradient-weighted class activation maps.

    The maps A_k (h, w) of a layer are added with weights, and what is below zero is cut off:

        L = ReLU(sum_k a_k A_k),    a_k = mean over the places of A_k of d y / d A_k,

    where y is the logit of the class.

    Args:
        split: val or train.
        images: evenly spread over the split.
        target: the class that was predicted, or the true one.
        layer: whose output to take, by its name (`convscope summary MODEL`); by default the last module that
            puts out maps of more than one pixel.
        share: of the pixels erased to test the map, in (0, 1).

    Raises:
        UnknownName, ConfigError: no such layer, or one without maps.

    Reference:
        Selvaraju et al. (2017), Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
        Localization, equations 1 and 2.  https://arxiv.org/abs/1610.02391
        The test by erasing: Samek et al. (2017), Evaluating the Visualization of What a Deep Neural Network Has
        Learned, section III.
        Differs: one share is erased at once, by the mean colour, and compared with the marks of another image,
        since single pixels at random disturb more than a region of the same size.
    """
    chosen = _chosen(subject, split, images, target)
    name = _layer(subject.model, subject.inputs(chosen.subset(torch.arange(1))), layer)

    def maps_of(inputs: Tensor, about: Tensor) -> Tensor:
        kept: list[Tensor] = []

        def see(_: str, entered: Tensor, output: Tensor) -> Tensor:
            kept.append(output)
            return output.clone()  # what follows may work in place; the gradient is for the value as it was

        with torch.enable_grad(), watching({name: subject.model.get_submodule(name)}, see):
            logits = subject.model(inputs)
            (gradient,) = torch.autograd.grad(_of(logits, about).sum(), kept[-1])
        weights = gradient.mean((2, 3), keepdim=True)
        return F.relu((weights * kept[-1].detach()).sum(1))

    return _attributed(subject, chosen, split, target, share, "Grad-CAM", name, maps_of)


def input_gradients(
    *,
    subject: Subject,
    split: Split = "val",
    images: AtLeastOne = 64,
    target: Target = "predicted",
    times_input: bool = False,
    share: Share = 0.2,
) -> Attribution:
    """How the logit of a class changes with each pixel.

    The saliency of a pixel is max over the channels of |d y / d x|, with pixels x in [0, 1] and the logit y.

    Args:
        split: val or train.
        images: evenly spread over the split.
        target: the class that was predicted, or the true one.
        times_input: the gradient times the normalised image instead, summed over the channels: with signs, and
            relative to the mean colour.
        share: of the pixels erased to test the map, in (0, 1).

    Reference:
        Simonyan, Vedaldi, Zisserman (2014), Deep Inside Convolutional Networks: Visualising Image
        Classification Models and Saliency Maps, section 3.1.  https://arxiv.org/abs/1312.6034
        Gradient times input: Shrikumar, Greenside, Kundaje (2017), Learning Important Features Through
        Propagating Activation Differences, section 3.2.
    """
    chosen = _chosen(subject, split, images, target)

    def maps_of(inputs: Tensor, about: Tensor) -> Tensor:
        gradient, _ = input_gradient(subject.model, inputs, lambda logits: _of(logits, about).sum())
        if times_input:
            return (gradient * inputs).sum(1)
        # Inputs are (x - mean) / std: d y / d x has the factor 1 / std.
        std = torch.tensor(subject.normalise.std, device=inputs.device).view(1, -1, 1, 1)
        return (gradient / std).abs().amax(1)

    method = "gradient times input" if times_input else "the input gradient"
    return _attributed(subject, chosen, split, target, share, method, "input", maps_of)


def _chosen(subject: Subject, split: str, images: int, target: str) -> ImageSet:
    chosen = subject.images(split, images)
    if target == "true":
        refuse_unlabelled(chosen, "target=true")
    return chosen


def _layer(model: nn.Module, example: Tensor, asked: str) -> str:
    shapes = called(model, example)
    if asked:
        if asked not in shapes:
            raise UnknownName("layer of this network", asked, shapes)
        if len(shapes[asked]) != 3:
            raise ConfigError(
                f"The layer {asked!r} puts out {shapes[asked]} for an image; Grad-CAM needs maps (C, H, W)."
            )
        return asked
    maps = [
        name
        for name, shape in shapes.items()
        if len(shape) == 3 and shape[1] * shape[2] > 1 and not does_nothing(model.get_submodule(name))
    ]
    if not maps:
        raise ConfigError(f"No layer of {type(model).__name__} puts out maps of more than one pixel.")
    return maps[-1]


def _of(logits: Tensor, about: Tensor) -> Tensor:
    """The logit of each image's class: (n, K), (n,) -> (n,)."""
    return logits.gather(1, about[:, None])[:, 0]


def _attributed(
    subject: Subject,
    chosen: ImageSet,
    split: str,
    target: str,
    share: float,
    method: str,
    layer: str,
    maps_of: Callable[[Tensor, Tensor], Tensor],
) -> Attribution:
    maps: list[Tensor] = []
    chances: list[Tensor] = []
    about: list[int] = []
    for inputs, labels in parts(subject, chosen, 50):
        with torch.no_grad():
            logits = subject.model(inputs)
        wanted = labels if target == "true" else logits.argmax(1)
        found = maps_of(inputs, wanted).detach()
        marked = F.interpolate(found[:, None], inputs.shape[-2:], mode="bilinear")[:, 0]
        variants = [inputs, _without(inputs, marked, share), _without(inputs, marked.roll(1, 0), share)]
        with torch.no_grad():
            chances.append(torch.stack([_of(subject.model(v).softmax(1), wanted) for v in variants]).cpu())
        maps.append(found.float().cpu())
        about += wanted.tolist()
    whole, erased, elsewhere = torch.cat(chances, 1).double().mean(1).tolist()
    names = chosen.classes
    return Attribution(
        subject=subject.name,
        split=split,
        method=method,
        layer=layer,
        target=target,
        images=len(chosen),
        pixels=chosen.batch(torch.arange(len(chosen))).numpy(),
        maps=torch.cat(maps).numpy(),
        classes=tuple(names[k] if k < len(names) else str(k) for k in about),
        labels=tuple(names[k] if k >= 0 else "" for k in chosen.labels.tolist()),
        probability=whole,
        share=share,
        erased=erased,
        erased_elsewhere=elsewhere if len(chosen) > 1 else float("nan"),
    )


def _without(inputs: Tensor, marked: Tensor, share: float) -> Tensor:
    """The images with the pixels of the largest values at 0, the mean colour: (n, C, H, W), (n, H, W)."""
    count = max(1, round(share * marked[0].numel()))
    which = marked.flatten(1).topk(count, dim=1).indices
    kept = torch.ones_like(marked).flatten(1).scatter(1, which, 0).view_as(marked)
    return inputs * kept[:, None].to(inputs.dtype)
