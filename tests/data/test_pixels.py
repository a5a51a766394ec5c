"""Bytes from computed values, whichever way they are made."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.data import pixels
from convscope.data.colour import jitter
from convscope.data.mixing import cutout, mixup
from convscope.data.pixels import in_order_of, rounded
from convscope.data.resample import random_resized_crop, rotate


def test_values_are_rounded_by_hand() -> None:
    values = torch.tensor([[-1e-5, 0.4, 0.5, 1.5], [1.6, 254.49, 254.6, 255.0001]])
    found = rounded(values.flatten(), torch.empty(2, 4, dtype=torch.uint8))
    assert found.tolist() == [[0, 0, 0, 2], [2, 254, 255, 255]]


def test_the_memory_order_is_that_of_what_is_written_into() -> None:
    values = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    last = torch.empty(2, 3, 4, 5, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    plain = torch.empty(2, 3, 4, 5, dtype=torch.uint8)
    assert rounded(values, last) is last
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, rounded(values, plain)) and torch.equal(plain, values.byte())
    assert in_order_of(last, plain).stride() == last.stride()
    assert torch.equal(in_order_of(last, plain), plain) and in_order_of(plain, plain) is plain


CHANGES: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    "rotate": rotate,
    "random-resized-crop": random_resized_crop,
    "jitter": jitter,
    "cutout": cutout,
    "mixup": lambda images, generator: mixup(images, generator, torch.eye(20))[0],
}


@pytest.mark.parametrize("name", CHANGES)
def test_how_many_at_a_time_makes_no_difference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def generator() -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=3))

    given = torch.from_numpy(generator().integers(0, 256, (20, 3, 8, 8), dtype=np.uint8))
    whole = CHANGES[name](given, generator())
    monkeypatch.setattr(pixels, "PART", 7)
    # A product of another size may be rounded otherwise, and a pixel half-way between two values with it.
    assert (CHANGES[name](given, generator()).int() - whole.int()).abs().max() <= 1
