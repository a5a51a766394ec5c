"""Training under another name, wrapper or process gives the same weights: row B6 for training, and run names."""

from pathlib import Path

import pytest
import tiny

from convscope.core.errors import ConfigError
from convscope.evaluate.runs import open_run
from convscope.train import run


@pytest.mark.usefixtures("cheap")
def test_python_and_a_file_ask_for_the_same_run(tmp_path: Path) -> None:
    """`train(...)`, `run(config)` and `resume(directory)` end in one directory, and train once."""
    first = tiny.go(tmp_path, **tiny.SHORTER)
    with tiny.traced(lambda record: pytest.fail("a step was made")):
        source = {"source": "synthetic", "options": {"images": 300, "size": 28, "noise": 0.4}}
        recipe = {"lr": 0.05, "batch_size": 32, "weight_decay": 5e-4, "warmup": 0.3, "augment": tiny.AUGMENT}
        same = run.train(
            {"name": "lenet5", "norm": "batch", "dropout": 0.2}, source, seed=3, root=tmp_path,
            cache_dir=tmp_path / "cache", device="cpu", threads=1, precision="float32", **recipe,
            epochs=tiny.SHORTER["epochs"], validate_every="5 steps",
        )  # fmt: skip
        assert same.root == first.root
        assert run.resume(first.root, cache_dir=tmp_path / "cache").root == first.root


@pytest.mark.usefixtures("cheap")
def test_the_directory_says_model_data_identity_and_seed(tmp_path: Path) -> None:
    found = tiny.go(tmp_path, **tiny.SHORTER)
    name, seed = found.root.parts[-2:]
    assert name.startswith("lenet5-synthetic-") and len(name.removeprefix("lenet5-synthetic-")) == 10
    assert seed == "seed-3"
    assert open_run(found.root.parent).root == found.root
    written = found.config
    assert written == open_run(found.root).config
    assert written.recipe.optimizer.options == {"momentum": 0.9, "nesterov": False}


def test_images_that_are_no_squares_are_refused(tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "set.npz", images=np.zeros((40, 28, 30), np.uint8), labels=np.arange(40) % 2)
    with pytest.raises(ConfigError) as error:
        tiny.go(tmp_path, data={"source": f"npz:{tmp_path / 'set.npz'}"})
    assert str(error.value) == (
        "The images are 30 wide and 28 high; networks here take squares. Give --size, e.g. --size 28."
    )
