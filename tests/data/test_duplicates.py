"""Copies against a comparison of all pairs; images that look alike against planted ones: row D8."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.core.config import DataConfig
from convscope.data import duplicates, read_source
from convscope.data.duplicates import Alike, alike, copies, described, remembered_copies
from convscope.data.images import Raw

# Equal images -----------------------------------------------------------------------------------------------


def test_copies_by_hand() -> None:
    images = np.zeros((7, 1, 2, 2), np.uint8)
    images[:, 0, 1, 1] = [5, 9, 5, 0, 9, 5, 7]
    assert [group.tolist() for group in copies(images)] == [[0, 2, 5], [1, 4]]


def test_copies_are_those_that_a_comparison_of_all_pairs_finds() -> None:
    """Of images with 16 values each, of which many are equal by chance, in a slice that is not contiguous."""
    images = np.random.default_rng(0).integers(0, 2, (300, 2, 2, 4), dtype=np.uint8)[:, :, :, ::2]
    equal = (images[:, None] == images[None]).all((2, 3, 4))
    slow = {tuple(np.flatnonzero(row).tolist()) for row in equal if row.sum() > 1}
    found = [tuple(group.tolist()) for group in copies(images)]
    assert set(found) == slow and len(found) == len(slow) > 3
    assert found == sorted(found)


def test_copies_are_remembered_and_a_damaged_memory_is_not_believed(tmp_path: Path) -> None:
    images = np.zeros((4, 1, 2, 2), np.uint8)
    images[1] = 7
    asked = [[0, 2, 3]]
    assert [g.tolist() for g in remembered_copies(images, "a" * 64, tmp_path)] == asked
    # Found again without the images: others of the same number are not looked at.
    others = np.arange(16, dtype=np.uint8).reshape(4, 1, 2, 2)
    assert [g.tolist() for g in remembered_copies(others, "a" * 64, tmp_path)] == asked
    assert remembered_copies(others, "b" * 64, tmp_path) == []
    assert remembered_copies(others, "a" * 64, None) == []
    (kept,) = (tmp_path / "copies").glob("a*")
    kept.write_bytes(kept.read_bytes().replace(b"2,3", b"1,3"))
    assert remembered_copies(others, "a" * 64, tmp_path) == []


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "copies").write_text("a file where the folder should be")
    images = np.zeros((2, 1, 2, 2), np.uint8)
    assert [g.tolist() for g in remembered_copies(images, "a" * 64, tmp_path)] == [[0, 1]]


# Images that look alike -------------------------------------------------------------------------------------


def photographs(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, 3, 32, 32) with the spectrum of photographs, 1/f, and nearly the same in three channels."""
    rng = np.random.default_rng(seed)
    across = np.fft.fftfreq(32)
    frequency = np.hypot(across[:, None], across[None, :])
    frequency[0, 0] = 1 / 32
    noise = np.fft.fft2(rng.standard_normal((count, 3, 32, 32))) / frequency
    fields = np.fft.ifft2(noise).real
    fields = fields[:, :1] + 0.3 * fields
    fields = (fields - fields.mean((1, 2, 3), keepdims=True)) / fields.std((1, 2, 3), keepdims=True)
    return np.rint((128 + 50 * fields).clip(0, 255)).astype(np.uint8)


def as_jpeg(image: np.ndarray) -> np.ndarray:
    """Saved with quality 75 and read again."""
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file)).transpose(2, 0, 1)


