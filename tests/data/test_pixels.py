"""Bytes from computed values, whichever way they are made."""

import torch

from convscope.data.pixels import in_order_of, rounded


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
