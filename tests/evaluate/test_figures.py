"""Two figures of the same images, held against each other image by image."""

import math

import pytest
import torch

from convscope.core.errors import ConfigError
from convscope.core.records import Claim
from convscope.evaluate.figures import Difference, figure


def one_hot(*predicted: int) -> torch.Tensor:
    return torch.eye(3)[list(predicted)]


LABELS = torch.tensor([0, 1, 2, 0, 1])
PLAIN = figure("plain", one_hot(0, 1, 1, 1, 0), LABELS)
OTHER = figure("other", one_hot(0, 0, 2, 0, 0), LABELS, passes=2)


def test_won_and_lost_by_hand() -> None:
    """Images 2 and 3 are won, image 1 is lost, image 0 is right and image 4 wrong for both."""
    assert (PLAIN.scores.correct, OTHER.scores.correct) == (2, 3)
    assert OTHER.against(PLAIN) == Difference(gained=2, lost=1, images=5)
    assert OTHER.against(PLAIN).value == pytest.approx(1 / 5)


def test_the_other_way_round_is_the_negative() -> None:
    there, back = OTHER.against(PLAIN), PLAIN.against(OTHER)
    assert there.value == -back.value
    assert there.interval() == pytest.approx([-end for end in reversed(back.interval())])


def test_interval_by_hand() -> None:
    """20 won, 5 lost of 100: 15/102 -+ 1.96 sqrt(26 - 15^2/102)/102."""
    assert Difference(20, 5, 100).interval() == pytest.approx((0.0533279, 0.2407897), abs=1e-6)


def test_a_difference_of_nothing_still_has_an_interval() -> None:
    low, high = Difference(0, 0, 50).interval()
    assert low == -high and high == pytest.approx(1.959964 / 52)


def test_intervals_hold_what_they_promise() -> None:
    """Exact coverage over all outcomes of 50 images, a tenth of them gained and a fiftieth lost."""
    images, gain, loss = 50, 0.1, 0.02
    covered = 0.0
    for gained in range(images + 1):
        for lost in range(images + 1 - gained):
            ways = math.comb(images, gained) * math.comb(images - gained, lost)
            chance = ways * gain**gained * loss**lost * (1 - gain - loss) ** (images - gained - lost)
            low, high = Difference(gained, lost, images).interval() if chance > 1e-9 else (1.0, 0.0)
            covered += chance * (low <= gain - loss <= high)
    assert covered == pytest.approx(0.953, abs=5e-4)


def test_figures_of_other_images_are_refused() -> None:
    with pytest.raises(ConfigError) as error:
        OTHER.against(figure("short", one_hot(0, 1), LABELS[:2]))
    assert str(error.value) == (
        "'other' was scored on 5 images and 'short' on 2: only figures of the same images can be compared image by "
        "image."
    )


def test_a_claim_says_how_the_figure_came_about() -> None:
    claim = Claim(
        what="net on data, accuracy of the best weights", value=0.6, low=0.2, high=0.9, interval="Wilson 95 %",
        n="5 images, 1 seed", split="validation", device="CPU", commit="c", command="convscope train",
    )  # fmt: skip
    assert str(OTHER.labelled(claim, "convscope evaluate RUN")) == (
        "net on data, accuracy of the best weights, other: 60.00% [20.00%, 90.00%] (Wilson 95 %, n = 5 images, 1 seed, "
        "2 passes per image, validation split)\n  CPU, commit c: convscope evaluate RUN"
    )
    assert PLAIN.labelled(claim, "x").n == claim.n
