"""The figures of `convscope verify`: what is drawn, against formulas by hand at some of its points."""

import math

import numpy as np
import pytest
from drawings import heading, pictures
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from convscope.core import catalog
from convscope.plots.topics import FIGURES


def line(axes: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    """The points of the one line whose label begins so."""
    (found,) = [each for each in axes.lines if str(each.get_label()).startswith(label)]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def corners(axes: Axes) -> list[set[tuple[float, float]]]:
    """Of each filled band, rounded."""
    bands = [each for each in axes.collections if isinstance(each, PolyCollection)]
    return [{(round(x, 6), round(y, 6)) for x, y in band.get_paths()[0].vertices} for band in bands]


def test_every_figure_is_of_a_topic() -> None:
    assert set(FIGURES) <= set(catalog.names("topics"))


def test_the_weights_of_a_filter_stand_where_output_and_pixel_meet() -> None:
    figure = FIGURES["convolution"]()
    weights, valid, same, strided = pictures(figure)
    assert weights.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert (valid.shape, same.shape, strided.shape) == ((16, 36), (36, 36), (9, 36))
    columns = [0, 1, 2, 6, 7, 8, 12, 13, 14]
    # Output (0, 0), and output (1, 1), which is the sixth and one row and one pixel further.
    for row, shift in ((0, 0), (5, 7)):
        assert np.flatnonzero(valid[row] > 0).tolist() == [shift + column for column in columns]
        assert valid[row][valid[row] > 0].tolist() == [*range(1, 10)]
    # At a corner with padding four weights meet a pixel.
    for matrix in (same, strided):
        assert {int(at): int(matrix[0, at]) for at in np.flatnonzero(matrix[0] > 0)} == {
            0: 5,
            1: 6,
            6: 8,
            7: 9,
        }
    # With stride 2, the output beside it is two pixels further.
    assert np.flatnonzero(strided[1] > 0).tolist() == [1, 2, 3, 7, 8, 9]
    assert "S3.7" in heading(figure)
    assert [axes.get_title() for axes in figure.axes] == [
        "the filter", "P = 0, S = 1: 4x4 outputs", "P = 1, S = 1: 6x6 outputs", "P = 1, S = 2: 3x3 outputs"
    ]  # fmt: skip


def test_activations_have_their_values_and_slopes() -> None:
    panels = {axes.get_title().partition(":")[0]: axes for axes in FIGURES["functions"]().axes}
    assert list(panels) == catalog.names("activations")
    below, above = 1 / (1 + math.exp(4)), 1 / (1 + math.exp(-4))
    ends = {  # values at -4 and 4, then slopes
        "relu": (0, 4, 0, 1),
        "leaky-relu": (-0.04, 4, 0.01, 1),
        "elu": (math.exp(-4) - 1, 4, math.exp(-4), 1),
        "swish": (-4 * below, 4 * above, below * (1 - 4 * above), above * (1 + 4 * below)),
        "tanh": (-math.tanh(4), math.tanh(4), 1 - math.tanh(4) ** 2, 1 - math.tanh(4) ** 2),
    }
    for name, wanted in ends.items():
        drawn = [line(panels[name], what) for what in ("value", "slope")]
        assert [(x[0], x[-1]) for x, _ in drawn] == [(-4, 4)] * 2
        assert [end for _, y in drawn for end in (y[0], y[-1])] == pytest.approx(wanted, abs=1e-12)
    assert panels["mish"].get_title() == "mish: x tanh(softplus(x))\nS2.18"


def test_variances_fall_as_the_derivation_says() -> None:
    figure = FIGURES["initialisation"]()
    there, back = figure.axes
    shares = {  # of the first layer's variance, after eleven more
        "tanh, 1/n_in (LeCun), inputs of size 0.01": 1.0,
        "ReLU, 2/n_in (Kaiming)": 1.0,
        "ReLU, 1/n_in (LeCun)": 2.0**-11,
        "linear, 1/(3 n_in) (torch)": 3.0**-11,
    }
    assert len(there.lines) == len(back.lines) == 5
    for label, wanted in shares.items():
        layers, drawn = line(there, label)
        assert layers.tolist() == [*range(1, 13)]
        assert drawn[0] == 1
        assert drawn[-1] == pytest.approx(wanted, rel=0.4)
    # tanh halves twice and more at first: the mean square of the tanh of a standard normal number is 0.394.
    assert there.lines[1].get_ydata()[1] == pytest.approx(0.394, rel=0.1)  # type: ignore[index]
    # From width 1024 to 243 by 3/4 a layer; Xavier's factor is 2 x 3/4 / (1 + 3/4) = 6/7.
    ends = {
        "linear, 1/n_out": 1.0,
        "ReLU, 2/n_out (Kaiming)": 1.0,
        "linear, 1/n_in (LeCun)": 243 / 1024,
        "ReLU, 2/n_in (Kaiming)": 243 / 1024,
        "linear, 2/(n_in + n_out) (Xavier)": (6 / 7) ** 5,
    }
    for label, wanted in ends.items():
        assert line(back, label)[1][-1] == pytest.approx(wanted, rel=0.15)
    assert "S3.68-73" in heading(figure)


def test_paths_distances_and_reddis_weights_by_hand() -> None:
    paths, distances, reddi = FIGURES["optimizers"]().axes
    # The rate is 2/(1 + 25) = 1/13, so descent shrinks one weight by 12/13 and the other by -12/13.
    across, up = line(paths, "gradient descent")
    powers = (12 / 13) ** np.arange(21)
    np.testing.assert_allclose(across, powers)
    np.testing.assert_allclose(up, powers * (-1.0) ** np.arange(21))
    # beta = ((5 - 1)/(5 + 1))^2.
    for drawn, curvature in zip(line(paths, "momentum"), (1, 25), strict=True):
        weight, velocity = 1.0, 0.0
        for _ in range(20):
            velocity = curvature * weight + 4 / 9 * velocity
            weight -= velocity / 13
        assert drawn[-1] == pytest.approx(weight)
    assert paths.get_title() == "20 steps, rate 0.077, momentum 0.44 (S3.55)"
    assert line(distances, "gradient descent")[1][1000] == pytest.approx((399 / 401) ** 1000)
    # At its best, momentum has two equal roots of size (20 - 1)/(20 + 1), and a first step to 1 - 400 (2/21)^2.
    steps, drawn = line(distances, "momentum")
    np.testing.assert_allclose(drawn, (1 + 40 / 21 * steps) * (19 / 21) ** steps, rtol=1e-6)
    assert (min(drawn) > 1e-8, len(drawn)) == (True, 246)
    # Second moments with beta2 = 0.1, corrected: 9, then (0.81 + 0.9)/0.99; AMSGrad keeps 8.1 of 0.9 x 9.
    played = line(reddi, "Adam, average regret 0.67")[1]
    assert played[:3] == pytest.approx([-1, -1, -1 + 0.5 / math.sqrt(2) / math.sqrt(1.71 / 0.99)])
    played = line(reddi, "AMSGrad, average regret 0.04")[1]
    assert played[:3] == pytest.approx([1, 0.5, 0.5 + 0.5 / math.sqrt(2) / math.sqrt(8.1 / 0.99)])
    assert reddi.lines[2].get_ydata() == [-1, -1]
    assert "S3.59" in reddi.get_title()


def test_every_schedule_over_its_run_and_the_loop_as_printed() -> None:
    figure = FIGURES["schedules"]()
    panels = {axes.get_title().partition("\n")[0]: axes for axes in figure.axes}
    assert list(panels) == catalog.names("schedules")
    by_hand = {  # rate at a step of 84, seven to the epoch
        "constant": (83, 0.3),
        "step": (35, 0.3 * 0.2),
        "milestones": (63, 0.3 * 0.01),
        "exponential": (7, 0.3 * 0.9),
        "inverse": (14, 0.3 / 3),
        "inverse-sqrt": (3, 0.3 / 2),
        "cosine": (42, 0.3 * (0.1 + 0.9 / 2)),
        "warm-restarts": (28, 0.3 / 2),
        "linear": (21, 0.3 * 3 / 4),
        "one-cycle": (0, 0.3 / 25),
    }
    assert by_hand.keys() == panels.keys()
    for name, (step, rate) in by_hand.items():
        epochs, rates = line(panels[name], "convscope")
        assert (epochs[step], rates[step]) == pytest.approx((step / 7, rate))
        np.testing.assert_allclose(line(panels[name], "torch"), (epochs[::3], rates[::3]), atol=1e-12)
    printed = line(panels["exponential"], "stepped at each batch (E3.7)")[1]
    np.testing.assert_allclose(printed, 0.3 * 0.9 ** np.arange(84))
    assert heading(figure) == "The learning rate over 12 epochs of 7 steps, 0.3 at most"


def test_beta_bounds_the_loss_and_the_gradient_and_rates_make_the_band() -> None:
    losses, changes, bands = FIGURES["smoothness"]().axes
    # From (4, 3, 0.5) the gradient is (2, 6, 5), of square 65; a step of 0.2 leads to (3.6, 1.8, -0.5).
    steps, drawn = line(losses, "loss")
    at = int(np.abs(steps - 0.2).argmin())
    assert (drawn[0], drawn[at]) == pytest.approx((14.25, (0.5 * 3.6**2 + 2 * 1.8**2 + 10 * 0.5**2) / 2))
    (allowed,) = corners(losses)
    # The tangent, and with beta 0.2^2 65/2 above it.
    assert {(0.2, 14.25 - 0.2 * 65), (0.2, 14.25)} <= allowed
    distances, found = line(changes, "from drawn points")
    assert len(distances) == 2 * 51
    assert (found / distances).max() == pytest.approx(10)
    ends, bound = line(changes, "beta = 10 times the distance")
    assert bound == pytest.approx(10 * ends)
    rates = ((2e-3, 1e-4), (1.1e-3, 1e-3))
    for band, pair in zip(corners(bands), rates, strict=True):
        last = {(29, round(sum(c * (1 - c * rate) ** 58 for c in (0.5, 2, 10)) / 2, 6)) for rate in pair}
        assert last | {(0, 6.25)} <= band
    assert [text.get_text() for text in bands.get_legend().get_texts()] == [  # type: ignore[union-attr]
        "rates 0.001, 0.002, 0.0001, 0.0005", "rates 0.001, 0.0011"
    ]  # fmt: skip
