"""What is found out before the first step, and that finding it out changes nothing."""

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from convscope.data import load_config
from convscope.train import preflight, prepare, run
from convscope.train.events import Prepared
from convscope.train.loop import Session
from convscope.train.preflight import Overfit


def session(**changes: Any) -> Session:
    config = tiny.config(**changes)
    data = load_config(config.data)
    made, _, _ = prepare.build_session(run.resolve(config, data), data, torch.device("cpu"))
    return made


def look(made: Session) -> preflight.Preflight:
    from convscope.compute.device import place

    return preflight.preflight(made, place(made.model, torch.device("cpu")), "float32 everywhere", 4)


@pytest.mark.usefixtures("cheap")
def test_the_first_loss_and_the_input_are_those_of_the_first_batch() -> None:
    made = session()
    found = look(made)
    images, labels = made.batches.at(0)
    assert found.chance_loss == math.log(4)
    assert 0.5 * math.log(4) < found.first_loss < 2 * math.log(4)
    assert found.input_mean == pytest.approx(float(images.mean()))
    assert abs(found.input_mean) < 0.2 and found.input_std == pytest.approx(1, abs=0.2)
    assert found.warnings == () and found.precision == "float32 everywhere"
    assert found.step_s > 0 and found.remaining_s == found.step_s * tiny.STEPS
    assert len(labels) == 32


@pytest.mark.usefixtures("cheap")
def test_nothing_of_the_run_changes() -> None:
    """Neither weights nor running means nor gradients nor the mode."""
    made = session()
    made.model.eval()
    before = tiny.of_tensors(made.model.state_dict())
    look(made)
    preflight.overfit_one_batch(made, steps=3)
    assert tiny.of_tensors(made.model.state_dict()) == before
    assert all(parameter.grad is None for parameter in made.model.parameters())
    assert not made.model.training and made.step == 0 and not made.optimizer.state


@pytest.mark.usefixtures("cheap")
def test_a_run_reports_it_before_its_first_step(tmp_path: Path) -> None:
    events: list[Any] = []
    tiny.go(tmp_path, watch=events.append, **tiny.SHORTER)
    first = events[0]
    assert isinstance(first, Prepared)
    assert (first.start, first.total, first.notes) == (0, 12, ())
    assert first.decay[0].startswith("0.0005 on ") and first.decay[1].startswith("none on ")


@pytest.mark.parametrize(
    ("loss", "mean", "std", "expected"),
    [
        (1.4, 0.0, 1.0, ()),
        (None, 0.5, 0.5, ()),
        (
            9.0,
            0.0,
            1.0,
            (
                "The first loss is 9.000; a network that knows nothing has ln K = 1.386 (S1.25). The initialisation "
                "is far too large, or the labels are not what they should be.",
            ),
        ),
        (
            1.4,
            120.0,
            60.0,
            (
                "The input has mean 120.00 and deviation 60.00; about 0 and 1 is what initialisations assume "
                "(S3.74). Are the pixels what you think they are?",
            ),
        ),
    ],
)
def test_the_warnings(loss: float | None, mean: float, std: float, expected: tuple[str, ...]) -> None:
    assert preflight.warnings(loss, math.log(4), mean, std) == expected


def test_a_network_learns_one_batch_by_heart() -> None:
    found = preflight.overfit_one_batch(session())
    assert found.images == 32 and found.learned and found.steps <= 200
    assert found.last_loss < found.first_loss / 10


def test_random_inputs_of_nothing_cannot_be_learned() -> None:
    """All images alike, several classes: the loss stays at about the entropy of the labels."""
    made = session()
    at = made.batches.at
    made.batches.at = lambda step: (torch.zeros_like(at(step)[0]), at(step)[1])  # type: ignore[method-assign]
    found = preflight.overfit_one_batch(made, steps=20)
    assert not found.learned and found.steps == 20


def test_the_verdict_in_words() -> None:
    assert str(Overfit(32, 60, 2.0, 0.1)) == (
        "One batch of 32 images by heart: loss 2.000 -> 0.100 in 60 steps; the network can learn these images."
    )
    assert str(Overfit(32, 200, 2.0, 1.0)) == (
        "One batch of 32 images by heart: loss 2.000 -> 1.000 in 200 steps; it should have fallen below a tenth: look "
        "at the labels, the learning rate and the network."
    )
