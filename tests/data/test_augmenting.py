"""What an augmentation asks for is what it gets; a set is enlarged once."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.core import catalog
from convscope.core.catalog import Item
from convscope.core.config import Choice
from convscope.core.errors import ConfigError
from convscope.core.streams import Streams
from convscope.data import augmenting
from convscope.data.augmenting import Augmenter, enlarged
from convscope.data.images import Arrays, ImageSet, image_set

WHICH = torch.tensor([7, 1, 4])


def split(count: int, side: int = 8) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    files = tuple(f"{i}.png" for i in range(count))
    return image_set(Arrays(pixels, np.arange(count) % 3, files), ("a", "b", "c"))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], Choice]:
    """A user's own augmentation, under the name of its function; gone after the test."""
    monkeypatch.setitem(sys.modules, "of_this_test", sys.modules[__name__])

    def register(function: Callable[..., Any]) -> Choice:
        name = function.__name__
        monkeypatch.setattr(sys.modules[__name__], name, function, raising=False)
        item = Item("augmentations", name, f"of_this_test:{name}", "mine")
        monkeypatch.setitem(catalog._CATALOG["augmentations"], name, item)
        return Choice(name=name)

    return register


def changed(*choices: Choice, step: int = 5, epoch: int = 2) -> tuple[Tensor, Tensor | None]:
    given = split(3)
    shares = torch.eye(3)
    return Augmenter(choices)(given.pixels, shares, which=WHICH, epoch=epoch, step=step, streams=Streams(1))


def test_each_gets_what_it_asks_for_by_name(registered: Callable[..., Choice]) -> None:
    got: dict[str, Any] = {}

    def all_of_it(lasting, epoch, shares, which, generator, images, strength=0.5):  # type: ignore[no-untyped-def]
        got.update(locals())
        return images + 1, shares * 2

    def after(images, generator):  # type: ignore[no-untyped-def]
        got["later"] = generator
        return images + 1

    images, shares = changed(registered(all_of_it).having(strength=0.25), registered(after))
    assert torch.equal(images, split(3).pixels + 2) and torch.equal(shares, 2 * torch.eye(3))
    assert (got["epoch"], got["strength"], got["which"].tolist()) == (2, 0.25, [7, 1, 4])
    assert torch.equal(got["images"], split(3).pixels) and torch.equal(got["shares"], torch.eye(3))
    assert got["later"] is got["generator"]
    fresh = Streams(1).generator("augment", 5)
    assert got["generator"].random() == fresh.random()


def test_what_lasts_is_the_same_at_every_step_and_another_for_another(
    registered: Callable[..., Choice],
) -> None:
    found = []

    def note(images, lasting):  # type: ignore[no-untyped-def]
        found.append(lasting.random())
        return images

    choice = registered(note)
    changed(choice, choice, step=0)
    changed(choice, choice, step=9, epoch=7)
    assert found[:2] == found[2:] and found[0] != found[1]
    steps = {Streams(1).generator("augment", step).random() for step in range(100)}
    assert not steps & set(found)


def test_what_nobody_supplies_is_refused(registered: Callable[..., Choice]) -> None:
    def needy(images, weather):  # type: ignore[no-untyped-def]
        return images

    with pytest.raises(ConfigError) as error:
        Augmenter([Choice(name="crop"), registered(needy)])
    assert str(error.value) == (
        "The augmentation 'needy' asks for 'weather', which nobody supplies. It can ask for images, generator, "
        "shares, which, epoch, lasting; a parameter with a default is an option."
    )


def test_who_asks_for_shares() -> None:
    assert Augmenter([Choice(name="mixup"), Choice(name="flip")]).asking("shares") == ["mixup"]
    assert Augmenter([]).asking("shares") == []


def test_a_set_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The originals, then the copies, each as its part of the set is changed with its own draws."""
    monkeypatch.setattr(augmenting, "PART", 4)
    whole = split(20)
    images = whole.subset(torch.tensor([19, 3, 8, 0, 11, 5, 6, 7, 2, 14]))
    choices = (
        Choice(name="crop", options={"padding": 2}),
        Choice(name="flip", options={"how": "alternating"}),
    )
    found = enlarged(images, choices, 2, Streams(1))
    assert len(found) == 30 and found.classes == images.classes and found.shape == images.shape
    assert torch.equal(found.labels, images.labels.repeat(3)) and found.files == images.files * 3
    pixels = found.batch(torch.arange(30))
    assert torch.equal(pixels[:10], images.batch(torch.arange(10)))
    step = 0
    for epoch in range(2):
        for which in torch.split(torch.arange(10), 4):
            expected, _ = Augmenter(choices)(
                images.batch(which), None, which=which, epoch=epoch, step=step, streams=Streams(1)
            )
            assert torch.equal(pixels[10 * (epoch + 1) + which], expected)
            step += 1
    assert step == 6 and not torch.equal(pixels[10:20], pixels[20:])
    assert torch.equal(whole.pixels, split(20).pixels)


def test_copies_of_a_set_differ_from_one_another() -> None:
    found = enlarged(split(5), (Choice(name="crop"),), 3, Streams(1))
    for image in range(5):
        forms = {found.pixels[copy * 5 + image].numpy().tobytes() for copy in range(4)}
        assert len(forms) == 4


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            (),
            "--enlarge makes changed copies of the images, and there is no augmentation to change them. "
            "Choose some, e.g. --augment crop flip, or leave --enlarge out.",
        ),
        (
            ("crop", "mixup"),
            "--enlarge cannot use mixup: a copy keeps the label of its image, and mixed images have more than "
            "one. Leave it out of --augment, or leave --enlarge out, so that images change at every step.",
        ),
        (
            ("mixup", "flip", "cutmix"),
            "--enlarge cannot use mixup and cutmix: a copy keeps the label of its image, and mixed images have "
            "more than one. Leave them out of --augment, or leave --enlarge out, so that images change at every "
            "step.",
        ),
    ],
)
def test_what_cannot_enlarge(names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        enlarged(split(4), tuple(Choice(name=name) for name in names), 1, Streams(0))
    assert str(error.value) == sentence
