"""Batch norms with the statistics of a whole split: by hand, and as one batch would give them."""

import copy

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from convscope.core.errors import ConfigError
from convscope.data import Normaliser
from convscope.data.images import Arrays, image_set
from convscope.evaluate.norms import Inputs, reestimate
from convscope.models import build


def running(norm: nn.Module) -> tuple[list[float], list[float]]:
    return norm.running_mean.tolist(), norm.running_var.tolist()  # type: ignore[union-attr,operator]


def toy() -> nn.Sequential:
    """x -> 2 x -> norm -> ReLU -> norm."""
    model = nn.Sequential(
        nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1, eps=1e-12), nn.ReLU(), nn.BatchNorm1d(1, eps=1e-12)
    )
    with torch.no_grad():
        model[0].weight.fill_(2)
    return model


def test_by_hand() -> None:
    """Inputs 1, 2, 3, 4, 5: 2 x has mean 6 and variance 8, so the ReLU gives 0, 0, 0, 1/sqrt 2, sqrt 2.

    Their mean is 3/(5 sqrt 2), their mean square 1/2, so the variance is 1/2 - 9/50 = 0.32.
    """
    inputs = [torch.tensor([[1.0], [5.0]]), torch.tensor([[2.0], [3.0], [4.0]])]
    found = reestimate(toy(), inputs)
    assert running(found[1]) == (pytest.approx([6]), pytest.approx([8]))
    assert running(found[3]) == (pytest.approx([3 / (5 * 2**0.5)]), pytest.approx([0.32]))


def test_batches_by_hand() -> None:
    """The first norm of the same: batch means 6 and 6, unbiased variances 32 and 4, by size 2 and 3."""
    inputs = [torch.tensor([[1.0], [5.0]]), torch.tensor([[2.0], [3.0], [4.0]])]
    found = reestimate(toy(), inputs, how="batches")
    assert running(found[1]) == (pytest.approx([6]), pytest.approx([(2 * 32 + 3 * 4) / 5]))


