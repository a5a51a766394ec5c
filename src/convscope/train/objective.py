"""What does a step minimise?

The mean of the loss over the images of a batch, each counted by its class,
plus a penalty on absolute weights.  Losses say what one image costs
(evaluate/losses.py); only this file says how images are put together.

    n  images of the batch      K  classes
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.core import catalog
from convscope.core.config import Recipe
from convscope.core.errors import ConfigError
from convscope.data import ImageSet

from .optim import decaying

AUXILIARY = 0.3
"""What an auxiliary classifier counts: Szegedy et al. (2015), Going Deeper with Convolutions, section 5."""

Output = Tensor | tuple[Tensor, ...]


def logits_of(output: Output) -> Tensor:
    """The network's logits, float32, (n, K), without those of auxiliary classifiers."""
    return (output[0] if isinstance(output, tuple) else output).float()


class Objective:
    """The recipe's loss over a batch.

    Args:
        recipe: its `loss`, `class_weights`, `l1` and `decay` count.
        train: the training split, whose labels decide what `balanced` means.

    Raises:
        ConfigError: another number of class weights than classes, or weights that cannot be.
    """

    def __init__(self, recipe: Recipe, train: ImageSet) -> None:
        self.recipe = recipe
        self.classes = len(train.classes)
        self._loss = catalog.find("losses", recipe.loss.name).load()
        self._by_class = class_weights(recipe, train)

    def weights(self, labels: Tensor) -> Tensor:
        """What each image counts: (n,), adding up to one; a mixed image counts as a mixture of its classes."""
        if self._by_class is None:
            return torch.full((len(labels),), 1 / len(labels), device=labels.device)
        each = self.shares(labels) @ self._by_class.to(labels.device)
        # A batch of nothing but images that do not count has the weights zero, not 0/0.
        return each / each.sum().clamp(min=torch.finfo(each.dtype).tiny)

    def shares(self, labels: Tensor) -> Tensor:
        """Labels (n,) as one-hot rows (n, K); shares as they are."""
        return F.one_hot(labels, self.classes).float() if labels.ndim == 1 else labels

    def __call__(self, output: Output, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """The weighted sum of what the images cost, a scalar; without weights those of these images alone.

        Args:
            output: what the network gave in training: logits (n, K), or a tuple of these and the logits of
                auxiliary classifiers, each of which counts 0.3.
            labels: int64 (n,), or shares (n, K).
            weights: (n,), from `weights`; of a part of a batch, the part of the batch's weights.
        """
        weights = self.weights(labels) if weights is None else weights
        auxiliary = output[1:] if isinstance(output, tuple) else ()
        cost = self._cost(logits_of(output), labels, weights)
        for logits in auxiliary:
            cost = cost + AUXILIARY * self._cost(logits.float(), labels, weights)
        return cost

    def _cost(self, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        each: Tensor = self._loss(logits, self.shares(labels), **self.recipe.loss.options)
        return (each * weights).sum()

    def add_penalty(self, model: nn.Module) -> None:
        """Add the gradient of l1 x (sum of absolute values of the weights that decay); S1.46.

        As a loss it would be differentiated to the same thing: l1 x sign(weight), and 0 at 0.
        """
        if self.recipe.l1:
            for _, parameter in decaying(model, self.recipe):
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach().sign(), alpha=self.recipe.l1)


def class_weights(recipe: Recipe, train: ImageSet) -> Tensor | None:
    """(K,), or None where every image counts the same.

    `balanced` is N / (K N_class), as in scikit-learn: every class counts as much as any other.
    """
    if recipe.class_weights == "none":
        return None
    if recipe.class_weights == "balanced":
        counts = torch.bincount(train.labels, minlength=len(train.classes))
        # A class without an image has no image to be weighed.
        return len(train) / (len(train.classes) * counts.clamp(min=1).float())
    given = recipe.class_weights
    if len(given) != len(train.classes) or min(given) < 0 or max(given) <= 0:
        raise ConfigError(
            f"class_weights are {len(given)} numbers ({', '.join(f'{w:g}' for w in given)}) for "
            f"{len(train.classes)} classes: {', '.join(train.classes)}. Give one number per class, none below "
            f"zero and not all zero, or `balanced`."
        )
    return torch.tensor(given)
