"""An image gets the same answer alone or in company, under its name, in the order of names: row D5."""

import random
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import nn

from convscope.core.errors import BadImages, ConfigError, DataMissing, SealedSplit
from convscope.data import Normaliser
from convscope.data.images import Arrays, ImageSet, image_set
from convscope.evaluate.predict import image_paths, in_evaluation_mode, logits
from convscope.evaluate.predicting import predict
from convscope.evaluate.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    with tiny.cheap():
        return tiny.go(root, epochs=2)


NAMES = ["b.png", "a.png", "10.png", "9.png", "ü.png", "Z.png", "sub/a.png", "emoji 🙂.png", "new\nline.png"]


def write(folder: Path, names: list[str]) -> dict[str, np.ndarray]:
    """One random grey image under each name."""
    rng = np.random.default_rng(len(names))
    found = {}
    for name in names:
        pixels = rng.integers(0, 256, (28, 28), dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name, format="PNG")
        found[name] = pixels
    return found


def check_rows(run: Run, folder: Path, names: list[str]) -> None:
    pixels = write(folder, names)
    found = predict(run, folder)
    assert found.ids == tuple(sorted(names))
    model, card = run.model(), run.card()
    for row, name in enumerate(found.ids):
        alone = image_set(Arrays(pixels[name][None, None], np.array([-1])), card.classes)
        output = logits(model, alone, card.normalise)
        assert found.labels[row] == int(output.argmax())
        assert found.names[row] == card.classes[found.labels[row]]
        assert np.allclose(found.probabilities[row], output.softmax(1).numpy(), atol=1e-5)


def test_row_i_is_the_ith_path(run: Run, tmp_path: Path) -> None:
    """D5: by relative path, sorted; equal to predicting one at a time; odd names included."""
    check_rows(run, tmp_path, NAMES)


@pytest.mark.slow
def test_a_hundred_folders(run: Run, tmp_path: Path) -> None:
    """D5 whole."""
    dice = random.Random(0)
    letters = "abcAZ019 üé🙂\n'\"-_."
    for number in range(100):
        names = {
            "".join(dice.choices(letters, k=dice.randint(1, 12))).strip(". ")
            for _ in range(dice.randint(1, 30))
        }
        folder = tmp_path / f"{number}"
        folder.mkdir()
        check_rows(run, folder, sorted(f"{name}.png" for name in names if name))


def test_files_folders_and_lists_agree(run: Run, tmp_path: Path) -> None:
    write(tmp_path, ["a.png", "b.png"])
    whole = predict(run, tmp_path)
    listed = predict(run, [tmp_path / "b.png", tmp_path / "a.png"])
    single = predict(run, tmp_path / "b.png")
    assert whole.ids == listed.ids == ("a.png", "b.png") and whole.labels == listed.labels
    assert (single.ids, single.labels) == (("b.png",), whole.labels[1:])


def test_splits_are_predicted_in_their_own_order(run: Run) -> None:
    found = predict(run, "val")
    assert found.ids == tuple(map(str, range(30)))
    data = run.data()
    right = sum(label == int(true) for label, true in zip(found.labels, data.val.labels, strict=True))
    assert run.result is not None and right == run.result["best"]["val_correct"]
    assert np.allclose(found.probabilities.sum(1), 1, atol=1e-6)


def test_predicting_the_test_split_is_an_opening(run: Run) -> None:
    assert run.openings == []
    predict(run, "test", command="convscope predict RUN test")
    (record,) = run.openings
    assert record["purpose"] == "predictions of the best weights"
    assert record["command"] == "convscope predict RUN test"


def test_a_split_that_is_not_there(run: Run) -> None:
    with pytest.raises(SealedSplit) as error:
        predict(run, "unlabelled")
    assert str(error.value) == "synthetic has no unlabelled images."


def test_bad_images_are_named(run: Run, tmp_path: Path) -> None:
    write(tmp_path, ["good.png"])
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(BadImages) as error:
        predict(run, tmp_path)
    assert list(error.value.problems) == [str(tmp_path / "bad.png")]
    assert str(error.value).endswith("\nLeave these files out to predict the rest.")


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    for name in ("one", "two", "empty"):
        (tmp_path / name).mkdir()
    write(tmp_path, ["one/a.png", "two/a.png"])
    cases = {
        (tmp_path / "nothing",): f"There is no file or folder {tmp_path / 'nothing'}.",
        (tmp_path / "empty",): f"There is no image in {tmp_path / 'empty'}.",
        (tmp_path / "one", tmp_path / "two"): (
            f"Two images would be called a.png in the predictions: {tmp_path / 'one' / 'a.png'} and "
            f"{tmp_path / 'two' / 'a.png'}. Predict the folders one by one."
        ),
    }
    for given, sentence in cases.items():
        with pytest.raises(DataMissing) as error:
            image_paths(given)
        assert str(error.value) == sentence


def split(count: int) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    return image_set(Arrays(pixels, np.zeros(count, dtype=np.int64)), ("a", "b"))


def test_every_module_gets_its_own_mode_back() -> None:
    """Also one that is frozen in evaluation mode inside a network in training mode, and after an error."""
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(784, 2)).train()
    model[1].eval()
    before = [module.training for module in model.modules()]
    running = tiny.of_tensors(model.state_dict())
    first = logits(model, split(9), Normaliser((0.5,), (0.5,)))
    assert [module.training for module in model.modules()] == before
    with pytest.raises(ZeroDivisionError), in_evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        raise ZeroDivisionError
    assert [module.training for module in model.modules()] == before
    # No dropout, and no running mean was moved.
    assert torch.equal(first, logits(model, split(9), Normaliser((0.5,), (0.5,))))
    assert tiny.of_tensors(model.state_dict()) == running


def test_always_float32() -> None:
    """Whatever is asked for around it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    plain = logits(model, split(9), Normaliser((0.5,), (0.5,)))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(logits(model, split(9), Normaliser((0.5,), (0.5,))), plain)
    assert plain.dtype == torch.float32 and not plain.requires_grad


def test_no_images() -> None:
    with pytest.raises(ConfigError) as error:
        logits(nn.Linear(1, 1), split(0), Normaliser((0.5,), (0.5,)))
    assert str(error.value) == "There are no images to predict."
