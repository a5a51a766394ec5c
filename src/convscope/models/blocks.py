"""What do the networks have in common?

The choices every network offers (`Parts`), the layers made from them, and the
activations a user can name.  A part that is switched off is an `nn.Identity`
in the same place, so the names of the weights never depend on an option.

Activations that can be undone from their result (ReLU, leaky ReLU, ELU) work
in place: at batch 128 one activation of ResNet-20's first stage is 8 MB, and
fetching that much fresh memory costs more than the arithmetic on it.  So a
forward hook that keeps the output of the layer before must keep a copy, and
gradients are watched with `output.register_hook` in a forward hook, since
torch forbids full backward hooks on a layer whose result is overwritten.

    N  images      C  channels      H, W  pixels
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator
from pydantic import Field as Bounds
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core import catalog, spelling
from convscope.core.catalog import Off
from convscope.core.errors import ConfigError

AUTO = "auto"


def _activation_name(name: str) -> str:
    if name != AUTO:
        catalog.find("activations", name)
    return name


def _init_text(text: str) -> str:
    """Checked, and without the options that are as they are by default: equal choices have equal texts."""
    name, given = spelling.read(text)
    options = catalog.options(catalog.find("inits", name))
    resolved = catalog.resolve("inits", name, given)
    return spelling.write(name, {key: v for key, v in resolved.items() if v != options[key].default})


Share = Annotated[float, Bounds(ge=0, lt=1)]
Init = Annotated[str, AfterValidator(_init_text)]


@dataclass(frozen=True)
class Parts:
    """What every network lets the user choose."""

    activation: Annotated[str, AfterValidator(_activation_name)] = field(
        default="relu",
        metadata={"text": "what follows each layer (`convscope list activations`); auto: the network's own"},
    )
    norm: Literal["batch", "none"] = field(
        default="batch", metadata={"text": "batch normalisation after each convolution, or none"}
    )
    dropout: Share = field(
        default=0.0,
        metadata={"text": "share of the inputs of a linear layer set to zero in training; 0 is off"},
    )
    init: Init = field(
        default="torch",
        metadata={"text": "how the weights start (`convscope list inits`), e.g. kaiming or kaiming:fan=in"},
    )
    conv_dropout: Annotated[Share, Off(0.0)] = field(
        default=0.0,
        metadata={"text": "the same for the outputs of a convolution, after its activation; 0 is off"},
    )


def make_activation(parts: Parts, *, own: str = "relu", may_overwrite: bool = True) -> nn.Module:
    """The chosen activation.

    Args:
        parts: the choices.
        own: what `auto` stands for in this network.
        may_overwrite: False where somebody else still needs the input.
    """
    name = own if parts.activation == AUTO else parts.activation
    made = catalog.call("activations", name, {})
    if not may_overwrite and getattr(made, "inplace", False):
        made.inplace = False
    return _module(made, f"activation {name!r}")


def make_norm(
    parts: Parts, channels: int, kind: type[nn.BatchNorm1d | nn.BatchNorm2d] = nn.BatchNorm2d
) -> nn.Module:
    """Batch normalisation over N, H and W (`BatchNorm1d`: over N, of features), or nothing."""
    match parts.norm:
        case "batch":
            return kind(channels)
        case "none":
            return nn.Identity()
    raise ConfigError(f"norm must be 'batch' or 'none', not {parts.norm!r}.")


def make_dropout(parts: Parts) -> nn.Module:
    """What acts on the inputs of a linear layer: dropout, or nothing at 0.

    In training each number is zero with probability p = `dropout`, else multiplied by 1/(1 - p), so its mean
    stays what it is (S3.27); in evaluation nothing happens (S3.28).
    """
    return _dropout(parts.dropout)


def make_conv_dropout(parts: Parts) -> nn.Module:
    """Dropout of the outputs of a convolution, number by number, after its activation; or nothing at 0."""
    return _dropout(parts.conv_dropout)


def _dropout(share: float) -> nn.Module:
    return nn.Identity() if share == 0 else nn.Dropout(share)


def make_conv(
    parts: Parts, into: int, out: int, kernel: int, *, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    """A convolution that `make_norm` follows: without a bias if that has one, since the shift replaces it."""
    return nn.Conv2d(into, out, kernel, stride, padding, bias=parts.norm == "none")


def _module(made: object, what: str) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise ConfigError(f"The {what} must return a torch.nn.Module, not {type(made).__name__}.")
    return made


class Swish(nn.Module):
    """x sigmoid(x), as the assignment asks: by hand."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return x * torch.sigmoid(x)


class Mish(nn.Module):
    """x tanh(log(1 + exp(x)))."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return x * torch.tanh(F.softplus(x))


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3): 1 goes to 1 and -1 to -1, where the curvature is largest."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return 1.7159 * torch.tanh(x * (2 / 3))


def relu() -> nn.Module:
    """max(0, x)."""
    return nn.ReLU(inplace=True)


def leaky_relu() -> nn.Module:
    """max(0, x) + 0.01 min(x, 0)."""
    return nn.LeakyReLU(0.01, inplace=True)


def elu() -> nn.Module:
    """x above zero, exp(x) - 1 below."""
    return nn.ELU(inplace=True)


def gelu() -> nn.Module:
    """x times the share of a standard normal distribution that lies below x.

    Reference:
        Hendrycks, Gimpel (2016), Gaussian Error Linear Units.  https://arxiv.org/abs/1606.08415
    """
    return nn.GELU()


def swish() -> nn.Module:
    """x sigmoid(x), without a trainable slope.

    Reference:
        Ramachandran, Zoph, Le (2017), Searching for Activation Functions.  https://arxiv.org/abs/1710.05941
    """
    return Swish()


def mish() -> nn.Module:
    """x tanh(log(1 + exp(x))).

    Reference:
        Misra (2019), Mish: A Self Regularized Non-Monotonic Activation Function.
        https://arxiv.org/abs/1908.08681
    """
    return Mish()


def tanh() -> nn.Module:
    """The hyperbolic tangent."""
    return nn.Tanh()


def scaled_tanh() -> nn.Module:
    """1.7159 tanh(2x/3).

    Reference:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-Based Learning Applied to Document
        Recognition, section II.B and appendix A.
    """
    return ScaledTanh()
