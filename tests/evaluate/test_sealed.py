"""The test split is opened on request, after the line is written: row D10."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from convscope.core import records
from convscope.core.errors import ClassMismatch, SealedSplit
from convscope.data.images import Arrays, Sealed, image_set
from convscope.evaluate.runs import Run
from convscope.evaluate.scoring import by_name
from convscope.evaluate.sealed import open_test


@pytest.fixture
def run(tmp_path: Path) -> Run:
    with tiny.cheap():
        return tiny.go(tmp_path, epochs=1)


def sealed(opened: list[str]) -> Sealed:
    images = image_set(Arrays(np.zeros((3, 1, 4, 4), np.uint8), np.arange(3)), ("a", "b", "c"))

    def read() -> object:
        opened.append("read")
        return images

    return Sealed(3, read)  # type: ignore[arg-type]


def test_the_line_is_written_before_the_first_image_is_read() -> None:
    order: list[str] = []
    assert len(sealed(order).open(lambda: order.append("written"))) == 3
    assert order == ["written", "read"]


@pytest.mark.parametrize("name", ["pixels", "rows", "labels", "files", "batch", "subset"])
def test_what_is_sealed_cannot_be_read(name: str) -> None:
    opened: list[str] = []
    split = sealed(opened)
    with pytest.raises(SealedSplit) as error:
        getattr(split, name)
    assert str(error.value) == (
        "The test split is sealed: choose on the validation split. When everything is decided, `convscope test RUN` "
        "opens it once and records that."
    )
    assert len(split) == 3 and opened == [] and "read" not in repr(split)


def test_every_opening_is_counted_with_run_purpose_time_and_command(run: Run) -> None:
    data = run.data()
    scores, count = open_test(run, data, command="convscope test RUN")
    assert (scores.images, count) == (75, 1)
    _, again = open_test(run, data, weights="last")
    assert again == 2
    first, second = records.read(run.paths.openings)
    assert first["command"] == "convscope test RUN" and second["command"] == ""
    assert (
        first["purpose"] == "score of the best weights" and second["purpose"] == "score of the last weights"
    )
    assert first["run"] == f"{run.root.parent.name}/seed-3"
    assert (first["data"], first["name"]) == (data.hash, "synthetic")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["time"])


def test_the_count_is_of_the_data_not_of_the_run(run: Run, tmp_path: Path) -> None:
    open_test(run, run.data())
    with tiny.cheap():
        other = tiny.go(tmp_path, epochs=1, seed=4)
        elsewhere = tiny.go(tmp_path, epochs=1, images=200)
    assert open_test(other, other.data())[1] == 2
    assert open_test(elsewhere, elsewhere.data())[1] == 1


def test_the_scores_are_those_of_the_test_images(run: Run) -> None:
    """Counted here, one image after the other."""
    data = run.data()
    scores, _ = open_test(run, data)
    images = data.test.open(lambda: None)
    model, card = run.model(), run.card()
    with torch.no_grad():
        guesses = [int(model(card.normalise(images.batch(torch.tensor([i])))).argmax()) for i in range(75)]
    assert scores.correct == sum(g == int(t) for g, t in zip(guesses, images.labels, strict=True))


def test_a_diverged_run_opens_nothing(run: Run) -> None:
    records.write_json(run.paths.result, {"status": "diverged", "step": 3, "message": "x"})
    with pytest.raises(SealedSplit) as error:
        open_test(run, run.data())
    assert str(error.value) == (
        f"The test split stays sealed: {run.root} ended as diverged. It is opened once, when all is decided; until "
        f"then `convscope evaluate` scores the validation split."
    )
    assert not run.paths.openings.exists()


def test_data_without_a_test_split(run: Run) -> None:
    from dataclasses import replace

    data = replace(run.data(), test=Sealed(0, lambda: None))  # type: ignore[arg-type,return-value]
    with pytest.raises(SealedSplit) as error:
        open_test(run, data)
    assert str(error.value) == "synthetic has no test split."
    assert not run.paths.openings.exists()


def test_classes_go_by_name() -> None:
    """D4 for labels in memory: sorted otherwise, one missing, one without a label."""
    images = image_set(Arrays(np.zeros((4, 1, 4, 4), np.uint8), np.array([0, 1, -1, 1])), ("dog", "cat"))
    found = by_name(images, ("bird", "cat", "dog"))
    assert found.labels.tolist() == [2, 1, -1, 1] and found.classes == ("bird", "cat", "dog")
    assert by_name(images, ("dog", "cat")) is images
    with pytest.raises(ClassMismatch) as error:
        by_name(images, ("dog", "cats"))
    assert str(error.value) == (
        "The network does not know the class 'cat' (2 images). Did you mean 'cats'? It knows: dog, cats."
    )
    # A class without images is no reason to refuse.
    assert by_name(images.subset(torch.tensor([0, 2])), ("dog", "fish")).labels.tolist() == [0, -1]
