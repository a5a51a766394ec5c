"""The small subjects of tests/diagnostics, and one for most figures."""

import sys
from pathlib import Path

import pytest

from convscope.evaluate.subject import Subject

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "diagnostics")]


@pytest.fixture
def subject() -> Subject:
    """A residual network that works in place, on 24 images in colour."""
    from small import Residual, drawn, noise, subject_on

    return subject_on(drawn(Residual(in_place=True, channels=3)), noise(24, channels=3), std=(0.3,) * 3)
