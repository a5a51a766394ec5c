"""Runs together: what they score, that nothing but validation is looked at, and whom they do not go with."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import tiny
import torch

from convscope.core import records
from convscope.core.errors import ClassMismatch, ConfigError
from convscope.evaluate import ensemble as module
from convscope.evaluate.ensemble import ensemble, name_of
from convscope.evaluate.mixture import fit_weights, mixture
from convscope.evaluate.norms import Inputs, reestimate
from convscope.evaluate.predict import logits
from convscope.evaluate.runs import Run
from convscope.evaluate.scoring import evaluate


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Three seeds of one run, hard enough that they differ."""
    root = tmp_path_factory.mktemp("runs")
    with tiny.cheap():
        return [tiny.go(root, epochs=1, seed=seed) for seed in (3, 4, 5)]


def another(run: Run, root: Path, **changes: object) -> Run:
    """A copy of a run, the settings of its data changed, under the same results root."""
    place = root / "copy" / run.root.name
    shutil.copytree(run.root, place)
    text = (place / "config.toml").read_text()
    for key, value in changes.items():
        old = next(line for line in text.splitlines() if line.startswith(f"{key} ="))
        text = text.replace(old, f"{key} = {json.dumps(value)}")
    (place / "config.toml").write_text(text)
    return Run(place)


def test_members_score_what_they_score_alone(runs: list[Run]) -> None:
    found = ensemble(runs)
    assert [member.scores for member in found.members] == [evaluate(run) for run in runs]
    assert [member.name for member in found.members] == [name_of(run) for run in runs]
    assert found.best.scores.correct == max(member.scores.correct for member in found.members)
    assert [made.passes for made in found.together] == [3, 3] and found.averaged is None


def test_together_as_their_outputs_say(runs: list[Run]) -> None:
    """The mean by hand: probabilities of each run's own predictions."""
    val = runs[0].data().val
    outputs = [logits(run.model(), val, run.card().normalise) for run in runs]
    found = ensemble(runs)
    right = sum(output.softmax(1) for output in outputs).argmax(1) == val.labels  # type: ignore[union-attr]
    assert torch.equal(found.uniform.right, right)
    assert found.weights == pytest.approx(fit_weights(outputs, val.labels).tolist())
    assert found.uniform.scores.loss == pytest.approx(
        -float(mixture(outputs)[torch.arange(30), val.labels].mean())
    )
    # Jensen, on real networks.
    assert found.uniform.scores.loss <= sum(member.scores.loss for member in found.members) / 3


def test_one_run_is_itself(runs: list[Run]) -> None:
    found = ensemble(runs[:1])
    (member,) = found.members
    assert found.fitted is not None and found.weights == (1.0,)
    for together in (found.uniform, found.fitted):
        assert torch.equal(together.right, member.right)
        assert together.scores.confusion == member.scores.confusion
        assert together.scores.loss == pytest.approx(member.scores.loss, abs=1e-12)


def test_the_order_changes_nothing(runs: list[Run]) -> None:
    one, other = ensemble(runs), ensemble(runs[::-1])
    assert torch.equal(one.uniform.right, other.uniform.right)
    assert one.weights == pytest.approx(other.weights[::-1])
    assert one.fitted is not None and other.fitted is not None
    assert one.fitted.scores.loss == pytest.approx(other.fitted.scores.loss)


