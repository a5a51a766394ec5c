"""A batch in parts, and a device without memory: row E3 of the fault matrix, with a device that only says so."""

from pathlib import Path

import pytest
import tiny
import torch
from torch import nn

from convscope.core.errors import NoMemory
from convscope.data import load_config
from convscope.evaluate.predict import logits
from convscope.train import loop, memory

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


@pytest.fixture
def plain_net(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny.NETS, "plain", {"model": {"name": "lenet5"}, "recipe": {"lr": 0.05}})


def small_device(model: nn.Module, fits: int) -> None:
    """The network's first layer finds no memory for more than so many images."""

    def look(module: nn.Module, given: tuple[torch.Tensor]) -> None:
        if len(given[0]) > fits:
            raise torch.OutOfMemoryError(f"{FULL}\nmore of it")

    next(module for module in model.modules() if isinstance(module, nn.Conv2d)).register_forward_pre_hook(
        look
    )


def gradients(made: loop.Session) -> torch.Tensor:
    images, labels = made.batch(0)
    loop.gradients(made, images, labels)
    return torch.cat([p.grad.flatten() for p in made.model.parameters() if p.grad is not None])


@pytest.mark.usefixtures("plain_net")
@pytest.mark.parametrize("parts", [2, 3, 32])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_the_gradient_of_a_batch_is_that_of_its_parts(parts: int, weights: str) -> None:
    whole = gradients(tiny.session("plain", class_weights=weights, l1=1e-3))
    split = gradients(tiny.session("plain", class_weights=weights, l1=1e-3, accumulate=parts))
    assert torch.allclose(split, whole, atol=1e-5 * float(whole.abs().max()))
    assert not torch.allclose(
        gradients(tiny.session("plain", batch_size=16, class_weights=weights)), whole, atol=1e-4
    )


@pytest.mark.usefixtures("plain_net", "cheap")
@pytest.mark.parametrize("fits", [20, 9, 1])
def test_without_a_norm_the_batch_is_halved(fits: int) -> None:
    """At step 1: as many parts as are needed, the same weights to 1e-5 after a step, and it stays so."""
    easy, hard = tiny.session("plain"), tiny.session("plain")
    small_device(hard.model, fits)
    for made in (easy, hard):
        loop.take_step(made)
    assert hard.parts == {20: 2, 9: 4, 1: 32}[fits]
    for a, b in zip(easy.model.parameters(), hard.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert hard.tally.correct == easy.tally.correct
    assert hard.tally.loss == pytest.approx(easy.tally.loss, rel=1e-5)


@pytest.mark.usefixtures("plain_net", "cheap")
def test_a_run_that_meets_it_half_way_ends_nearly_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny.go(tmp_path / "whole", "plain")
    original = loop.gradients

    def full(made: loop.Session, *given: torch.Tensor) -> tuple[float, torch.Tensor]:
        if made.step >= 13 and made.parts == 1:
            raise torch.OutOfMemoryError(FULL)
        return original(made, *given)

    monkeypatch.setattr(loop, "gradients", full)
    halved = tiny.go(tmp_path / "halved", "plain")
    assert halved.snapshot("last").state["parts"] == 2
    for a, b in zip(whole.model("last").parameters(), halved.model("last").parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.usefixtures("cheap")
def test_with_a_norm_the_run_stops_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(made: loop.Session, *given: torch.Tensor) -> tuple[float, torch.Tensor]:
        made.model.train()
        raise torch.OutOfMemoryError(FULL)

    made = tiny.session("resnet")
    monkeypatch.setattr(loop, "gradients", full)
    with pytest.raises(NoMemory) as error:
        loop.take_step(made)
    assert str(error.value) == (
        f"Step 0: cpu has no memory for a batch of 32 images ({FULL}). The network's batch norms see a whole "
        f"batch at a time, so processing it in parts is another training: allow it with --accumulate 2, or "
        f"choose a smaller --batch-size."
    )
    assert error.value.exit_code == 5


@pytest.mark.usefixtures("cheap")
def test_with_a_norm_and_leave_it_is_halved() -> None:
    made = tiny.session("resnet", accumulate=2)
    small_device(made.model, 9)
    loop.take_step(made)
    assert made.parts == 4


@pytest.mark.usefixtures("plain_net", "cheap")
def test_a_single_image_that_does_not_fit_is_the_end() -> None:
    made = tiny.session("plain")
    small_device(made.model, 0)
    with pytest.raises(NoMemory) as error:
        loop.take_step(made)
    assert str(error.value) == (
        f"Step 0: cpu has no memory for a single image ({FULL}). Choose a smaller network or smaller images "
        f"(--size)."
    )


@pytest.mark.usefixtures("plain_net", "cheap")
def test_scoring_takes_fewer_images_at_a_time() -> None:
    made = tiny.session("plain")
    data = load_config(tiny.config("plain").data)
    whole = logits(made.model, data.train, made.batches.normalise)
    small_device(made.model, 7)
    assert torch.allclose(logits(made.model, data.train, made.batches.normalise), whole, atol=1e-5)
    small_device(made.model, 0)
    with pytest.raises(NoMemory) as error:
        logits(made.model, data.train, made.batches.normalise)
    assert str(error.value) == f"cpu has no memory for a single image: {FULL}\nmore of it"


@pytest.mark.parametrize(
    ("images", "parts", "sizes"), [(14, 13, [2] * 7), (15, 7, [3] * 5), (13, 4, [4, 4, 5]), (7, 9, [2, 2, 3])]
)
def test_no_part_has_a_single_image_where_a_norm_needs_two(images: int, parts: int, sizes: list[int]) -> None:
    made = tiny.session("resnet", accumulate=parts)
    made.model.train()
    assert memory.part_sizes(made, images) == sizes
    made.model.eval()
    assert (
        sum(memory.part_sizes(made, images)) == images and memory.part_sizes(made, 3 * parts) == [3] * parts
    )


@pytest.mark.usefixtures("cheap")
def test_no_room_for_what_the_optimizer_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam asks for two more copies of the weights at its first step, when the gradients are there already."""

    def full(optimizer: torch.optim.Optimizer) -> None:
        raise torch.OutOfMemoryError(f"{FULL}\nmore of it")

    made = tiny.session("resnet")
    monkeypatch.setattr(made.optimizer, "step", lambda: full(made.optimizer))
    with pytest.raises(NoMemory) as error:
        loop.take_step(made)
    assert str(error.value) == (
        f"Step 0: cpu has no memory for what a step needs besides the network ({FULL}). Choose a smaller network, a "
        f"smaller --batch-size, or an --optimizer that remembers less, such as sgd."
    )
