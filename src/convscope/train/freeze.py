"""Which parameters learn, and which stay as they are?

What does not learn gets no gradient and is in no optimizer.  A norm whose
scale and shift are both frozen is frozen whole: it standardises with the
statistics it has, as in evaluation, and does not change them.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convscope.core.errors import ConfigError, nearest


def freeze(model: nn.Module, train_only: Sequence[str]) -> None:
    """Let nothing learn but what is named.

    Args:
        model: its parameters' `requires_grad` is changed; what its maker froze stays frozen.
        train_only: `all`, `norms` (scales and shifts of batch norms; S3.85), or patterns with * and ?.

    Raises:
        ConfigError: a pattern that fits no parameter.

    Reference:
        Frankle, Schwab, Morcos (2021), Training BatchNorm and Only BatchNorm; S3.85.
    """
    names = [name for name, _ in model.named_parameters()]
    norms = {f"{name}.{own}" for name, module in _norms(model) for own, _ in module.named_parameters()}
    wanted: set[str] = set()
    for pattern in train_only:
        fits = {"all": set(names), "norms": norms}.get(pattern)
        found = {name for name in names if fnmatchcase(name, pattern)} if fits is None else fits
        if not found:
            layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
            shown = [*layers[:4], "...", layers[-1]] if len(layers) > 6 else layers
            raise ConfigError(
                f"train_only: no parameter fits {pattern!r}.{nearest(pattern, names, 0.4)} Layers: {', '.join(shown)}. "
                f"Allowed: all, norms, or names of parameters with * and ?, such as {layers[-1]}.*."
            )
        wanted |= found
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in wanted)


def learn(model: nn.Module) -> None:
    """Put a network into training mode, and the norms that are frozen into evaluation mode."""
    model.train()
    for _, norm in _norms(model):
        own = list(norm.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            norm.eval()


def _norms(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, _BatchNorm)]
