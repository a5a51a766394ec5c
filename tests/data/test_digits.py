"""The embedded digits: against scikit-learn's own reader, and scaled by hand."""

from pathlib import Path

import numpy as np
import pytest

from convscope.core.config import Choice
from convscope.data import digits as module
from convscope.data.digits import digits, embedded, scaled
from convscope.data.images import Request


def test_they_are_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    images, labels = embedded()
    assert images.tolist() == theirs.images.tolist()
    assert labels.tolist() == theirs.target.tolist()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    again, labels = embedded()  # by scikit-learn itself, should its file move
    assert again.tolist() == images.tolist()
    assert labels.tolist() == theirs.target.tolist()


def test_scaling_by_hand() -> None:
    small = np.zeros((1, 8, 8))
    small[0, 0, 1] = 16
    large = scaled(small)
    assert (large.shape, large.dtype) == ((1, 1, 32, 32), np.uint8)
    # Column c lies at (c + 0.5)/4 - 0.5 of the small image, and the value falls off linearly.
    falls = [0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 7 / 8, 5 / 8, 3 / 8, 1 / 8, 0, 0]
    assert large[0, 0, 0, :12].tolist() == [round(255 * share) for share in falls]
    assert large[0, 0, 1].tolist() == large[0, 0, 0].tolist()  # the border is not mixed with anything
    assert scaled(np.full((1, 8, 8), 16.0)).tolist() == np.full((1, 1, 32, 32), 255).tolist()


def test_the_set(tmp_path: Path) -> None:
    raw = digits(Request(cache_dir=tmp_path))
    assert raw.train.images.shape == (1797, 1, 32, 32)
    assert np.bincount(raw.train.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert raw.classes == tuple("0123456789")
    assert (raw.test, raw.validation, raw.test_share) == (None, 0.25, 0.2)
    assert raw.augment == (Choice(name="crop", options={"padding": 2}),)
    # Golden: the same on every machine, or every run on the digits gets another name.
    assert raw.hash == "989f8ea502f215fbac0a3816d020cc49a5851589293eefc0d57e286792973835"
    assert list(tmp_path.iterdir()) == []
