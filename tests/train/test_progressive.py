"""A run that begins with smaller images: what they are, what they cost, and that a resume changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from convscope.core.errors import ConfigError
from convscope.data import load_config
from convscope.train import prepare, run
from convscope.train.loop import Session, shrunk


def session(**changes: object) -> Session:
    config = tiny.config("resnet", **changes)
    data = load_config(config.data)
    made, _, _ = prepare.build_session(run.resolve(config, data), data, torch.device("cpu"))
    return made


def test_smaller_images_are_those_of_another_implementation() -> None:
    """Pillow's bilinear resampling, which also weighs all pixels that a new one covers."""
    pixels = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    small = shrunk(torch.from_numpy(pixels)[None, None])[0, 0]
    expected = np.asarray(Image.fromarray(pixels).resize((24, 24), Image.Resampling.BILINEAR))
    assert np.allclose(small.numpy(), expected, atol=1e-5)


def test_the_first_third_of_the_steps_is_small_and_the_cost_adds_up() -> None:
    made = session(progressive=1 / 3)
    sides = [made.batch(step)[0].shape[-1] for step in range(tiny.STEPS)]
    assert sides == [12] * 9 + [16] * 18
    assert made.work(0, tiny.STEPS) == 9 * 9 / 16 + 18
    assert made.work(7, 11) == 2 * 9 / 16 + 2
    assert sum(made.work(step, step + 1) for step in range(5, 20)) == made.work(5, 20)
    assert session(progressive=0.0).work(0, tiny.STEPS) == tiny.STEPS


def test_a_network_of_one_size_is_refused() -> None:
    config = tiny.config("lenet", progressive=0.5)
    data = load_config(config.data)
    with pytest.raises(ConfigError) as error:
        prepare.build_session(run.resolve(config, data), data, torch.device("cpu"))
    assert str(error.value) == (
        "With --progressive the run begins with images of 21x21 pixels, and lenet5 takes 28x28 only. Leave "
        "--progressive out, or choose a network that averages over the whole map, such as resnet20."
    )


@pytest.mark.usefixtures("cheap")
def test_a_run_killed_among_the_small_steps_ends_the_same(tmp_path: Path) -> None:
    tiny.go(tmp_path / "whole", "resnet", progressive=0.5)
    with pytest.raises(tiny.Crash), tiny.traced(tiny.crash_after(8)):
        tiny.go(tmp_path / "killed", "resnet", progressive=0.5)
    tiny.go(tmp_path / "killed", "resnet", progressive=0.5)
    assert tiny.digest(tmp_path / "killed") == tiny.digest(tmp_path / "whole")
