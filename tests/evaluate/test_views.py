"""What is shown to the network, pixel by pixel, and what becomes of its answers."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.core.errors import ConfigError, UnknownName
from convscope.data import Normaliser
from convscope.data.images import Arrays, image_set
from convscope.evaluate.predict import logits
from convscope.evaluate.views import KINDS, Viewed, reach, views_of
from convscope.models import build

IMAGE = torch.arange(9.0).view(1, 1, 3, 3)  # 0 1 2 / 3 4 5 / 6 7 8


def rows(view: Tensor) -> list[list[float]]:
    return [list(map(float, row)) for row in view[0, 0]]


def test_flip_by_hand() -> None:
    plain, mirrored = views_of(IMAGE, "flip")
    assert rows(plain) == rows(IMAGE)
    assert rows(mirrored) == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]


def test_shift_by_hand() -> None:
    """The window goes up, down, left, right; beyond the edge stands what stands as far inside it."""
    plain, up, down, left, right = map(rows, views_of(IMAGE, "shift", 1))
    assert plain == rows(IMAGE)
    assert up == [[3, 4, 5], [0, 1, 2], [3, 4, 5]]
    assert down == [[3, 4, 5], [6, 7, 8], [3, 4, 5]]
    assert left == [[1, 0, 1], [4, 3, 4], [7, 6, 7]]
    assert right == [[1, 2, 1], [4, 5, 4], [7, 8, 7]]


def test_ten_crop_by_hand() -> None:
    seen = views_of(IMAGE, "ten-crop", 2)
    padded = np.pad(IMAGE[0, 0].numpy(), 2, mode="reflect")
    corners = [(2, 2), (0, 0), (0, 4), (4, 0), (4, 4)]
    expected = [padded[top : top + 3, left : left + 3] for top, left in corners]
    expected += [window[:, ::-1] for window in expected]
    assert len(seen) == 10
    for view, window in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(view[0, 0].numpy(), window)


def test_reach() -> None:
    """AlexNet's 224 in 256 is 16 off centre; CIFAR's 32 in proportion."""
    assert [reach(*size) for size in ((224, 224), (32, 32), (28, 28), (32, 320), (5, 5))] == [16, 2, 2, 2, 1]


class TopLeft(nn.Module):
    """Two classes; the logit of the first is the pixel in the corner."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([images[:, 0, 0, 0], torch.zeros(len(images))], 1)


def test_the_mean_by_hand() -> None:
    """The corner is 0, and 2 in the mirror: sigmoid(0) = 0.5 and sigmoid(2) = 0.880797."""
    output = Viewed(TopLeft(), "flip")(IMAGE)
    assert output.exp()[0].tolist() == pytest.approx([(0.5 + 0.8807970780) / 2, (0.5 + 0.1192029220) / 2])


class Blind(nn.Module):
    """Sees the largest pixel of each channel, wherever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 4)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.head(images.amax((2, 3)))
        return answer


def some_images(count: int = 6):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 16, 16), dtype=np.uint8)
    return image_set(Arrays(pixels, np.zeros(count, dtype=np.int64)), tuple("abcd"))


def test_a_network_that_cannot_tell_the_views_apart_says_the_same() -> None:
    model, normalise = Blind(), Normaliser((0.5,), (0.5,))
    plain = logits(model, some_images(), normalise)
    seen = logits(Viewed(model, "flip"), some_images(), normalise)
    # Rounded to float32 once, in the end.
    assert torch.equal(seen, plain.double().log_softmax(1).float())
    assert torch.equal(seen.argmax(1), plain.argmax(1))


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_passes_as_it_says_and_the_network_unchanged(kind) -> None:
    model = build("lenet5", classes=4, channels=1, size=28, norm="batch", dropout=0.5).train()
    seen: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), dtype=np.uint8)
    images = image_set(Arrays(pixels, np.zeros(3, dtype=np.int64)), tuple("abcd"))
    viewed = Viewed(model, kind)
    first = logits(viewed, images, Normaliser((0.5,), (0.5,)))
    handle.remove()
    assert len(seen) == viewed.passes
    assert len({view.numpy().tobytes() for view in seen}) == viewed.passes
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(first, logits(viewed, images, Normaliser((0.5,), (0.5,))))
    torch.testing.assert_close(first.exp().sum(1), torch.ones(3))


def test_what_cannot_be_seen() -> None:
    with pytest.raises(ConfigError) as error:
        views_of(IMAGE, "shift", 3)
    assert str(error.value) == "Images of 3 x 3 pixels can be moved by 1 to 2 pixels, not 3."
    for refused in (lambda: Viewed(TopLeft(), "flop"), lambda: views_of(IMAGE, "flop")):
        with pytest.raises(UnknownName) as unknown:
            refused()
        assert str(unknown.value) == (
            "No set of views is called 'flop'. Did you mean 'flip'? Known: flip, shift, ten-crop."
        )
