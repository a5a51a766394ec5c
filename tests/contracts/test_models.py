"""What every model of the catalog promises.  A new one is tested here without a new test.

One with forms of its own gets lines in FORMS.
"""

import functools
import math
from typing import Any

import pytest
import torch
from cases import CLASSES, TWINS, Case, smallest
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core import catalog
from convscope.core.errors import ConfigError
from convscope.models import build, summarise
from convscope.models.fold import fold
from convscope.train.objective import logits_of

FORMS = {
    "simplenn, batch norm": ("simplenn", {"norm": "batch"}),
    "lenet5, original": ("lenet5", {"version": "original"}),
    "lenet5, batch norm": ("lenet5", {"norm": "batch"}),
    "resnet20, B": ("resnet20", {"shortcut": "B"}),
    "resnet20, plain": ("resnet20", {"shortcut": "none"}),
    "resnet20, version 2": ("resnet20", {"version": 2}),
    "resnet20, swish": ("resnet20", {"activation": "swish"}),
    "resnet20, separable": ("resnet20", {"separable": True}),
    "resnet50, version 1": ("resnet50", {"version": "1"}),
    "resnet50, version 2": ("resnet50", {"version": "2"}),
    "resnext29, explicit": ("resnext29", {"paths": "explicit"}),
    "resnet18-cifar, 7x7": ("resnet18-cifar", {"stem": "7x7"}),
    "alexnet, two towers": ("alexnet", {"towers": 2}),
    "vgg11, batch norm": ("vgg11", {"norm": "batch"}),
    "vgg11-cifar, 5x5": ("vgg11-cifar", {"kernel": 5}),
    "googlenet, paper": ("googlenet", {"variant": "paper"}),
    "googlenet, batch norm": ("googlenet", {"variant": "bn"}),
    "googlenet, auxiliary heads": ("googlenet", {"auxiliary": True}),
    "googlenet-cifar, slide": ("googlenet-cifar", {"module_3b": "slide"}),
    "mlp, two layers, batch norm": ("mlp", {"hidden": 2, "norm": "batch"}),
    "mlp, fixed": ("mlp", {"fixed": True, "width": 64}),
}
CASES = {name: (name, {}) for name in catalog.names("models") if not TWINS.fullmatch(name)} | FORMS
SLOW = ("vgg13", "vgg16")  # between vgg11 and vgg19
PARAMS = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES]


@functools.cache
def small_case(case: str) -> Case:
    name, options = CASES[case]
    found = smallest(name, **options)
    # The heads enlarge what reaches them to 4x4, and a map of one pixel has no order that could be kept.
    return found._replace(size=64) if "auxiliary" in options else found


@pytest.fixture(params=PARAMS)
def case(request: pytest.FixtureRequest) -> Case:
    return small_case(request.param)