def resized(image: np.ndarray) -> np.ndarray:
    """Made smaller by 0.75, and large again."""
    picture, side = Image.fromarray(image.transpose(1, 2, 0)), image.shape[1]
    small = picture.resize((side * 3 // 4,) * 2, Image.Resampling.BILINEAR)
    return np.asarray(small.resize((side, side), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def pairs_among(images: np.ndarray) -> Alike:
    pixels = torch.from_numpy(images)
    return alike(len(images), lambda which: pixels[which])


def share_found(originals: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> tuple[float, set[int]]:
    """Of images and their changed copies: the share that was found, and images in pairs of any other kind."""
    count = len(originals)
    found = pairs_among(np.concatenate([originals, np.stack([change(image) for image in originals])]))
    together = found.pairs[:, 1] - found.pairs[:, 0] == count
    return together.sum() / count, set((found.pairs[~together] % count).flatten().tolist())


@pytest.mark.parametrize("change", [as_jpeg, resized])
def test_a_changed_copy_is_found_and_nothing_else(change: Callable[[np.ndarray], np.ndarray]) -> None:
    """D8: at least 95 %, fewer than 0.1 % false."""
    share, others = share_found(photographs(1_000), change)
    assert share >= 0.95
    assert len(others) == 0


@pytest.fixture(scope="module")
def cifar10() -> Raw:
    return read_source(DataConfig(source="cifar10"), download=False)


@pytest.mark.real_data
@pytest.mark.parametrize("change", [as_jpeg, resized])
def test_planted_pairs_in_cifar10(cifar10: Raw, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """D8: 1,000 planted; beside them CIFAR-10's own, which are real, count as false here."""
    chosen = np.random.default_rng(0).choice(len(cifar10.train.labels), 1_000, replace=False)
    share, _ = share_found(cifar10.train.images[np.sort(chosen)], change)
    assert share >= 0.95


@pytest.mark.real_data
def test_few_images_of_cifar10_look_like_another(cifar10: Raw) -> None:
    """D8: below 0.1 % of 10,000, although most of those found are the same picture."""
    found = pairs_among(cifar10.train.images[:10_000])
    assert len(np.unique(found.pairs)) < 10
    assert found.complete


def test_all_pairs_are_those_that_a_slow_comparison_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """In tiles of 7 images, so that pairs lie inside tiles, across them and in the last, smaller one."""
    monkeypatch.setattr(duplicates, "_CHUNK", 7)
    images = photographs(31)
    vectors = described(torch.from_numpy(images)).numpy().astype(np.float64)
    slow = {(i, j) for i in range(31) for j in range(i + 1, 31) if vectors[i] @ vectors[j] >= 0.2}
    pixels = torch.from_numpy(images)
    found = alike(31, lambda which: pixels[which], 0.2)
    assert {tuple(pair) for pair in found.pairs.tolist()} == slow and len(slow) > 30
    assert found.pairs.tolist() == sorted(found.pairs.tolist())
    expected = [vectors[i] @ vectors[j] for i, j in found.pairs]
    assert found.cosines == pytest.approx(np.array(expected), abs=1e-5)


def test_where_everything_is_alike_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_CHUNK", 10)
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 100)
    images = torch.from_numpy(photographs(1)).expand(60, -1, -1, -1)
    found = alike(60, lambda which: images[which])
    assert not found.complete
    assert 100 < len(found.pairs) < 60 * 59 / 2


def test_brightness_and_contrast_do_not_matter() -> None:
    image = photographs(1).clip(60, 190)
    darker = np.rint(image * 0.6 + 10).astype(np.uint8)
    one, other, negative = (described(torch.from_numpy(x))[0] for x in (image, darker, 255 - image))
    assert float(one @ other) > 0.999
    assert float(one @ negative) == pytest.approx(-1, abs=1e-5)


def test_an_image_with_nothing_in_it_is_like_nothing() -> None:
    """Noise of one grey level on grey: two of them have nothing in common but that."""
    flat = np.full((2, 1, 16, 16), 100, np.uint8)
    assert float(described(torch.from_numpy(flat)).norm()) == 0
    flat[:, 0, :8] = 101  # equal in what little there is
    one, other = described(torch.from_numpy(flat))
    assert float(one @ other) == pytest.approx((0.5 / 2) ** 2)


def test_small_images_are_compared_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 3, 5), dtype=np.uint8)
    values = image.astype(float).flatten() - image.mean()
    assert described(torch.from_numpy(image))[0].numpy() == pytest.approx(
        values / np.linalg.norm(values), abs=1e-6
    )
