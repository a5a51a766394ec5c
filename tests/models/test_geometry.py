"""Windows against torch's own sizes, losses against gradients; every refusal and every loss as a whole sentence."""

import itertools
import sys
import types
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from convscope.core import catalog
from convscope.core.catalog import Item
from convscope.core.errors import ConfigError
from convscope.models import build
from convscope.models.geometry import Window, looks, lost, windows

LAYERS = [
    *(
        nn.Conv2d(1, 1, k, stride=s, padding=p, dilation=d)
        for k, s, p, d in itertools.product((1, 2, 3), (1, 2, 3), (0, 1), (1, 2))
    ),
    nn.Conv2d(1, 1, 4, padding="same", dilation=2),
    nn.Conv2d(1, 1, (3, 2), stride=(2, 1), padding=(1, 0)),
    *(
        nn.MaxPool2d(k, s, padding=p, ceil_mode=ceil)
        for k, s, p, ceil in itertools.product((2, 3), (1, 2, 3), (0, 1), (False, True))
    ),
    *(nn.AvgPool2d(k, s, ceil_mode=ceil) for k, s, ceil in itertools.product((2, 3), (2, 3), (False, True))),
]


def label(layer: nn.Module) -> str:
    return str(layer).replace("Conv2d(1, 1, ", "conv(")


@pytest.mark.parametrize("layer", LAYERS, ids=label)
def test_a_window_fits_where_torch_finds_a_place_for_it(layer: nn.Module) -> None:
    rows, columns = windows(layer)
    for height, width in itertools.product(range(1, 7), range(1, 7)):
        try:
            places = layer(torch.zeros(1, 1, height, width)).numel()
        except RuntimeError:
            places = 0
        assert (places > 0) == (height >= rows.least and width >= columns.least), (height, width)


@pytest.mark.parametrize(
    "layer", [layer for layer in LAYERS if label(layer).find("dilation=(2") < 0], ids=label
)
def test_what_is_lost_has_no_gradient(layer: nn.Module) -> None:
    rows, _ = windows(layer)
    if isinstance(layer, nn.MaxPool2d):  # the gradient of a maximum says who won, not who was looked at
        layer = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
    for height in range(max(4, rows.least), 9):
        image = torch.rand(1, 1, height, 9, requires_grad=True)
        layer(image).sum().backward()
        seen = image.grad[0, 0].any(dim=1).nonzero()
        between_places = max(0, rows.stride - rows.extent)
        assert rows.lost(height) == max(0, height - 1 - int(seen.max()) - between_places), height


# (W - F + 2P) mod S rows remain; those beyond the padding are lost.
@pytest.mark.parametrize(
    ("window", "pixels", "rows"),
    [
        (Window(2, 2), 5, 1),
        (Window(2, 2), 6, 0),
        (Window(3, 2, 1, 1), 32, 0),  # 31 mod 2 = 1, and that is the padding: every residual network at 32
        (Window(7, 2, 3, 3), 224, 0),
        (Window(11, 4, 2, 2), 224, 0),  # 217 mod 4 = 1 of 2
        (Window(11, 4), 224, 1),  # 213 mod 4: why the paper's 224 is 227 in truth
        (Window(11, 4), 227, 0),
        (
            Window(2, 5),
            9,
            0,
        ),  # two rows at 0 and two at 5, three between them and two after: a gap like the other
        (Window(2, 5), 11, 1),
        (Window(1, 2), 32, 0),  # a projection shortcut sees every second row anyway
        (Window(3, 2, ceil=True), 32, 0),
    ],
)
def test_losses_by_hand(window: Window, pixels: int, rows: int) -> None:
    assert window.lost(pixels) == rows


class Own(nn.Module):
    """A user's: a kernel of 5 with padding 1 after a pool, then a linear layer for 4 x 4 pixels."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.conv = nn.Conv2d(3, 4, 5, padding=1)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(self.pool(x)).flatten(1))


def own(*, classes: int) -> nn.Module:
    return Own(classes)


def never(*, classes: int) -> nn.Module:
    """Makes any map a single pixel first."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, classes, 2))


