"""Would the tests notice?  Four broken builds, each of which a test of ours must refuse.

Randomness not keyed by epoch, a learning rate that is one step late after a resume, a file that is put in
place unverified, and classes matched by position instead of by name: faults that well-known tools had.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from convscope.core import files
from convscope.core.streams import Streams
from convscope.data import ImageSet
from convscope.data.images import Arrays, image_set
from convscope.evaluate import scoring
from convscope.train import checkpoint, schedule

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS / "train"))
tiny = importlib.import_module("tiny")


def file_of(name: str) -> ModuleType:
    """Another test file, as a module: its test functions are called here."""
    spec = importlib.util.spec_from_file_location(f"mutated_{Path(name).stem}", TESTS / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def caught(test: Callable[[], object]) -> None:
    """The test must fail, by an assertion or by the error it asks for not coming."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test()


def both(test: Callable[[], object], mutate: Callable[[pytest.MonkeyPatch], None]) -> None:
    """Green without the mutation, red with it."""
    test()
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        caught(test)


def keyed_by_purpose_only(patch: pytest.MonkeyPatch) -> None:
    """The same order and the same augmentation in every epoch, for ever."""
    original = Streams.key
    patch.setattr(Streams, "key", lambda self, purpose, index=0: original(self, purpose, 0))


def test_randomness_not_keyed_by_epoch_is_noticed() -> None:
    resume = file_of("train/test_resume.py")
    streams = file_of("core/test_streams.py")
    both(resume.test_the_tiny_run_shuffles_and_augments, keyed_by_purpose_only)
    both(streams.test_a_thousand_images_are_augmented_otherwise_in_the_next_epoch, keyed_by_purpose_only)


def one_step_late_after_a_resume(patch: pytest.MonkeyPatch) -> None:
    """As if the schedule were stepped, and forgot the step of its checkpoint."""
    restore, rate = checkpoint.restore, schedule.rate
    resumed: list[int] = []

    def noted(*given: object) -> None:
        restore(*given)  # type: ignore[arg-type]
        resumed.append(1)

    def late(recipe: object, step: int, total: int, per_epoch: int) -> float:
        return rate(recipe, max(0, step - len(resumed)), total, per_epoch)  # type: ignore[arg-type]

    for module in [m for name, m in list(sys.modules.items()) if name.startswith("convscope.train.")]:
        if getattr(module, "restore", None) is restore:
            patch.setattr(module, "restore", noted)
    patch.setattr(schedule, "rate", late)


def test_a_rate_that_is_one_step_late_is_noticed(tmp_path: Path) -> None:
    resume = file_of("train/test_resume.py")
    places = iter("ab")
    with tiny.cheap():
        both(
            lambda: resume.test_rate_momentum_and_images_are_equal_at_every_step(
                _made(tmp_path / next(places)), 3, 14
            ),
            one_step_late_after_a_resume,
        )


def replaced_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """What was written is not read back."""
    patch.setattr(files, "_compare", lambda path, chunks: files.on_operation("read back", path))


def test_a_file_that_is_not_verified_is_noticed(tmp_path: Path) -> None:
    test = file_of("core/test_files.py").test_a_disk_that_returns_other_bytes_is_noticed
    places = iter("ab")

    def run() -> None:
        with pytest.MonkeyPatch.context() as inner:
            test(_made(tmp_path / next(places)), inner)

    both(run, replaced_without_a_look)


def synced_never(patch: pytest.MonkeyPatch) -> None:
    """Replace without fsync of the directory."""
    patch.setattr(files, "sync_directory", lambda path: None)


@pytest.mark.slow
def test_a_directory_that_is_not_synced_is_noticed(tmp_path: Path) -> None:
    power = file_of("train/test_power_loss.py")
    places = iter("abc")
    with tiny.cheap():
        tiny.go(_made(tmp_path / "straight"), **tiny.SHORTER)
        wanted = tiny.digest(tmp_path / "straight")
        both(
            lambda: power.test_a_run_recovers_from_power_loss(wanted, _made(tmp_path / next(places)), 20),
            synced_never,
        )


def by_position(patch: pytest.MonkeyPatch) -> None:
    """The labels are taken as they come."""

    def mapping(images: ImageSet, classes: Sequence[str]) -> ImageSet:
        return replace(images, classes=tuple(classes))

    patch.setattr(scoring, "by_name", mapping)


def test_classes_by_position_are_noticed() -> None:
    def classes_go_by_name() -> None:
        """The same images, with their classes sorted otherwise and one missing."""
        pixels = np.zeros((3, 1, 4, 4), dtype=np.uint8)
        images = image_set(Arrays(pixels, np.array([0, 1, -1])), ("dog", "cat"))
        found = scoring.by_name(images, ("bird", "cat", "dog"))
        assert found.labels.tolist() == [2, 1, -1]
        assert torch.equal(found.pixels, images.pixels)

    both(classes_go_by_name, by_position)


def _made(path: Path) -> Path:
    path.mkdir()
    return path
