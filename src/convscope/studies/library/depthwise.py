"""Are depthwise-separable convolutions nine times as fast?

S1.8 says about 9 times, for the 3x3 layers of a ResNet.  By its own formulas a layer of N outputs needs 9N/(N + 9) times
fewer multiply-adds, 5.8 for 16 and 7.9 for 64 (E1.3), and multiply-adds are not seconds: a depthwise convolution computes
little for each number it fetches.  The seconds stand beside the accuracy in the table; they belong to the machine, so
they are no measure.  The first arm is that of `resnet20_short`, whose runs serve both.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..design import Arm, Comparison, arm, different, less, study
from .resnet20 import MODEL, SHORT


@study(
    question="What do separable 3x3 convolutions save in ResNet-20, in multiply-adds, in seconds and in accuracy?",
    expectation="Six to seven times fewer multiply-adds (E1.3) instead of nine (S1.8); far less than that in seconds; "
    "and several points of accuracy.",
    model=MODEL, data="cifar10", recipe=SHORT, baseline="3x3", seeds=3, also=("macs", "parameters"),
)  # fmt: skip
def depthwise() -> Iterator[Arm | Comparison]:
    """ResNet-20 with depthwise-separable convolutions."""
    yield arm("3x3")
    yield arm("separable", {"model.separable": True})
    yield different("separable", "3x3")
    yield less("separable", "3x3", "S1.8, E1.3", measure="macs")
