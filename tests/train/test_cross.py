"""Cross-validation: k networks, none of which saw what it is scored on (E4.5)."""

from typing import Any

import numpy as np
import pytest
import tiny
import torch
from scipy import stats

from convscope.core.config import RunConfig, read_toml
from convscope.core.errors import ConfigError
from convscope.evaluate.predict import predict_images
from convscope.evaluate.runs import Run
from convscope.train import cross
from convscope.train.cross import CrossValidated, accuracies, cross_validate, out_of_fold
from convscope.train.events import Event, Prepared
from convscope.train.prepare import Place

FOLDS = 3


def config(**data: Any) -> RunConfig:
    source = {"source": "synthetic", "options": {"images": 60, "size": 28, "noise": 0.1}}
    return tiny.config(
        epochs=1, lr=0.02, validate_every="1 epoch", checkpoint_every="99 steps", data={**source, **data}
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("cross")
    return Place(root, cache_dir=root / "cache", command="cross")


@pytest.fixture(scope="module")
def runs(place: Place) -> list[Run]:
    with tiny.cheap():
        return cross_validate(config(folds=FOLDS), place)


def data_of(run: Run, place: Place) -> Any:
    return run.data(cache_dir=place.cache_dir)


def test_each_image_is_held_out_once_and_never_trained_on_by_the_same_network(
    runs: list[Run], place: Place
) -> None:
    assert len(runs) == len({run.root for run in runs}) == FOLDS
    held = []
    for run in runs:
        data = data_of(run, place)
        assert not set(data.train.rows.tolist()) & set(data.val.rows.tolist())
        assert len(data.train) + len(data.val) == 60
        held += data.val.rows.tolist()
    assert sorted(held) == list(range(60))


def test_a_fold_is_an_ordinary_run_with_a_name_of_its_own(runs: list[Run], place: Place) -> None:
    """Its configuration in full names it again, and gives the same validation images."""
    for fold, run in enumerate(runs):
        written = read_toml(run.paths.config)
        assert (written.data.folds, written.data.fold, written.data.validation) == (FOLDS, fold, None)
        with tiny.cheap():
            assert cross.run(written, place).root == run.root
    plain = {run.root.parent.name for run in runs}
    assert len(plain) == FOLDS


def test_the_networks_start_alike(runs: list[Run]) -> None:
    """The same seed in every fold: what differs is what was held out."""
    assert {run.config.seed for run in runs} == {3}
    assert len({tiny.of_snapshot(run.paths.checkpoints) for run in runs}) == FOLDS


def test_out_of_fold_probabilities_are_those_of_the_network_that_held_the_image_out(
    runs: list[Run], place: Place
) -> None:
    found = out_of_fold(runs, cache_dir=place.cache_dir)
    assert found.images.rows.tolist() == list(range(60))
    assert found.probabilities.shape == (60, 4)
    assert found.names[:2] == ["image 0", "image 1"]
    whole = data_of(runs[0], place)
    labels = torch.empty(60, dtype=torch.int64)
    for part in (whole.train, whole.val):
        labels[part.rows] = part.labels
    assert torch.equal(found.images.labels, labels)
    for run in runs:
        val = data_of(run, place).val
        said = predict_images(run.model("last"), run.card("last"), val).probabilities
        assert np.array_equal(found.probabilities[val.rows.numpy()], said)


def test_the_accuracies_are_of_the_final_weights_on_the_held_out_part(runs: list[Run], place: Place) -> None:
    together = accuracies(runs)
    found = out_of_fold(runs, cache_dir=place.cache_dir)
    right = found.probabilities.argmax(1) == found.images.labels.numpy()
    for run, accuracy in zip(runs, together.accuracies, strict=True):
        assert right[data_of(run, place).val.rows.numpy()].mean() == accuracy
    # Parts of equal size, so the mean over parts is the mean over images.
    assert together.mean == pytest.approx(right.mean())


def test_the_mean_has_students_interval() -> None:
    values = (0.9, 0.94, 0.92)
    low, high = stats.t.interval(0.95, 2, loc=0.92, scale=0.02 / 3**0.5)
    assert str(CrossValidated(values)) == (
        f"Mean validation accuracy of the final weights: 92.00% [{low:.2%}, {high:.2%}] (Student 95 %, n = 3 folds, "
        "one network each). The networks share most of their training images, so the interval is a little too "
        "narrow."
    )


def test_a_fold_that_is_missing_or_twice_there_is_noticed(runs: list[Run], place: Place) -> None:
    with pytest.raises(ConfigError) as missing:
        out_of_fold(runs[:2], cache_dir=place.cache_dir)
    assert str(missing.value) == (
        "These 2 runs hold out 40 of the 60 images, 40 counting repeats. Give one run for each fold of one "
        "configuration."
    )
    with pytest.raises(ConfigError) as twice:
        out_of_fold([runs[0], runs[0], runs[1]], cache_dir=place.cache_dir)
    assert str(twice.value) == (
        "These 3 runs hold out 40 of the 60 images, 60 counting repeats. Give one run for each fold of one "
        "configuration."
    )


def test_what_cannot_be_folded_is_refused_before_anything_is_read(place: Place) -> None:
    seen: list[Event] = []
    with pytest.raises(ConfigError) as without:
        cross_validate(config(), place, seen.append)
    assert str(without.value) == "Cross-validation needs a number of parts: give --folds, such as --folds 5."
    with pytest.raises(ConfigError, match=r"^With folds = 3 the validation images are those of one part"):
        cross_validate(config(folds=3, validation=0.2, source="folder:nowhere"), place, seen.append)
    assert seen == []


def test_a_single_fold_is_trained_alone(runs: list[Run], place: Place) -> None:
    """With `fold` given, `run` finds the run that cross-validation made."""
    seen: list[Event] = []
    with tiny.cheap():
        found = cross.run(config(folds=FOLDS, fold=1), place, seen.append)
    assert found.root == runs[1].root
    assert not any(isinstance(event, Prepared) for event in seen)


def test_without_a_fold_a_run_says_what_to_do(place: Place) -> None:
    with pytest.raises(
        ConfigError, match=r"^folds is 3, but fold does not say which part is held out: 0 to 2\."
    ):
        cross.run(config(folds=3), place)


def test_names_of_images_are_their_files_where_there_are_any(runs: list[Run], place: Place) -> None:
    import dataclasses

    found = out_of_fold(runs, cache_dir=place.cache_dir)
    files = tuple(f"{k}.png" for k in range(60))
    named = dataclasses.replace(found, images=dataclasses.replace(found.images, files=files))
    assert named.names == list(files)
