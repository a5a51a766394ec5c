"""The surface is the formula, and coordinates that change nothing do not change it."""

import copy
import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noise import linear, normed, quadratic, subject_with
from torch import nn

from convscope.core.errors import ConfigError, DamagedFile, DataMissing
from convscope.core.streams import Streams
from convscope.diagnostics.landscape import Landscape, landscape, landscape_of
from convscope.diagnostics.snapshot import read_snapshots, snapshot
from convscope.diagnostics.surface import filter_normalised
from convscope.diagnostics.trajectory import principal_plane
from convscope.diagnostics.weightspace import batches_of
from convscope.evaluate.metrics import score
from convscope.evaluate.predict import logits


def test_plane_of_a_linear_model_with_squared_error_is_the_formula() -> None:
    subject = subject_with(linear())
    found = landscape(subject=subject, images=0, size=5, extent=0.8, loss="mse", convergence=False)
    first, second = (
        filter_normalised(subject.model, Streams(3).generator("inspect", i))["1.weight"] for i in (0, 1)
    )
    weight = dict(subject.model.named_parameters())["1.weight"].detach()
    for row, y in enumerate((-0.8, -0.4, 0.0, 0.4, 0.8)):
        for column, x in enumerate((-0.8, -0.4, 0.0, 0.4, 0.8)):
            loss, accuracy = quadratic(subject, weight + x * first + y * second)
            assert found.loss[0, row, column] == pytest.approx(loss, rel=1e-5)
            assert found.accuracy[0, row, column] == accuracy
    assert found.x.tolist() == found.y.tolist() == pytest.approx([-0.8, -0.4, 0.0, 0.4, 0.8])
    edge = [*found.loss[0, 0], *found.loss[0, -1], *found.loss[0, 1:-1, 0], *found.loss[0, 1:-1, -1]]
    assert found.border_loss == pytest.approx(np.mean(edge))
    assert found.largest_loss == found.loss.max()
    # A sum of squares of linear functions is convex everywhere.
    assert (found.non_convex, found.not_finite, found.norm, found.loss_name) == (0.0, 0, "none", "mse")
    assert math.isnan(found.border_spread)


@pytest.mark.parametrize("norm", ["running", "batch"])
def test_a_rescaled_network_that_computes_the_same_has_the_same_landscape(norm: Any) -> None:
    model = normed().eval()
    with torch.no_grad():
        model[1].running_mean.copy_(torch.tensor([0.3, -0.2, 0.1, 0.0]))
        model[1].running_var.copy_(torch.tensor([2.0, 1.0, 3.0, 0.5]))
        longer: Any = copy.deepcopy(model)
        for parameter in longer[0].parameters():
            parameter.mul_(10)
        longer[1].running_mean.mul_(10)
        longer[1].running_var.mul_(100)
    both = [landscape(subject=subject_with(m), size=5, norm=norm, convergence=False) for m in (model, longer)]
    np.testing.assert_allclose(both[0].loss, both[1].loss, rtol=1e-3)
    assert both[0].loss.max() > 2 * both[0].loss.min()


def test_centre_is_the_loss_that_evaluation_reports() -> None:
    subject = subject_with(normed())
    before = score(logits(subject.model, subject.data.train, subject.normalise), subject.data.train.labels)
    found = landscape(subject=subject, images=0, size=3)
    assert found.centre_loss == pytest.approx(before.loss, rel=1e-6)
    assert found.loss[0, 1, 1] == found.centre_loss
    assert found.centre_accuracy == found.accuracy[0, 1, 1] == before.accuracy


def test_batch_statistics_are_those_of_training() -> None:
    subject = subject_with(normed())
    trained = copy.deepcopy(subject.model).train()
    ((inputs, labels),) = batches_of(subject, "train", 0)
    expected = nn.functional.cross_entropy(trained(inputs), labels).item()
    found = landscape(subject=subject, images=0, size=3, norm="batch", convergence=False)
    assert found.centre_loss == pytest.approx(expected, rel=1e-5)
    assert (found.norm, landscape(subject=subject, size=3, convergence=False).norm) == ("batch", "running")


@pytest.mark.parametrize("norm", ["running", "batch"])
def test_weights_statistics_and_modes_come_back_even_from_overflow(norm: Any) -> None:
    subject = subject_with(normed())
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    found = landscape(subject=subject, size=3, extent=1e38, norm=norm, convergence=False)
    assert found.not_finite > 0
    assert math.isfinite(found.centre_loss)
    after = subject.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any(module.training for module in subject.model.modules())


def test_same_seed_same_landscape_and_another_seed_another() -> None:
    def look(seed: int) -> Landscape:
        return landscape(subject=dataclasses.replace(subject_with(linear()), streams=Streams(seed)), size=3)

    assert np.array_equal(look(3).loss, look(3).loss)
    assert not np.array_equal(look(3).loss, look(4).loss)


def test_pairs_of_directions_are_drawn_anew() -> None:
    found = landscape(subject=subject_with(linear()), size=3, repeats=2, convergence=False)
    assert found.loss.shape == (2, 3, 3)
    edges = [np.delete(pair.ravel(), 4).mean() for pair in found.loss]
    assert edges[0] != edges[1]
    assert found.border_spread == pytest.approx(np.std(edges, ddof=1))