def cost(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, of auxiliary classifiers too."""
    output = net(images)
    outputs = output if isinstance(output, tuple) else (output,)
    return torch.stack([F.cross_entropy(logits, labels) for logits in outputs]).sum()


def largest(x: Tensor) -> float:
    return x.abs().max().item()


def test_one_logit_per_image_and_class(case: Case) -> None:
    logits = logits_of(case.build()(case.images()))
    assert logits.shape == (8, CLASSES)
    assert logits.dtype == torch.float32


def test_every_parameter_that_learns_gets_a_finite_gradient(case: Case) -> None:
    net = case.build().train()
    cost(net, case.images(), torch.arange(8) % CLASSES).backward()
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


# Goes red when a shortcut takes every second pixel with a slice, and with torch's own response normalisation.
def test_every_layer_meets_channels_last_in_both_directions(case: Case) -> None:
    net = case.build().train()
    found: dict[str, str] = {}

    def look(name: str, what: str, x: Tensor) -> None:
        # Maps of one pixel have their numbers in the same order either way, whatever their strides.
        if x.ndim == 4 and x.shape[1] > 1 and x[0, 0].numel() > 1 and x.stride(1) > 1:
            found[name] = what

    def hook(name: str) -> Any:
        def record(module: nn.Module, inputs: Any, output: Tensor) -> None:
            look(name, "input", inputs[0])
            look(name, "output", output)
            # Where a pool's result is flattened, its gradient comes in the order of the linear layer.
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and output.requires_grad:
                output.register_hook(lambda gradient: look(name, "gradient", gradient))

        return record

    for name, module in net.named_modules():
        if not list(module.children()):
            module.register_forward_hook(hook(name))
    cost(net, case.images(), torch.arange(8) % CLASSES).backward()
    assert found == {}


def test_folding_the_norms_changes_nothing(case: Case) -> None:
    """S3.87, with statistics and shifts that are not those of a fresh network."""
    net = case.build()
    generator = torch.Generator().manual_seed(2)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (norm.bias.data, norm.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
    folded, expected = fold(net), net.eval()(case.images())
    assert largest(folded(case.images()) - expected) <= 1e-5 * largest(expected)


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
    """Below what knowing nothing costs, ln K, in 20 steps; deep networks without norms need a small rate."""
    images, labels = case.images(64), torch.arange(64) % CLASSES
    images += 1.5 * (labels[:, None, None, None] - CLASSES // 2)  # a class has a brightness
    best = math.inf
    for rate in (0.003, 0.01, 0.001):
        net = case.build().train()
        optimizer = torch.optim.Adam(net.parameters(), lr=rate)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = cost(net, images, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        best = min(best, sum(losses[-3:]) / 3)
        if best < 0.93 * math.log(CLASSES):
            return
    raise AssertionError(f"the loss is {best:.3f} after 20 steps, and was {losses[0]:.3f}")


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


def in_full(name: str, channels: int = 3, **options: Any) -> tuple[nn.Module, tuple[int, int, int]]:
    """A model as published, without numbers, and the shape of its images."""
    item = catalog.find("models", name)
    classes, size = 1000 if item.size == 224 else 10, item.size
    if options:  # the partial connections of the original LeNet-5 are counted when it is built
        return build(name, classes=classes, channels=channels, size=size, **options), (channels, size, size)
    with torch.device("meta"):
        net = catalog.call("models", name, options, classes=classes, channels=channels, size=size)
    return net, (channels, size, size)


def test_the_costs_of_all_models_as_published_stay_what_they_are(golden) -> None:
    """Parameters and multiply-adds, of convolutions and of linear layers, and how far the last map sees."""
    lines = [f"{'model':<18}{'image':>11}{'layers':>8}" + "".join(f"{c:>16}" for c in COLUMNS)]
    for name in catalog.names("models"):
        net, shape = in_full(name)
        found = summarise(net, shape)
        conv, linear = found.of("convolutions"), found.of("linear")
        numbers = (found.parameters, conv[0], linear[0], found.macs, conv[1], linear[1])
        image = "x".join(map(str, shape))
        lines.append(f"{name:<18}{image:>11}{len(found.rows):>8}" + "".join(f"{n:>16,}" for n in numbers))
    golden("models.txt", "\n".join(lines) + "\n")


COLUMNS = ("parameters", "convolutions", "linear", "MACs", "convolutions", "linear")
SUMMARIES = {
    **{
        name: (name, 3, {})
        for name in ("simplenn", "lenet5", "logistic", "mlp", "resnet20", "nin", "resnet18-cifar")
    },
    "lenet5-original": ("lenet5", 1, {"version": "original"}),
    "resnet20-b": ("resnet20", 3, {"shortcut": "B"}),
    "resnet20-v2": ("resnet20", 3, {"version": 2}),
    "resnet50": ("resnet50", 3, {}),
    "alexnet": ("alexnet", 3, {}),
}


@pytest.mark.parametrize("file", SUMMARIES)
def test_the_summary_stays_what_it_is(file: str, golden) -> None:
    name, channels, options = SUMMARIES[file]
    golden(f"summary-{file}.txt", str(summarise(*in_full(name, channels, **options))))
