"""Search spaces: read by hand, written back, and every refusal as a whole sentence."""

import pytest

from convscope.core.config import Recipe
from convscope.core.errors import ConfigError
from convscope.studies import space
from convscope.studies.space import Choices, Range


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("lr=0.001..1:log", Range("lr", 0.001, 1.0, log=True)),
        ("lr=1e-5..1e-2:log", Range("lr", 1e-5, 1e-2, log=True)),
        ("recipe.lr=.1...5", Range("lr", 0.1, 0.5)),
        ("model.dropout=0..0.5", Range("model.dropout", 0, 0.5)),
        ("epochs=2..5", Range("epochs", 2, 5)),
        ("batch_size=8..512:log", Range("batch_size", 8, 512, log=True)),
        ("batch_size=32,64,128", Choices("batch_size", (32, 64, 128))),
        ("model.norm=none,batch", Choices("model.norm", ("none", "batch"))),
        ("decoupled=true,false", Choices("decoupled", (True, False))),
        ("weights=../a,../b", Choices("weights", ("../a", "../b"))),
        ('optimizer=["sgd:momentum=0.9,nesterov=true","adam"]',
         Choices("optimizer", ("sgd:momentum=0.9,nesterov=true", "adam"))),
        ('augment=[["crop","flip"],"none"]', Choices("augment", (["crop", "flip"], "none"))),
    ],
)  # fmt: skip
def test_a_word_is_read_and_written_back(text: str, wanted: space.Axis) -> None:
    found = space.axis(text)
    assert found == wanted
    assert space.axis(str(found)) == found


def test_whole_numbers_are_tried_only_if_both_ends_are_whole() -> None:
    assert space.axis("epochs=2..5").value(4) == 4
    assert isinstance(space.axis("epochs=2..5").value(4), int)
    assert space.axis("model.dropout=0..0.5").value(0.123456) == 0.1235
    assert isinstance(space.axis("epochs=2..5.0").value(4), float)


def test_four_digits_are_tried_and_never_beyond_an_end() -> None:
    found = Range("lr", 0.00123456, 0.98765432, log=True)
    assert found.value(0.0123449) == 0.01234
    assert found.value(0.98764) == 0.9876
    assert Range("lr", 0.00123446, 1.0).value(0.00123447) == 0.00123446  # not 0.001234, which is outside
    assert found.value(0.9876543) == 0.98765432  # not 0.9877


def test_a_choice_is_found_again_by_its_word() -> None:
    found = space.axis('augment=[["crop","flip"],"none"]')
    assert isinstance(found, Choices)
    assert found.words == ('["crop", "flip"]', "none")
    assert [found.value(word) for word in found.words] == [["crop", "flip"], "none"]


def test_without_a_space_the_rate_is_searched_around_its_default() -> None:
    rate, decay = space.default(Recipe(lr=0.03))
    assert rate == Range("lr", 0.001, 0.9, log=True)
    assert decay == Range("weight_decay", 1e-5, 1e-2, log=True)


DATA = (
    "Of the data, data.size, data.fit and data.label_noise can be; other fields decide which images are validated on, "
    "and accuracies on different images cannot be compared."
)
FORMS = "write KEY=LOW..HIGH, KEY=LOW..HIGH:log, or KEY=A,B,C."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lr", f"--space does not understand 'lr': {FORMS}"),
        ("=1..2", f"--space does not understand '=1..2': {FORMS}"),
        ("lr=", f"--space does not understand 'lr=': {FORMS}"),
        ("lr=1..0.1", "--space lr: the range 1..0.1 is empty: the lower end stands first."),
        ("lr=0.1..0.1", "--space lr: the range 0.1..0.1 is empty: the lower end stands first."),
        ("lr=0..1:log", "--space lr: a logarithmic scale has no 0. Begin above zero, or leave :log out."),
        (
            "lr=0.1..1:lgo",
            "--space lr: there is no scale 'lgo'. Did you mean 'log'? Write lr=0.1..1:log, or lr=0.1..1 for an even one.",
        ),
        ("lr=0.1..1e999", "--space lr: 0.1..1e999 has no finite width."),
        (
            "lr=0.1",
            "--space lr: '0.1' is one choice, so there is nothing to search. To fix the value, write --set lr=0.1.",
        ),
        (
            "lr=0.1..x",
            "--space lr: '0.1..x' is one choice, so there is nothing to search. A range is written lr=0.001..1, with "
            "numbers as its ends. To fix the value, write --set lr=0.1..x.",
        ),
        ("batch_size=32,64,32", "--space batch_size: 32 is given twice."),
        ("batch_size=32,,64", "--space batch_size: a choice in 'batch_size=32,,64' is empty."),
        ("data=digits,mnist", f"--space: 'data' cannot be searched. {DATA}"),
        ("data.split_seed=0..9", f"--space: 'data.split_seed' cannot be searched. {DATA}"),
        ("data.sise=28,32", f"--space: 'data.sise' cannot be searched. Did you mean 'data.size'? {DATA}"),
    ],
)
def test_what_cannot_be_searched_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        space.axis(text)
    assert str(refused.value) == sentence


def test_a_key_is_given_once() -> None:
    with pytest.raises(ConfigError) as refused:
        space.read(["lr=0.1..1", "batch_size=32,64", "recipe.lr=1..2"])
    assert str(refused.value) == "--space gives lr twice: give each key once."