def deep() -> tuple[nn.Module, Tensor]:
    """A small ResNet, with norms that have something to say, and inputs."""
    torch_generator = torch.Generator().manual_seed(0)
    model = build("resnet20", classes=4, channels=3, size=8, width=4, blocks=1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values in (module.weight, module.bias):
                    values.add_(0.5 * torch.randn(values.shape, generator=torch_generator))
    return model, torch.rand(40, 3, 8, 8, generator=torch_generator) * 3 - 1


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def test_as_if_the_whole_split_were_one_batch() -> None:
    """In training mode, torch normalises with exactly these; of the variance it then keeps n/(n-1) times as much."""
    model, images = deep()
    found = reestimate(model, list(images.split([16, 7, 17])))
    whole = copy.deepcopy(model).train()
    counts: dict[nn.Module, int] = {}
    for norm in norms(whole):
        norm.momentum = 1.0
        norm.register_forward_pre_hook(lambda m, x: counts.update({m: x[0].numel() // x[0].shape[1]}))
    logits = whole(images)
    for mine, theirs in zip(norms(found), norms(whole), strict=True):
        biased = theirs.running_var * (counts[theirs] - 1) / counts[theirs]
        torch.testing.assert_close(mine.running_mean, theirs.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine.running_var, biased, rtol=1e-4, atol=1e-6)
    # So in evaluation mode it computes what training mode computes from all at once.
    torch.testing.assert_close(found(images), logits, rtol=1e-3, atol=1e-4)


def test_batches_as_torch_averages_them() -> None:
    """torch.optim.swa_utils.update_bn, where all batches are of one size."""
    model, images = deep()
    batches = list(images.split(10))
    theirs = copy.deepcopy(model)
    torch.optim.swa_utils.update_bn(batches, theirs)
    for mine, other in zip(norms(reestimate(model, batches, how="batches")), norms(theirs), strict=True):
        torch.testing.assert_close(mine.running_mean, other.running_mean)
        torch.testing.assert_close(mine.running_var, other.running_var)


def test_how_the_inputs_are_batched_matters_to_one_way_only() -> None:
    model, images = deep()
    parts = [list(images.split(sizes)) for sizes in (10, 20)]
    exact, rough = (
        [norms(reestimate(model, batches, how=how))[-1].running_var for batches in parts]
        for how in ("layers", "batches")
    )
    torch.testing.assert_close(exact[0], exact[1], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(rough[0], rough[1], rtol=1e-2)


@pytest.mark.parametrize("how", ["layers", "batches"])
def test_again_changes_nothing_and_the_model_is_as_it_was(how) -> None:
    model, images = deep()
    model.train()
    model.get_submodule("fc").eval()
    batches = list(images.split(10))
    before = tiny.of_tensors(model.state_dict())
    modes = [module.training for module in model.modules()]
    once = reestimate(model, batches, how=how)
    assert tiny.of_tensors(model.state_dict()) == before
    assert [module.training for module in model.modules()] == modes
    assert tiny.of_tensors(once.state_dict()) != before
    assert tiny.of_tensors(reestimate(once, batches, how=how).state_dict()) == tiny.of_tensors(
        once.state_dict()
    )
    assert not any(module.training for module in once.modules())
    for old, new in zip(norms(model), norms(once), strict=True):
        assert (old.momentum, old.num_batches_tracked) == (new.momentum, new.num_batches_tracked)
    weights = {name for name, _ in model.named_parameters()}
    assert all(torch.equal(once.state_dict()[name], model.state_dict()[name]) for name in weights)


class Branched(nn.Module):
    """Norms declared in another order than they are used, one of them never in evaluation; and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.first, self.aside = nn.BatchNorm1d(1), nn.BatchNorm1d(1), nn.BatchNorm1d(1)
        self.drop = nn.Dropout(0.5)

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            self.aside(values)
        found: Tensor = self.last(self.drop(self.first(values)).relu())
        return found


def test_the_order_is_that_of_the_pass() -> None:
    """Taken in the order of declaration, the last norm would see what the first made of its old statistics."""
    values = torch.linspace(0, 9, 10)[:, None]
    found = reestimate(Branched().train(), [values])
    assert running(found.first) == (pytest.approx([4.5]), pytest.approx([8.25]))
    rectified = ((values - 4.5) / (8.25 + 1e-5) ** 0.5).relu()
    assert running(found.last) == (
        pytest.approx([float(rectified.mean())]),
        pytest.approx([float(rectified.var(correction=0))]),
    )
    assert running(found.aside) == ([0.0], [1.0])


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    """The variance of 10000 -+ 0.5 is 0.25; as a difference of squares, float32 would make it 0 or 8."""
    values = 10_000 + torch.tensor([[-0.5], [0.5]]).repeat(50, 1)
    found = reestimate(nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1)), list(values.split(10)))
    assert running(found[0]) == ([10_000.0], [0.25])


def test_a_network_without_norms_comes_back_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2, track_running_stats=False))
    found = reestimate(model, [torch.rand(4, 1)])
    assert found is not model and tiny.of_tensors(found.state_dict()) == tiny.of_tensors(model.state_dict())


def test_inputs_are_the_split_in_its_order_without_a_batch_of_one() -> None:
    pixels = np.arange(11, dtype=np.uint8)[:, None, None, None].repeat(4, 2).repeat(4, 3)
    images = image_set(Arrays(pixels, np.zeros(11, dtype=np.int64)), ("a",))
    inputs = Inputs(images, Normaliser((0.0,), (1 / 255,)), batch=5)
    for _ in range(2):
        batches = list(inputs)
        assert [len(batch) for batch in batches] == [5, 6]
        assert torch.cat(batches)[:, 0, 0, 0].tolist() == pytest.approx(range(11))


def test_refusals() -> None:
    model, images = deep()
    sentence = (
        "Statistics need inputs that can be run through once per batch norm: give a list of batches or `Inputs`, not "
        "a generator, and not an empty split."
    )
    for inputs in (iter([images]), []):
        with pytest.raises(ConfigError) as error:
            reestimate(model, inputs)
        assert str(error.value) == sentence
    shared = nn.BatchNorm1d(1)
    with pytest.raises(ConfigError) as error:
        reestimate(nn.Sequential(nn.Linear(1, 1), shared, nn.ReLU(), shared), [torch.rand(4, 1)])
    assert str(error.value) == (
        "The batch norm '1' is used more than once in a pass: there is no order in which its statistics could be "
        "estimated. Give each place a batch norm of its own."
    )
    with pytest.raises(ConfigError) as error:
        reestimate(model, [images], how="running")  # type: ignore[arg-type]
    assert str(error.value) == "Statistics are estimated by 'layers' or by 'batches', not by 'running'."
