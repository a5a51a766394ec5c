"""What can be reached without a convolution?

Two networks that see an image as a list of numbers: logistic regression, and
the multilayer perceptron of the double descent experiments, whose hidden
layers may stay random.

    N  images      C  channels      H, W  pixels      K  classes
    d  numbers of an image, C x H x W      n  width of the hidden layers
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field as Bounds
from torch import Tensor, nn

from convscope.core.errors import ConfigError

from .blocks import CommonParts, Init, Share, make_activation, make_dropout, make_norm
from .init import initialise


@dataclass(frozen=True)
class LinearParts:
    """What logistic regression lets the user choose: it has no activation and nothing to normalise."""

    dropout: Share = field(
        default=0.0, metadata={"text": "share of the pixels set to zero in training; 0 is off"}
    )
    init: Init = field(default="torch", metadata={"text": "how the weights start (`convscope list inits`)"})


@dataclass(frozen=True)
class HiddenLayers:
    """What the perceptron lets the user choose besides its parts."""

    width: Annotated[int, Bounds(ge=1)] = field(
        default=128, metadata={"text": "outputs of each hidden layer"}
    )
    hidden: Annotated[int, Bounds(ge=1)] = field(default=1, metadata={"text": "number of hidden layers"})
    fixed: bool = field(default=False, metadata={"text": "hidden layers keep the weights they start with"})


_LINEAR = LinearParts()
_PARTS = CommonParts(norm="none")
_HIDDEN = HiddenLayers()


class Logistic(nn.Module):
    """See `logistic`."""

    def __init__(self, numbers: int, classes: int, parts: CommonParts) -> None:
        super().__init__()
        self.drop = make_dropout(parts)
        self.output = nn.Linear(numbers, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        logits: Tensor = self.output(self.drop(x.flatten(1)))
        return logits


class Perceptron(nn.Module):
    """See `mlp`."""

    def __init__(self, numbers: int, classes: int, parts: CommonParts, form: HiddenLayers) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i in range(1, form.hidden + 1):
            # The bias stays under a norm, as in SimpleNN: a norm adds 2 n numbers and takes none away.
            layers[f"fc{i}"] = nn.Linear(numbers if i == 1 else form.width, form.width)
            layers[f"norm{i}"] = make_norm(parts, form.width, nn.BatchNorm1d)
            layers[f"act{i}"] = make_activation(parts)
            layers[f"drop{i}"] = make_dropout(parts)
        self.hidden = nn.Sequential(layers).requires_grad_(not form.fixed)
        self.output = nn.Linear(form.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        logits: Tensor = self.output(self.hidden(x.flatten(1)))
        return logits


def logistic(*, classes: int, channels: int, size: int, linear: LinearParts = _LINEAR) -> nn.Module:
    """Logistic regression, one linear layer on the pixels: 30,730 parameters for 3x32x32 and ten classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        linear: dropout and initialisation.

    Returns:
        A network (N, C, H, W) -> (N, K); the pixels are taken channel by channel, row by row.

    Reference:
        Cox (1958), The Regression Analysis of Binary Sequences; for K classes Bishop (2006), Pattern
        Recognition and Machine Learning, section 4.3.4.
        Differs: no penalty of its own; the weight decay is the recipe's.
    """
    parts = CommonParts(dropout=linear.dropout, init=linear.init)
    return initialise(Logistic(channels * size * size, classes, parts), linear.init)


def mlp(
    *, classes: int, channels: int, size: int, parts: CommonParts = _PARTS, form: HiddenLayers = _HIDDEN
) -> nn.Module:
    """Multilayer perceptron; with one hidden layer (d + 1) n + (n + 1) K parameters, 101,770 for 1x28x28.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: no norm by default; batch normalisation goes between a hidden layer and its activation.
            Dropout acts after the activations, that is, on the inputs of all layers but the first.
        form: width and number of the hidden layers, and whether they stay as they start: then (n + 1) K
            numbers learn, and the hidden layers are random features.

    Returns:
        A network (N, C, H, W) -> (N, K); the pixels are taken channel by channel, row by row.

    Raises:
        ConfigError: a norm in fixed layers.

    Reference:
        S3.18; Belkin, Hsu, Ma, Mandal (2019), Reconciling Modern Machine-Learning Practice and the
        Classical Bias-Variance Trade-Off.  https://arxiv.org/abs/1812.11118
        S3.19 (fixed): Rahimi, Recht (2007), Random Features for Large-Scale Kernel Machines.
        Differs: Belkin et al. start wide networks from trained narrow ones below the interpolation threshold;
        ours all start as `init` says.
    """
    if form.fixed and parts.norm != "none":
        raise ConfigError(
            f"mlp cannot have norm {parts.norm!r} in hidden layers that are fixed: a norm that does not learn "
            "keeps the statistics it starts with and changes nothing. Leave out norm or fixed."
        )
    return initialise(Perceptron(channels * size * size, classes, parts, form), parts.init)
