"""Wide residual networks: counts by hand, for every factor k."""

import pytest
import torch

from convscope.models import wide_resnet


@pytest.mark.parametrize(("k", "parameters"), [(10, 36_479_194), (1, 369_498), (2, None)])
def test_parameters_by_hand(k: int, parameters: int | None) -> None:
    """Table 1 with 4 blocks a stage; the paper says 36.5 million for k = 10 and 0.4 for k = 1."""
    total, into = 9 * 3 * 16, 16
    for stage in range(3):
        out = 16 * k * 2**stage
        for _ in range(4):
            total += 9 * (into * out + out * out) + 2 * (into + out)
            total += into * out if into != out else 0
            into = out
    total += 2 * into + into * 10 + 10
    with torch.device("meta"):
        net = wide_resnet.wideresnet28(classes=10, channels=3, size=32, form=wide_resnet.Form(width=k))
    assert sum(p.numel() for p in net.parameters()) == total
    assert parameters is None or total == parameters


def test_the_depth_is_28() -> None:
    """Section 2: the number says how many convolutions, those of the shortcuts with them."""
    with torch.device("meta"):
        net = wide_resnet.wideresnet28(classes=10, channels=3, size=32, form=wide_resnet.Form(width=2))
    assert sum(isinstance(module, torch.nn.Conv2d) for module in net.modules()) == 28
