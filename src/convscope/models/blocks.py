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

from collections import OrderedDict
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
class CommonParts:
    """What every network with hidden layers lets the user choose."""

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


@dataclass(frozen=True)
class Parts(CommonParts):
    """What every network with convolutions lets the user choose."""

    conv_dropout: Annotated[Share, Off(0.0)] = field(
        default=0.0,
        metadata={
            "text": "share of the outputs of a convolution, after its activation, set to zero in training"
        },
    )
    separable: Annotated[bool, Off(False)] = field(
        default=False,
        metadata={"text": "each 3x3 convolution becomes a 3x3 one per channel and a 1x1 one across them"},
    )


@dataclass(frozen=True)
class Width:
    """What networks offer whose channels are all given in the paper."""

    width: Annotated[float, Bounds(gt=0, le=4)] = field(
        default=1.0, metadata={"text": "channels and hidden units, as a multiple of the published"}
    )


def make_activation(parts: CommonParts, *, own: str = "relu", may_overwrite: bool = True) -> nn.Module:
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
    parts: CommonParts, channels: int, kind: type[nn.BatchNorm1d | nn.BatchNorm2d] = nn.BatchNorm2d
) -> nn.Module:
    """Batch normalisation over N, H and W (`BatchNorm1d`: over N, of features), or nothing."""
    match parts.norm:
        case "batch":
            return kind(channels)
        case "none":
            return nn.Identity()
    raise ConfigError(f"norm must be 'batch' or 'none', not {parts.norm!r}.")


def make_dropout(parts: CommonParts) -> nn.Module:
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
    parts: Parts,
    into: int,
    out: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    biased: bool | None = None,
) -> nn.Module:
    """A convolution as the parts want it.

    Args:
        parts: the choices.  With `separable`, a 3x3 kernel becomes a `Separable`.
        into: channels of the input.
        out: channels of the output.
        kernel: height and width in pixels.
        stride: in pixels.
        padding: pixels of zeros on each side.
        groups: the channels are split into so many parts that do not meet.
        biased: by default only where no norm follows, since a norm's shift replaces the bias (S3.88).
    """
    bias = parts.norm == "none" if biased is None else biased
    if parts.separable and kernel == 3 and groups == 1:
        return Separable(into, out, stride, padding, bias=bias)
    return nn.Conv2d(into, out, kernel, stride, padding, groups=groups, bias=bias)


class Separable(nn.Sequential):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution across the channels.

    9 M D^2 + M N D^2 multiply-adds for M channels in, N out and a map of D x D, where the 3x3 convolution
    has 9 M N D^2 (S1.8).

    Reference:
        Chollet (2017), Xception: Deep Learning with Depthwise Separable Convolutions, section 3 and figure 10:
        without anything between the two.  https://arxiv.org/abs/1610.02357
        Differs from Howard et al. (2017), MobileNets, who put a norm and a ReLU between them.
    """

    def __init__(self, into: int, out: int, stride: int, padding: int, *, bias: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(into, into, 3, stride, padding, groups=into, bias=False)
        self.pointwise = nn.Conv2d(into, out, 1, bias=bias)


class GlobalAvgPool2d(nn.AdaptiveAvgPool2d):
    """The mean of each map (S3.42).

    As an average over one window as large as the map: its gradient is channels-last, while that of torch's
    adaptive pool comes back contiguous and is copied by the norm before it.  Norm, ReLU and mean of 128 x 64 x 8 x 8
    with their gradients take 3.8 instead of 6.1 ms (one thread, best of 40).
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        return F.avg_pool2d(input, input.shape[-2:])


def scaled(published: int, width: float, multiple: int = 1) -> int:
    """A number of channels in another width: at least `multiple`, and divisible by it."""
    return max(1, round(published * width / multiple)) * multiple


class Numbered:
    """Builds a sequence whose numbers are those of the published network, whatever else is in it.

    torchvision's weights go by number (`features.3.weight`), so a norm or a dropout that it does not have
    gets a name instead, after the layer it follows: `norm3`, `drop3`.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[str, nn.Module] = OrderedDict()
        self._next = 0

    def add(self, *modules: nn.Module) -> None:
        """Append modules that the published network has."""
        for module in modules:
            self._found[str(self._next)] = module
            self._next += 1

    def beside(self, name: str, module: nn.Module) -> None:
        """Append a module that it does not have; nothing where that is switched off."""
        if not isinstance(module, nn.Identity):
            self._found[f"{name}{self._next - 1}"] = module

    def done(self) -> nn.Sequential:
        """The sequence."""
        return nn.Sequential(self._found)


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
