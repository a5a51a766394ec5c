"""One run used in several ways: the plain figure is always there, and each way is what it says."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from convscope.core.errors import ConfigError
from convscope.evaluate.norms import Inputs, reestimate
from convscope.evaluate.predict import logits
from convscope.evaluate.runs import Run
from convscope.evaluate.scoring import evaluate
from convscope.evaluate.variants import variants


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """LeNet-5 with batch norm and dropout."""
    root = tmp_path_factory.mktemp("run")
    with tiny.cheap():
        return tiny.go(root, epochs=1)


def test_plain_alone_is_the_run_as_evaluate_scores_it(run: Run) -> None:
    found = variants(run)
    assert (found.plain.scores, found.others, found.sampled) == (evaluate(run), (), None)
    assert variants(run.root, split="train", weights="last").plain.scores == evaluate(
        run, split="train", weights="last"
    )


def test_each_way_beside_the_plain_one(run: Run) -> None:
    """Each on its own: the names and passes, and figures equal to those of the parts they are made from."""
    found = variants(run, views="shift", pixels=3, dropout_samples=4, norm_statistics="layers")
    assert found.plain.scores == evaluate(run)
    assert [(made.name, made.passes) for made in found.others] == [
        ("shift, mean of 5 views", 5),
        ("dropout on, mean of 4 samples", 4),
        ("batch norms re-estimated by layers", 1),
    ]
    data, card, model = run.data(), run.card(), run.model()
    shifted = []
    padded = torch.nn.functional.pad(
        card.normalise(data.val.batch(torch.arange(30))), (3,) * 4, mode="reflect"
    )
    for top, left in ((3, 3), (0, 3), (6, 3), (3, 0), (3, 6)):
        shifted.append(model(padded[:, :, top : top + 28, left : left + 28]).detach().softmax(1))
    views, dropped, norms = found.others
    assert found.sampled is not None
    again = logits(reestimate(model, Inputs(data.train, card.normalise)), data.val, card.normalise)
    mean = torch.stack(shifted).double().mean(0).log()
    for made, logs in ((views, mean), (dropped, found.sampled.logs), (norms, again)):
        assert torch.equal(made.right, logs.argmax(1) == data.val.labels)
        loss = torch.nn.functional.cross_entropy(logs.double(), data.val.labels)
        assert made.scores.loss == pytest.approx(float(loss), rel=1e-5)
        assert made.scores.loss != pytest.approx(found.plain.scores.loss, rel=1e-4)
    assert run.openings == []


def test_classes_go_by_name(run: Run) -> None:
    """The same images under labels that count in another order: the same figures, samples of dropout included."""
    val = run.data().val
    turned = replace(val, labels=len(val.classes) - 1 - val.labels, classes=val.classes[::-1])
    ours, theirs = (variants(run, images=images, dropout_samples=2, views="flip") for images in (val, turned))
    assert ours.plain.scores == theirs.plain.scores
    assert ours.sampled is not None and theirs.sampled is not None
    assert ours.sampled.correct == theirs.sampled.correct
    for one, other in zip(ours.others, theirs.others, strict=True):
        assert torch.equal(one.right, other.right)


def test_a_way_the_network_does_not_have(tmp_path: Path) -> None:
    bare = {"name": "lenet5"}
    with tiny.cheap(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiny.NETS, "bare", {"model": bare, "recipe": {}})
        run = tiny.go(tmp_path, "bare", epochs=0.2)
    with pytest.raises(ConfigError) as error:
        variants(run, norm_statistics="batches")
    assert str(error.value) == (
        f"{run.root} has no batch norm, so there are no statistics to estimate again."
    )
    with pytest.raises(ConfigError, match=r"^This network has no dropout to sample from: "):
        variants(run, dropout_samples=2)
