"""What does training minimise?

Functions of logits and labels that return the mean over the batch.

    N  images      K  classes
"""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log softmax(logits)[label]; ln K for a network that knows nothing.

    Args:
        logits: float32, (N, K), before any softmax.
        labels: int64, (N,), in 0..K-1.

    Returns:
        A scalar, in nats.

    Reference:
        S1.24, S4.3.  The value at uniform prediction is ln K per image, without any sum (E1.6).
    """
    return F.cross_entropy(logits, labels)
