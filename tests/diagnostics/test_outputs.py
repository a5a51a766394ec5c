"""What has no answer is refused, by whole sentences."""

import math
import re

import numpy as np
import pytest
import torch
from answering import seen, told

from convscope.core.errors import ConfigError, Diverged
from convscope.diagnostics.confusion import confusion
from convscope.diagnostics.outputs import answers

COUNTS = np.array([[5, 3, 0], [1, 4, 2], [0, 4, 6]])


def test_answers_are_the_logits_in_the_order_of_the_split() -> None:
    given = [[1, 0, 3], [2, 2, 0], [0, 9, 1]]
    images, output = answers(seen([0, 1, 2], given), "val", 0, "a test")
    assert output.dtype == torch.float64
    assert output.round(decimals=4).tolist() == given
    assert images.labels.tolist() == [0, 1, 2]


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^1 of 2 images have no label, and a confusion needs one\.$"):
        confusion(subject=seen([0, -1], [[1, 0, 0]] * 2))
    message = (
        "a net on insects: the network gives 3 numbers per image, and there are 2 classes. Give a network with one "
        "output per class."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        confusion(subject=seen([0, 1], [[1, 0, 0]] * 2, classes=("ant", "bee")))
    subject = told(COUNTS)
    subject.model[1].bias.data[0] = math.inf  # type: ignore[index]
    message = (
        "a net on insects: the output is not finite for 25 of 25 images, so they have no answer. Look at weights from "
        "before the run diverged."
    )
    with pytest.raises(Diverged, match=f"^{re.escape(message)}$"):
        confusion(subject=subject)