class Random(nn.Module):
    """Draws, and cannot be run without images."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1) * torch.rand(1)


def drawing(*, classes: int) -> nn.Module:
    return Random()


OWN = (own, never, drawing)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType("mymodels")
    monkeypatch.setitem(sys.modules, "mymodels", module)
    for function in OWN:
        setattr(module, function.__name__, function)
        catalog.register(Item("models", function.__name__, f"mymodels:{function.__name__}", "of my own"))
    yield
    for function in OWN:
        del catalog._CATALOG["models"][function.__name__]


def refusal(*args: object, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        build(*args, **options)
    return str(caught.value)


def test_a_users_own_network_is_refused_with_its_layer() -> None:
    assert refusal("own", classes=3, size=5) == (
        "own cannot take 5x5 images: conv, a window of 5x5, needs at least 3x3 pixels and gets 2x2. "
        "The smallest images that work are 6x6."
    )


def test_where_no_size_works_none_is_named() -> None:
    assert refusal("never", classes=3, size=32) == (
        "never cannot take 32x32 images: 1 needs at least 2x2 pixels and gets 1x1."
    )


def test_what_cannot_be_walked_is_given_out_as_it_is() -> None:
    before = torch.get_rng_state()
    net = build("drawing", classes=3, size=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert net(torch.zeros(2, 3, 5, 5)).shape[0] == 2


def test_a_misfit_of_other_kinds_is_left_to_the_first_batch() -> None:
    assert build("own", classes=3, size=64).fc.in_features == 64


def test_the_smallest_images_are_the_smallest() -> None:
    """simplenn: 12 - 4 = 8, halved 4, - 2 = 2, halved 1."""
    assert refusal("simplenn", classes=3, size=11).endswith(" The smallest images that work are 12x12.")
    build("simplenn", classes=3, size=12)


def test_the_network_is_walked_without_leaving_a_trace() -> None:
    net = build("resnet20", classes=3, width=4, dropout=0.5).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    called: list[object] = []
    net.conv1.register_forward_hook(lambda *inputs: called.append(inputs))
    seen = looks(net, (3, 32, 32))
    assert len(seen) == 19
    assert [look.map for look in seen[-2:]] == [(8, 8), (8, 8)]
    assert called == []
    assert net.training
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())


def test_rows_that_are_never_looked_at_are_named() -> None:
    """33: conv1 leaves 29, of which 28 are pooled to 14; 30: conv1 26, pool1 13, conv2 11, of which 10 are pooled."""
    assert lost(build("simplenn", classes=3), (3, 32, 32)) == ()
    assert lost(build("simplenn", classes=3, size=33), (3, 33, 33)) == (
        "pool1 (2x2, stride 2) never looks at the last row and column of its 29x29 map. Images of 32x32 or 36x36 fit.",
    )
    assert lost(build("simplenn", classes=3, size=30), (3, 30, 30)) == (
        "pool2 (2x2, stride 2) never looks at the last row and column of its 11x11 map. Images of 28x28 or 32x32 fit.",
    )


@pytest.mark.parametrize(
    ("layer", "shape", "sentence"),
    [
        (
            nn.Conv2d(1, 1, 3, stride=4),
            (1, 5, 7),
            "0 (3x3, stride 4) never looks at the last 1 row of its 5x7 map.",
        ),
        (
            nn.MaxPool2d((2, 5), (3, 5)),
            (1, 6, 8),
            "0 (2x5, stride 3x5) never looks at the last 3 columns of its 6x8 map.",
        ),
        (
            nn.MaxPool2d(5),
            (1, 7, 7),
            "0 (5x5, stride 5) never looks at the last 2 rows and columns of its 7x7 map. Images of 5x5 or 10x10 fit.",
        ),
        (
            nn.MaxPool2d(40),
            (1, 79, 79),
            "0 (40x40, stride 40) never looks at the last 39 rows and columns of its 79x79 map. Images of 80x80 fit.",
        ),
    ],
)
def test_losses_in_words(layer: nn.Module, shape: tuple[int, int, int], sentence: str) -> None:
    assert lost(nn.Sequential(layer), shape) == (sentence,)