def test_convergence_tells_the_loss_of_more_images_and_its_error() -> None:
    subject = subject_with(linear(), count=100)
    found = landscape(subject=subject, images=20, size=3).convergence
    assert found is not None
    assert found.images == (20, 40, 80)
    assert found.points == ((0.0, 0.0), (0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5))
    chosen = subject.images("train", 40)
    losses = nn.functional.cross_entropy(
        logits(subject.model, chosen, subject.normalise), chosen.labels, reduction="none"
    ).numpy()
    assert found.loss[1][0] == pytest.approx(losses.mean(), rel=1e-5)
    assert found.error[1][0] == pytest.approx(losses.std(ddof=1) / math.sqrt(40), rel=1e-4)
    shares = [abs(a - b) / b for a, b in zip(found.loss[0], found.loss[2], strict=True)]
    assert found.change == max(shares)
    few = landscape(subject=subject, images=60, size=3).convergence
    assert few is not None
    assert few.images == (60, 100)


def test_trajectory_lies_on_the_surface_that_is_drawn(tmp_path: Path) -> None:
    first: Any = linear()
    models = [first]
    for seed in range(4):
        later: Any = copy.deepcopy(models[-1])
        noise = np.random.default_rng(seed).standard_normal((3, 32)).astype(np.float32)
        later[1].weight.data.add_(torch.from_numpy(noise), alpha=0.1)
        models.append(later)
    for step, model in enumerate(models):
        snapshot(subject=subject_with(model)).save(tmp_path / f"snapshot-{step:08}")
    subject = subject_with(models[-1])
    found = landscape(
        subject=subject, size=5, images=0, directions="trajectory", snapshots=str(tmp_path), loss="mse"
    )
    again = landscape_of(models, subject.data, size=5, images=0, loss="mse")
    assert np.array_equal(found.loss, again.loss)
    # Where the path was, projected into the plane, is inside; its border is a tenth away.
    low, high = found.path.min(0), found.path.max(0)
    np.testing.assert_allclose([found.x[0], found.y[0]], low - 0.05 * (high - low), rtol=1e-5)
    np.testing.assert_allclose([found.x[-1], found.y[-1]], high + 0.05 * (high - low), rtol=1e-5)
    plane = principal_plane(
        [dict(m.named_parameters()) for m in models], {"1.weight": models[-1][1].weight.detach()}
    )
    weight = models[-1][1].weight.detach()
    there = (
        weight
        + float(found.x[1]) * plane.directions[0]["1.weight"]
        + float(found.y[3]) * plane.directions[1]["1.weight"]
    )
    assert found.loss[0, 3, 1] == pytest.approx(quadratic(subject, there)[0], rel=1e-4)
    assert f"the plane holds {found.explained:.0%} of the variance of the path" in found.sentence


def test_what_a_trajectory_cannot_do_is_said(tmp_path: Path) -> None:
    subject = subject_with(linear())
    with pytest.raises(
        ConfigError,
        match=r"^A trajectory has one pair of directions: leave repeats at 1, or take directions=random\.$",
    ):
        landscape(subject=subject, directions="trajectory", repeats=2)
    with pytest.raises(
        ConfigError,
        match=r"^A trajectory needs the weights at several moments: give their folder, snapshots=PATH\.$",
    ):
        landscape(subject=subject, directions="trajectory")
    with pytest.raises(
        ConfigError, match=r"^A trajectory needs at least four moments of training; there are 0\.$"
    ):
        landscape_of([], subject.data)
    message = (
        f"There is no snapshot of the weights in {tmp_path}. Train with --inspect snapshot:every=..., or name the "
        f"folder where they are, snapshots=PATH."
    )
    with pytest.raises(DataMissing, match=f"^{re.escape(message)}$"):
        landscape(subject=subject, directions="trajectory", snapshots=str(tmp_path))


def test_snapshot_keeps_every_number_and_knows_its_network(tmp_path: Path) -> None:
    subject = subject_with(normed())
    taken = snapshot(subject=subject)
    taken.save(tmp_path / "snapshot-00000010")
    (kept,) = read_snapshots(tmp_path, subject.model)
    own = dict(subject.model.named_parameters())
    assert list(kept) == list(own)
    assert all(torch.equal(kept[name], own[name].detach()) for name in own)
    assert taken.norm == pytest.approx(
        math.sqrt(sum(float(p.detach().double().square().sum()) for p in own.values()))
    )
    message = (
        f"{tmp_path / 'snapshot-00000010.npz'} holds the weights of another network: 6 tensors with 135 numbers, "
        f"while this one has 2 with 99, or other names."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        read_snapshots(tmp_path, linear())
    (tmp_path / "snapshot-00000010.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(DamagedFile, match=r"snapshot-00000010\.npz is not a snapshot of weights: "):
        read_snapshots(tmp_path, subject.model)


def test_sentence_names_what_was_found() -> None:
    found = dataclasses.replace(
        landscape(subject=subject_with(normed()), size=3, convergence=False),
        centre_loss=0.25, border_loss=2.5, non_convex=0.125, images=300,
    )  # fmt: skip
    assert found.sentence == (
        "a net on noise: the loss on 300 train images rises from 0.25 at the weights to 2.5 on average at the border; "
        "12% of the inner points curve downwards in some direction of the plane; norms with stored statistics."
    )
