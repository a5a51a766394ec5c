"""A run's directory as something to work with; weights fit exactly or are refused: row B6."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from convscope.core import records, snapshot
from convscope.core.config import DataConfig
from convscope.core.errors import ClassMismatch, ConfigError, DamagedFile, DataMissing
from convscope.data import load_config
from convscope.evaluate.runs import Card, Run, load_tensors, model_tensors, open_run, plain_name
from convscope.evaluate.scoring import evaluate
from convscope.models import build


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("run")
    with tiny.cheap():
        return tiny.go(root, epochs=1)


# Weights ----------------------------------------------------------------------------------------------------


def network(seed: int = 0) -> nn.Module:
    return build("lenet5", classes=4, channels=1, size=28, norm="batch", seed=seed)


class Wrapper(nn.Module):
    """Keeps a network under a name, as torch.compile and DistributedDataParallel do."""

    def __init__(self, inner: nn.Module, name: str) -> None:
        super().__init__()
        self.add_module(name, inner)


def modes(model: nn.Module) -> dict[str, nn.Module]:
    """As it is, compiled, in parallel, and both."""
    return {
        "eager": model,
        "compiled": Wrapper(model, "_orig_mod"),
        "parallel": Wrapper(model, "module"),
        "both": Wrapper(Wrapper(model, "module"), "_orig_mod"),
    }


@pytest.mark.parametrize("saved", ["eager", "compiled", "parallel", "both"])
@pytest.mark.parametrize("loaded", ["eager", "compiled", "parallel", "both"])
def test_weights_load_whatever_wrapped_them(saved: str, loaded: str) -> None:
    """B6: four ways to save, four ways to load."""
    original, other = network(0), network(1)
    assert tiny.of_tensors(original.state_dict()) != tiny.of_tensors(other.state_dict())
    tensors = {name: tensor.clone() for name, tensor in model_tensors(modes(original)[saved]).items()}
    assert tensors.keys() == original.state_dict().keys()
    load_tensors(modes(other)[loaded], tensors, "here")
    assert tiny.of_tensors(original.state_dict()) == tiny.of_tensors(other.state_dict())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_wrappers_are_those_of_torch() -> None:
    """The stand-ins above name their inside as the real ones do."""
    model = network()
    real = {"compiled": torch.compile(model), "parallel": nn.DataParallel(model)}
    for mode, wrapped in real.items():
        assert wrapped.state_dict().keys() == modes(model)[mode].state_dict().keys()
        assert model_tensors(wrapped).keys() == model.state_dict().keys()


def edits(dice: random.Random, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One key missing, renamed, added, reshaped or of another type."""
    changed = dict(tensors)
    name = dice.choice(list(changed))
    kind = dice.choice(["missing", "renamed", "added", "reshaped", "retyped"])
    if kind in ("missing", "renamed"):
        value = changed.pop(name)
        if kind == "renamed":
            changed[name + dice.choice(["_", ".x", "2"])] = value
    elif kind == "added":
        changed[name + ".extra"] = torch.zeros(2)
    elif kind == "reshaped":
        changed[name] = torch.cat([changed[name].flatten(), torch.zeros(1)])
    else:
        changed[name] = changed[name].to(torch.float16)
    return changed


def test_fifty_edits_are_refused_and_nothing_is_loaded() -> None:
    """B6: never a random initialisation in silence."""
    dice = random.Random(0)
    tensors = {name: tensor.clone() for name, tensor in network(1).state_dict().items()}
    for _ in range(50):
        model = network(0)
        before = tiny.of_tensors(model.state_dict())
        with pytest.raises(DamagedFile, match=r"^The weights in there do not fit the network: .+\.$"):
            load_tensors(model, edits(dice, tensors), "there")
        assert tiny.of_tensors(model.state_dict()) == before


def test_the_sentence_about_weights_that_do_not_fit() -> None:
    tensors = dict(nn.Linear(2, 3).state_dict())
    tensors["bias"] = torch.zeros(4)
    tensors["more"] = torch.zeros(1)
    del tensors["weight"]
    with pytest.raises(DamagedFile) as error:
        load_tensors(nn.Linear(2, 3), tensors, "a.safetensors")
    assert str(error.value) == (
        "The weights in a.safetensors do not fit the network: bias has shape (4,) instead of (3,); more is not part "
        "of the network; weight is missing."
    )


def test_plain_names() -> None:
    assert plain_name("_orig_mod.module.features.0.weight") == "features.0.weight"
    assert plain_name("features.0.weight") == "features.0.weight"


# The directory -----------------------------------------------------------------------------------------------


