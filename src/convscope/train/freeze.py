"""Which parameters learn, and which stay as they are?

What never learns gets no gradient and is in no optimizer.  What waits (the
body, in the first epochs of a fine-tuning) gets none until its step comes.  A
norm whose scale and shift are both frozen is frozen whole: it standardises
with the statistics it has, as in evaluation, and does not change them.

The head is the layer that gives the logits; the body is everything before it.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from convscope.core.config import Recipe
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
    _set_modes(model)


def head(model: nn.Module, classes: int) -> str:
    """The name of the layer that gives the logits: the last linear layer or convolution with K outputs.

    Args:
        model: last in the order of its modules, in which a network usually names its layers.
        classes: K.

    Raises:
        ConfigError: no layer has K outputs.
    """
    found: list[str] = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and len(module.weight) == classes
    ]
    if not found:
        raise ConfigError(
            f"No linear layer or convolution of the network has {classes} outputs, one for each class, so it is not "
            f"known which of its layers is the head."
        )
    return found[-1]


def body(model: nn.Module, classes: int, recipe: Recipe) -> tuple[str, ...]:
    """The names of the parameters that wait for `freeze_epochs` and learn at `body_lr`: none where both are off.

    Everything that learns and comes before the head, in the order of the modules.  What comes behind it, such
    as its norm, belongs to the head.

    Raises:
        ConfigError: nothing but the head learns, or the head does not while the body waits.
    """
    if not recipe.freeze_epochs and recipe.body_lr == 1:
        return ()
    flag = "--freeze-epochs" if recipe.freeze_epochs else "--body-lr"
    last = head(model, classes)
    names = [name for name, _ in model.named_parameters()]
    start = next(i for i, name in enumerate(names) if name.rpartition(".")[0] == last)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    waiting = tuple(name for name in names[:start] if name in learning)
    if not waiting:
        raise ConfigError(
            f"{flag} is about what comes before the last layer ({last}), and none of that learns."
        )
    if recipe.freeze_epochs and learning.isdisjoint(names[start:]):
        raise ConfigError(
            f"In the first {recipe.freeze_epochs:g} epochs only the last layer ({last}) would learn, and --train-only "
            f"leaves it out. Leave out --freeze-epochs, or add {last}.* to --train-only."
        )
    return waiting


def refuse_waiting_forever(recipe: Recipe) -> None:
    """Raises: ConfigError: the body would never learn."""
    if recipe.freeze_epochs >= recipe.epochs:
        raise ConfigError(
            f"freeze_epochs is {recipe.freeze_epochs:g} and the run has {recipe.epochs:g} epochs, so only the last "
            f"layer would ever learn. For that name it, such as --train-only 'fc.*'; else give fewer --freeze-epochs."
        )


def learn(model: nn.Module, waiting: Sequence[str] = (), *, frozen: bool = False) -> None:
    """Put a network into training mode, as far as it learns now.

    A network that is so already costs a look at one flag and one parameter, not a walk through its modules.

    Args:
        model: after `freeze`.
        waiting: names of parameters that learn, but not while `frozen`.
        frozen: whether they do not now: they get no gradient, and norms among them keep their statistics.
    """
    changes = bool(waiting) and model.get_parameter(waiting[0]).requires_grad == frozen
    if model.training and not changes:
        return
    for name in waiting:
        model.get_parameter(name).requires_grad_(not frozen)
    _set_modes(model)


def _set_modes(model: nn.Module) -> None:
    """Training mode; the norms that are frozen in evaluation mode."""
    model.train()
    for _, norm in _norms(model):
        own = list(norm.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            norm.eval()


def _norms(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, _BatchNorm)]