def test_uniform_fits_nothing(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fit_weights", lambda *_: pytest.fail("weights were fitted"))
    found = ensemble(runs, how="uniform")
    assert found.fitted is None and found.weights == pytest.approx([1 / 3] * 3)


def test_the_test_split_stays_sealed(runs: list[Run]) -> None:
    ensemble(runs, average=True)
    assert not runs[0].paths.openings.exists()


def test_the_mean_of_a_run_and_its_copy_is_the_run_with_new_statistics(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(Inputs, batch=50)  # so that it matters how statistics are estimated
    monkeypatch.setattr(module, "Inputs", small)
    run = runs[0]
    found = ensemble([run, another(run, tmp_path)], average=True)
    assert found.averaged is not None and found.averaged.passes == 1
    data, card = run.data(), run.card()
    again = reestimate(run.model(), small(data.train, card.normalise), how="batches")
    expected = logits(again, data.val, card.normalise)
    assert torch.equal(found.averaged.right, expected.argmax(1) == data.val.labels)
    loss = torch.nn.functional.cross_entropy(expected.double(), data.val.labels)
    assert found.averaged.scores.loss == pytest.approx(float(loss))
    assert found.averaged.scores.loss != pytest.approx(found.members[0].scores.loss)


def test_a_claim_names_all_that_made_it(runs: list[Run]) -> None:
    found = ensemble(runs)
    text = str(found.claim(found.uniform, "convscope ensemble A B C"))
    scores = found.uniform.scores
    low, high = scores.interval()
    assert text.startswith(
        f"lenet5 on synthetic, accuracy of the mean of probabilities: {scores.accuracy:.2%} [{low:.2%}, {high:.2%}] "
        "(Wilson 95 %, n = 30 images, 3 runs, validation split)\n"
    )
    assert text.endswith("0000000000: convscope ensemble A B C")


# Who does not go together -----------------------------------------------------------------------------------


def refused(runs: list[Run], **options: object) -> str:
    with pytest.raises(ConfigError) as error:
        ensemble(runs, **options)  # type: ignore[arg-type]
    return str(error.value)


def test_no_runs_and_the_same_run_twice(runs: list[Run]) -> None:
    assert refused([]) == "An ensemble needs runs: name the directories of one or more."
    assert refused([runs[0], runs[1], Run(runs[0].root / ".." / runs[0].root.name)]) == (
        f"{runs[0].root} is named twice. It would count twice in the mean: name each run once."
    )
    assert refused(runs, how="median") == "Members are weighted 'uniform' or 'fitted', not 'median'."


def test_other_validation_images(runs: list[Run], tmp_path: Path) -> None:
    """The same set, split with another seed: members would be scored on what others were trained on."""
    other = another(runs[1], tmp_path, split_seed=1)
    assert refused([runs[0], other]) == (
        f"{other.root} was not validated on the same images as {runs[0].root}: the same data set is split in another "
        "way (split_seed: 0 and 1). Members are compared and combined image by image: train them on one data set with "
        "one split."
    )


def test_no_validation_images(runs: list[Run], tmp_path: Path) -> None:
    other = another(runs[1], tmp_path, refit=True)
    assert refused([other]).startswith(f"{other.root} holds no validation images out: ")
    assert "split in another way (refit: False and True)" in refused([runs[0], other])


def test_other_data_and_other_classes(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """Told by the cards alone, before any image is read."""
    cards = {run.root: run.card() for run in runs}
    data = {**cards[runs[1].root].data, "hash": "f" * 64}
    odd = (*cards[runs[2].root].classes[:-1], "wombat")
    replaced = {
        runs[0].root: cards[runs[0].root],
        runs[1].root: replace(cards[runs[1].root], data=data),
        runs[2].root: replace(cards[runs[2].root], classes=odd),
    }
    monkeypatch.setattr(Run, "card", lambda run, which="best": replaced[run.root])
    monkeypatch.setattr(Run, "data", lambda run: pytest.fail("images were read"))
    assert refused(runs[:2]) == (
        f"{runs[1].root} was not validated on the same images as {runs[0].root}: their data sets have other contents. "
        "Members are compared and combined image by image: train them on one data set with one split."
    )
    with pytest.raises(ClassMismatch) as error:
        ensemble([runs[0], runs[2]])
    assert str(error.value) == (
        f"The members of an ensemble must know the same classes: {cards[runs[0].root].classes[-1]!r}, 'wombat' are not "
        f"known to both {runs[0].root} and {runs[2].root}."
    )


def test_weights_of_other_architectures(runs: list[Run], tmp_path: Path) -> None:
    with tiny.cheap(), pytest.MonkeyPatch.context() as patch:
        model = {"name": "lenet5", "norm": "batch", "dropout": 0.1}
        patch.setitem(tiny.NETS, "other", {"model": model, "recipe": {}})
        other = tiny.go(tmp_path, "other", epochs=0.2)
    text = refused([runs[0], other], average=True)
    assert text.startswith(
        f"Weights can be averaged only between networks of one architecture: {other.root} is lenet5 ("
    )
    assert "dropout=0.1" in text and "dropout=0.2" in text
    # Their probabilities can be.
    assert ensemble([runs[0], other]).uniform.scores.images == 30
    assert records.read(runs[0].paths.openings) == []