def test_opening_by_either_directory(run: Run, tmp_path: Path) -> None:
    assert open_run(run.root) == open_run(str(run.root.parent)) == run
    root = tmp_path / run.root.parent.name
    for seed in (3, 4):
        shutil.copytree(run.root, root / f"seed-{seed}")
    with pytest.raises(DataMissing) as error:
        open_run(root)
    assert str(error.value) == f"{root} holds 2 runs; name one: {root / 'seed-3'}, {root / 'seed-4'}."
    with pytest.raises(DataMissing) as error:
        open_run(root / "seed-5")
    assert str(error.value) == (
        f"There is no run in {root / 'seed-5'}: it has no config.toml. Runs nearby: {root / 'seed-3'}, "
        f"{root / 'seed-4'}."
    )
    with pytest.raises(DataMissing) as error:
        open_run(tmp_path / "empty" / "run")
    assert str(error.value) == (
        f"There is no run in {tmp_path / 'empty' / 'run'}: it has no config.toml. `convscope train` makes one."
    )


def test_the_parts(run: Run) -> None:
    assert run.config.seed == 3
    assert run.environment["threads"] == 1 and run.environment["bit_exact"] is True
    assert [record["step"] for record in run.metrics] == [4, 8, 9]
    assert run.result is not None and run.result["status"] == "finished"
    assert run.openings == []
    assert not run.model().training
    assert run.card() == Card.from_table(json.loads(json.dumps(run.snapshot().state["card"])))


def test_the_network_of_the_card_is_the_network(run: Run) -> None:
    model = run.card().network()
    assert model.state_dict().keys() == run.model("last").state_dict().keys()


def test_reading_while_it_trains_needs_no_lock(run: Run) -> None:
    from convscope.core import files

    with files.held(run.root):
        assert evaluate(open_run(run.root)).images == 30


def test_weights_that_are_not_there_or_damaged(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "seed-3"
    shutil.copytree(run.root, root)
    (tensors,) = (root / "best").glob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(DamagedFile) as error:
        Run(root).model()
    assert str(error.value) == (
        f"No intact snapshot in {root / 'best'}: {tensors} does not agree with the SHA-256 in its manifest."
    )
    shutil.rmtree(root / "best")
    with pytest.raises(DataMissing) as missing:
        Run(root).model()
    assert str(missing.value) == f"{root} has no best weights yet: it has not reached its first validation."


def test_a_card_that_is_not_complete() -> None:
    with pytest.raises(DamagedFile, match=r"^The snapshot's card is not complete: "):
        Card.from_table({"classes": ["a"], "mean": [0.0]})


def test_data_with_other_classes_are_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from convscope.evaluate import runs

    options = {"images": 100, "size": 28, "classes": 5}
    other = load_config(DataConfig(source="synthetic", options=options))
    monkeypatch.setattr(runs, "load_config", lambda config, **where: other)
    with pytest.raises(ClassMismatch) as error:
        run.data()
    assert str(error.value) == (
        "synthetic has the classes 0 degrees, 36 degrees, 72 degrees, 108 degrees, 144 degrees; this run was trained "
        "on 0 degrees, 45 degrees, 90 degrees, 135 degrees."
    )


def test_a_claim_holds_all_there_is_to_know(run: Run) -> None:
    scores = evaluate(run)
    claim = run.claim(scores.correct, scores.images, "validation", "best")
    assert claim.value == scores.accuracy and claim.low < claim.value < claim.high
    assert (claim.interval, claim.n, claim.split) == ("Wilson 95 %", "30 images, 1 seed", "validation")
    assert claim.what == "lenet5 on synthetic, accuracy of the best weights"
    assert claim.command == "tiny"


@pytest.mark.parametrize(
    ("split", "hint"), [("test", " The test split is opened by `convscope test RUN`."), ("vla", "")]
)
def test_only_two_splits_are_evaluated(run: Run, split: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        evaluate(run, split=split)
    assert str(error.value) == f"There is no split {split!r} to evaluate: choose val or train.{hint}"


def test_opening_leaves_the_directory_as_it_was(run: Run) -> None:
    def content() -> dict[str, Any]:
        return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in run.root.rglob("*") if p.is_file()}

    before = content()
    found = open_run(run.root)
    evaluate(found)
    evaluate(found, split="train", weights="last")
    assert content() == before
    assert records.read(found.paths.metrics) and snapshot.manifests(found.paths.best)


def test_names_that_differ_only_by_a_wrappers_prefix_are_refused() -> None:
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))
            self.module = nn.Linear(2, 2, bias=False)

    with pytest.raises(ConfigError) as caught:
        model_tensors(Twins())
    assert str(caught.value) == (
        "Some parameters of the network differ only by a part called 'module' or '_orig_mod' in their "
        "names, which are the names of torch's wrappers. Rename that part of the network."
    )
