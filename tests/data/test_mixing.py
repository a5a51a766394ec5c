"""Squares are counted, pairs are taken apart again."""

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.core.errors import ConfigError
from convscope.data.mixing import boxes, cutmix, cutout, mixup


def generator(key: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def images(*shape: int) -> Tensor:
    return torch.from_numpy(generator(9).integers(1, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("size", [1, 4, 5, 30])
def test_the_area_that_is_covered(size: int) -> None:
    """As many pixels as the square has inside the image, wherever its centre was drawn."""
    height, width = 9, 12
    found = cutout(images(500, 2, height, width), generator(3), size, "zero") == 0
    drawn = generator(3)
    centres = zip(drawn.integers(height, size=500), drawn.integers(width, size=500), strict=True)
    for covered, (y, x) in zip(found, centres, strict=True):
        rows = [row for row in range(height) if y - size // 2 <= row < y - size // 2 + size]
        columns = [column for column in range(width) if x - size // 2 <= column < x - size // 2 + size]
        expected = torch.zeros(height, width, dtype=torch.bool)
        expected[np.ix_(rows, columns)] = True
        assert torch.equal(covered, expected.expand(2, -1, -1))
    if size <= 4:
        assert int(found.sum((1, 2, 3)).max()) == 2 * size**2


def test_the_centre_is_anywhere() -> None:
    places = boxes(generator(), np.ones(6000, int), np.ones(6000, int), (5, 12)).flatten(1)
    assert (places.sum(1) == 1).all()
    counts = places.sum(0).double()
    assert float(((counts - 100) ** 2 / 100).sum()) < 110  # chi squared, 59 degrees of freedom: 0.005 %


def test_what_covers_is_the_mean_of_the_image() -> None:
    given = images(20, 3, 10, 10)
    found = cutout(given, generator(3), 6)
    covered = cutout(given, generator(3), 6, "zero") == 0
    for image, before, hidden in zip(found, given, covered, strict=True):
        for channel in range(3):
            expected = round(float(before[channel].double().mean()))
            assert set(image[channel][hidden[channel]].tolist()) == {expected}
    assert torch.equal(found[~covered], given[~covered])


def test_mixup_by_its_draws() -> None:
    given, labels = images(30, 3, 4, 4), torch.eye(30)
    found, shares = mixup(given, generator(3), labels, 0.7)
    drawn = generator(3)
    weights, partners = drawn.beta(0.7, 0.7, 30), drawn.permutation(30)
    for i, (weight, j) in enumerate(zip(weights, partners, strict=True)):
        expected = weight * given[i].double() + (1 - weight) * given[j].double()
        assert (found[i].double() - expected).abs().max() <= 0.501
        wanted = torch.zeros(30)
        wanted[i] += weight
        wanted[j] += 1 - weight
        assert torch.allclose(shares[i], wanted, atol=1e-6)


def test_cutmix_by_its_draws() -> None:
    given, labels = images(30, 3, 10, 16), torch.eye(30)
    found, shares = cutmix(given, generator(3), labels, 0.7)
    drawn = generator(3)
    own, partners = drawn.beta(0.7, 0.7, 30), drawn.permutation(30)
    ys, xs = drawn.integers(10, size=30), drawn.integers(16, size=30)
    for i in range(30):
        j, side = int(partners[i]), float(np.sqrt(1 - own[i]))
        rows, columns = int(10 * side), int(16 * side)
        top, left = ys[i] - rows // 2, xs[i] - columns // 2
        expected = given[i].clone()
        inside = np.s_[:, max(top, 0) : max(top + rows, 0), max(left, 0) : max(left + columns, 0)]
        expected[inside] = given[j][inside]
        assert torch.equal(found[i], expected)
        foreign = expected[inside][0].numel() / 160
        assert shares[i, i] == pytest.approx(1 - foreign if i != j else 1, abs=1e-6)
        assert shares[i, j] == pytest.approx(foreign if i != j else 1, abs=1e-6)


@pytest.mark.parametrize(("alpha", "deviation"), [(1.0, 12**-0.5), (0.2, 0.423), (10.0, 0.109)])
def test_weights_have_the_spread_of_a_beta_distribution(alpha: float, deviation: float) -> None:
    """Mean 1/2, variance 1/(4 (2 alpha + 1))."""
    given = torch.zeros(1500, 1, 1, 1, dtype=torch.uint8)
    _, shares = mixup(given, generator(), torch.eye(1500), alpha)
    weights = shares.diagonal()
    assert abs(float(weights.mean()) - 0.5) < 4 * deviation / 1500**0.5
    assert abs(float(weights.std()) - deviation) < 0.02


def test_another_fill_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        cutout(images(2, 1, 4, 4), generator(), 2, "grey")  # type: ignore[arg-type]
    assert str(error.value) == "cutout: fill must be 'mean' or 'zero', not 'grey'."
