"""What every model of the catalog promises.  A new one is tested here without a new test.

A model that is slow at 3x32x32 gets a line in SMALL; one with forms of its own gets lines in FORMS.
"""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core import catalog
from convscope.core.errors import ConfigError
from convscope.models import build, summarise

CLASSES = 5


class Case(NamedTuple):
    name: str
    channels: int
    size: int
    options: dict[str, Any]

    def build(self, seed: int = 0) -> nn.Module:
        """The model of this case."""
        shape = {"classes": CLASSES, "channels": self.channels, "size": self.size}
        return build(self.name, **shape, seed=seed, **self.options)

    def images(self, count: int = 8) -> Tensor:
        """Noise of the right shape, channels-last."""
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(count, self.channels, self.size, self.size, generator=generator)
        return noise.to(memory_format=torch.channels_last)


SMALL = {
    "simplenn": Case("simplenn", 3, 16, {}),
    "lenet5": Case("lenet5", 1, 28, {}),
    "logistic": Case("logistic", 3, 8, {}),
    "mlp": Case("mlp", 3, 8, {"width": 16}),
    **{f"resnet{depth}": Case(f"resnet{depth}", 3, 8, {"width": 4}) for depth in (20, 32, 44, 56, 110)},
}
FORMS = {
    "simplenn, batch norm": Case("simplenn", 3, 16, {"norm": "batch"}),
    "lenet5, original": Case("lenet5", 1, 28, {"version": "original"}),
    "lenet5, batch norm": Case("lenet5", 1, 28, {"norm": "batch"}),
    "resnet20, B": Case("resnet20", 3, 8, {"width": 4, "shortcut": "B"}),
    "resnet20, plain": Case("resnet20", 3, 8, {"width": 4, "shortcut": "none"}),
    "resnet20, version 2": Case("resnet20", 3, 8, {"width": 4, "version": 2}),
    "resnet20, swish": Case("resnet20", 3, 8, {"width": 4, "activation": "swish"}),
    "mlp, two layers, batch norm": Case("mlp", 3, 8, {"width": 16, "hidden": 2, "norm": "batch"}),
    "mlp, fixed": Case("mlp", 3, 8, {"width": 64, "fixed": True}),
}
CASES = {name: SMALL.get(name, Case(name, 3, 32, {})) for name in catalog.names("models")} | FORMS
# The first and the last of the family share all their code with these.
SLOW = ("resnet32", "resnet44", "resnet56")
PARAMS = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES]


@pytest.fixture(params=PARAMS)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def largest(x: Tensor) -> float:
    return x.abs().max().item()


def test_one_logit_per_image_and_class(case: Case) -> None:
    logits = case.build()(case.images())
    assert logits.shape == (8, CLASSES)
    assert logits.dtype == torch.float32


def test_every_parameter_that_learns_gets_a_finite_gradient(case: Case) -> None:
    net = case.build().train()
    F.cross_entropy(net(case.images()), torch.arange(8) % CLASSES).backward()
    learning = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
    assert [name for name, gradient in learning.items() if gradient is None or not gradient.any()] == []
    assert all(gradient.isfinite().all() for gradient in learning.values())


def test_the_seed_decides_the_weights_and_nothing_else_is_drawn(case: Case) -> None:
    before = torch.get_rng_state()
    first, again, other = (case.build(seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    # Not the codes of the original LeNet-5, which are the same in all networks.
    weights = [key for key in first if key.endswith("weight") and first[key].unique().numel() > 1]
    assert weights
    assert not any(torch.equal(first[key], other[key]) for key in weights)


def test_an_image_is_classified_the_same_alone_or_in_company(case: Case) -> None:
    net, images = case.build().eval(), case.images()
    together = net(images)
    alone = torch.cat([net(image[None]) for image in images])
    assert largest(together - alone) <= 1e-5 * largest(together)


def test_the_memory_format_changes_nothing(case: Case) -> None:
    net, images = case.build().eval(), case.images()
    last = net(images)
    first = net.to(memory_format=torch.contiguous_format)(images.contiguous())
    assert largest(last - first) <= 1e-5 * largest(last)


def test_float32_is_close_to_float64(case: Case) -> None:
    net, images = case.build().eval(), case.images()
    single = net(images).double()
    double = net.double()(images.double())
    assert largest(single - double) <= 1e-4 * largest(double)


def test_the_state_dict_carries_the_whole_network(case: Case) -> None:
    trained, fresh = case.build(0), case.build(1)
    trained.train()(case.images())  # moves the running statistics
    fresh.load_state_dict(trained.state_dict())
    trained.eval(), fresh.eval()
    assert torch.equal(trained(case.images()), fresh(case.images()))


def test_the_input_is_left_alone(case: Case) -> None:
    images = case.images()
    before = images.clone()
    case.build()(images)
    assert torch.equal(images, before)


def test_the_loss_falls(case: Case) -> None:
    net, images = case.build().train(), case.images(64)
    labels = torch.arange(64) % CLASSES
    # Something to learn: a brighter stripe at a place that depends on the class.
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, :, label * case.size // CLASSES] += 3
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) / 3 < 0.7 * losses[0]


@pytest.mark.parametrize("name", catalog.names("models"))
def test_the_docstring_names_its_source(name: str) -> None:
    text = catalog.find("models", name).load().__doc__ or ""
    assert "Reference:\n" in text


@pytest.mark.parametrize("name", catalog.names("models"))
def test_an_unknown_option_is_answered_with_all_known_ones(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(name, classes=CLASSES, zzz=1)
    known = ", ".join(sorted(catalog.options(catalog.find("models", name))))
    assert str(caught.value) == f"The model {name!r} has no option 'zzz'. Options: {known}."


GOLDEN = {
    **{name: (name, 3, 32, {}) for name in catalog.names("models")},
    "lenet5-original": ("lenet5", 1, 28, {"version": "original"}),
    "resnet20-b": ("resnet20", 3, 32, {"shortcut": "B"}),
    "resnet20-v2": ("resnet20", 3, 32, {"version": 2}),
}


@pytest.mark.parametrize("file", GOLDEN)
def test_the_summary_stays_what_it_is(file: str, golden) -> None:
    name, channels, size, options = GOLDEN[file]
    net = build(name, classes=10, channels=channels, size=size, **options)
    golden(f"summary-{file}.txt", str(summarise(net, (channels, size, size))))
