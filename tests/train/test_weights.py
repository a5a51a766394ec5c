"""A run starts from the weights it was given, all of them or none, and is named by what they are."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file
from torch import Tensor

from convscope.core import records
from convscope.core.errors import ConfigError, ConvscopeError, DamagedFile, DataMissing
from convscope.evaluate.runs import Run, model_tensors
from convscope.export.weights import weights as export
from convscope.models import build
from convscope.train import run as runs
from convscope.train.events import Prepared

SHORT = {"epochs": 0.5, "validate_every": "5 steps", "checkpoint_every": "2 steps", "warmup": 0}
"""Five steps, a checkpoint after 2, 4 and 5, one validation."""


def tensors(net: str = "lenet", **shape: int) -> dict[str, Tensor]:
    """Those of a network with the tiny run's options, from another seed."""
    options = dict(tiny.NETS[net]["model"])
    shape = {"classes": 4, "channels": 1, "size": 28 if net != "resnet" else 16, **shape}
    made = model_tensors(build(options.pop("name"), **shape, seed=77, **options))
    # What trained networks have: statistics of their own, and numbers of batches.
    return {
        name: torch.full_like(t, 5) if t.ndim == 0 else t + 0.25 if "running" in name else t.contiguous()
        for name, t in made.items()
    }


def written(path: Path, found: dict[str, Tensor]) -> str:
    save_file(found, path)
    return str(path)


def begun(weights: str, net: str = "lenet", **changes: Any) -> dict[str, Tensor]:
    """The tensors of a run before its first step."""
    return model_tensors(tiny.session(net, weights=weights, **changes).model)


@pytest.mark.parametrize("net", ["lenet", "resnet"])
def test_every_tensor_of_the_file_is_there_before_the_first_step(tmp_path: Path, net: str) -> None:
    given = tensors(net)
    found = begun(written(tmp_path / "a.safetensors", given), net)
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in given.items())
    # The run's own start is another one.
    assert not torch.equal(model_tensors(tiny.session(net).model)["conv1.weight" if net == "resnet" else "c1.weight"],
                           given["conv1.weight" if net == "resnet" else "c1.weight"])  # fmt: skip


def test_the_average_starts_from_them_too(tmp_path: Path) -> None:
    given = tensors()
    session = tiny.session(weights=written(tmp_path / "a.safetensors", given), ema=0.9)
    assert session.ema is not None
    found = model_tensors(session.ema.model)
    assert all(torch.equal(found[name], tensor) for name, tensor in given.items())


def test_the_head_starts_anew_for_other_classes(tmp_path: Path) -> None:
    """The only layer that may differ, and in its number of rows only."""
    given, fresh = tensors(classes=1000), model_tensors(tiny.session().model)
    session = tiny.session(weights=written(tmp_path / "a.safetensors", given))
    found = model_tensors(session.model)
    for name, tensor in found.items():
        assert torch.equal(tensor, fresh[name] if name.startswith("output.") else given[name]), name
    assert session.notes == (
        f"Started from {tmp_path / 'a.safetensors'}: {len(given) - 2} of {len(given)} tensors. output.weight, "
        f"output.bias start anew, since it knows 1000 classes and these images have 4.",
    )


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    given = {name: t for name, t in tensors().items() if not name.endswith("num_batches_tracked")}
    found = begun(written(tmp_path / "a.safetensors", given))
    assert all(torch.equal(found[name], tensor) for name, tensor in given.items())


def test_half_precision_is_taken_exactly(tmp_path: Path) -> None:
    given = {name: t.half() if t.is_floating_point() else t for name, t in tensors().items()}
    found = begun(written(tmp_path / "a.safetensors", given))
    assert all(torch.equal(found[name], tensor.to(found[name].dtype)) for name, tensor in given.items())


def without(*names: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors().items() if name not in names}


OTHER = "They are of another network, or of one with other options (`convscope list models lenet5`)."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            lambda: without("c1.weight", "output.bias"),
            f"2 missing: c1.weight, output.bias. {OTHER}",
        ),
        (
            lambda: tensors() | {f"layer{i}.weight": torch.ones(2) for i in range(4)},
            f"4 unknown to the network: layer0.weight, layer1.weight, layer2.weight and 1 more. {OTHER}",
        ),
        (
            lambda: tensors() | {"norm3.bias": torch.ones(17), "c5.weight": torch.ones(2, 2)},
            f"2 of another shape: norm3.bias (17,) instead of (16,), c5.weight (2, 2) instead of (120, 400). {OTHER}",
        ),
        (
            lambda: without("norm3.bias") | {"norm3.bia": torch.ones(16)},
            f"1 missing: norm3.bias; 1 unknown to the network: norm3.bia. {OTHER}",
        ),
        (
            # Rows for other classes, but of another length: not the same layer.
            lambda: tensors() | {"output.weight": torch.ones(9, 83), "output.bias": torch.ones(9)},
            f"1 of another shape: output.weight (9, 83) instead of (4, 84). {OTHER}",
        ),
        (
            lambda: tensors(channels=3),
            "1 of another shape: c1.weight (6, 3, 5, 5) instead of (6, 1, 5, 5). They are for images in colour, and "
            "those of synthetic are grey: save these in colour (mode RGB), with three equal channels.",
        ),
        (
            lambda: tensors(channels=2),
            "1 of another shape: c1.weight (6, 2, 5, 5) instead of (6, 1, 5, 5). They are for images with 2 channels, "
            "and those of synthetic have 1.",
        ),
        (
            lambda: tensors() | {"aux1.conv.weight": torch.ones(2)},
            "1 unknown to the network: aux1.conv.weight. They include the auxiliary classifiers: build them too, with "
            "--model.auxiliary yes.",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path: Path, given: Any, said: str) -> None:
    path = written(tmp_path / "a.safetensors", given())
    count = len(tensors())
    with pytest.raises(ConfigError) as error:
        begun(path)
    assert str(error.value) == f"The weights in {path} do not fit lenet5. Of {count} tensors, {said}"


def test_a_wrappers_prefix_is_recognised(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", {f"module.{name}": t for name, t in tensors().items()})
    with pytest.raises(ConfigError) as error:
        begun(path)
    assert str(error.value).endswith(
        "All would fit without the first part of their names, 'module.': scripts/pth_to_safetensors.py takes "
        "`module.` away."
    )


def test_nothing_is_changed_by_weights_that_do_not_fit(tmp_path: Path) -> None:
    from convscope.train import weights as module

    config = tiny.config(weights=written(tmp_path / "a.safetensors", without("c1.weight")))
    session = tiny.session()
    before = tiny.of_tensors(session.model.state_dict())
    data = runs.load_config(config.data)
    with pytest.raises(ConfigError):
        module.start(session.model, config, data)
    assert tiny.of_tensors(session.model.state_dict()) == before


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("name", "content", "kind", "sentence"),
    [
        (
            "a.pth",
            b"PK\x03\x04...",
            ConfigError,
            "{path} is a pickle, as torch.save writes it, and opening one can run any program in it. Convert it once, "
            "which runs nothing: python scripts/pth_to_safetensors.py {path} {folder}/a.safetensors",
        ),
        (
            # The content counts, not the name.
            "a.safetensors",
            b"\x80\x02}q\x00.",
            ConfigError,
            "{path} is a pickle, as torch.save writes it, and opening one can run any program in it. Convert it once, "
            "which runs nothing: python scripts/pth_to_safetensors.py {path} {folder}/a.safetensors",
        ),
        ("a.safetensors", b"hello", DamagedFile, "{path} is not a safetensors file: "),
        (
            "none.safetensors",
            None,
            DataMissing,
            "There are no weights in {path}. Give a safetensors file or the directory of a run. A run that has begun "
            "does not need them any more: continue it with `convscope resume`.",
        ),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    tmp_path: Path, name: str, content: bytes | None, kind: type[ConvscopeError], sentence: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind) as error:
        tiny.go(tmp_path / "runs", weights=str(path))
    assert str(error.value).startswith(sentence.format(path=path, folder=tmp_path))


def test_a_mistyped_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    written(tmp_path / "resnet50.safetensors", tensors())
    with pytest.raises(DataMissing, match=r" Did you mean 'resnet50\.safetensors'\? "):
        begun(str(tmp_path / "resnet5.safetensors"))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", tensors() | {"norm3.bias": torch.full((16,), torch.nan)})
    with pytest.raises(DamagedFile) as error:
        begun(path)
    assert str(error.value) == f"{path} cannot be used: norm3.bias is not finite."


@pytest.mark.parametrize(
    ("options", "flag"), [({"grow": True}, "--grow"), ({"weights_sha256": "0" * 64}, "--weights-sha256")]
)
def test_options_about_weights_need_weights(tmp_path: Path, options: dict[str, Any], flag: str) -> None:
    with pytest.raises(ConfigError) as error:
        tiny.go(tmp_path, **options)
    assert str(error.value) == (
        f"{flag} is about the weights that a run starts from: give them too, with --weights."
    )


# The name of the run, and its continuation ---------------------------------------------------------------------


@pytest.mark.usefixtures("cheap")
def test_the_content_names_the_run(tmp_path: Path) -> None:
    """The same weights elsewhere are the same run; other weights in the same place are another."""
    path, elsewhere = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    written(path, tensors())
    shutil.copy(path, elsewhere)
    first = tiny.go(tmp_path, **SHORT, weights=str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (first.config.recipe.weights, first.config.recipe.weights_sha256) == (str(path), digest)
    assert first.environment["config"]["recipe"]["weights_sha256"] == digest
    assert tiny.go(tmp_path, **SHORT, weights=str(elsewhere)).root == first.root
    written(path, tensors() | {"output.bias": torch.ones(4)})
    second = tiny.go(tmp_path, **SHORT, weights=str(path))
    assert second.root != first.root != tiny.go(tmp_path, **SHORT).root
    # A configuration that was written down wants what it had.
    with pytest.raises(DamagedFile) as error:
        runs.run(
            first.config.model_copy(update={"seed": 4}), runs.Place(tmp_path, cache_dir=tmp_path / "cache")
        )
    now = hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(error.value) == (
        f"The weights in {path} are not those this run was named by: their SHA-256 is {now}, and {digest} is wanted. "
        f"Put the others back, or leave the wanted number out (weights_sha256) to train from these as a run of its own."
    )


@pytest.mark.usefixtures("cheap")
def test_a_run_that_has_begun_needs_the_file_no_more(tmp_path: Path) -> None:
    """Killed after a checkpoint, it ends as if it had not been; finished, it is found."""
    path = written(tmp_path / "a.safetensors", tensors())
    tiny.go(tmp_path / "straight", **SHORT, weights=path, freeze_epochs=0.3)
    wanted = tiny.digest(tmp_path / "straight")
    root = tmp_path / "killed"
    with tiny.traced(tiny.crash_after(3)), pytest.raises(tiny.Crash):
        tiny.go(root, **SHORT, weights=path, freeze_epochs=0.3)
    Path(path).unlink()
    for _ in range(2):
        runs.resume(tiny.directory(root), cache_dir=root / "cache")
        assert tiny.digest(root) == wanted
    # The same configuration, as it was written down, finds the run.
    config = Run(tiny.directory(root)).config
    with tiny.traced(lambda record: pytest.fail("a step was made")):
        found = runs.run(config, runs.Place(root, cache_dir=root / "cache"))
    assert found.root == tiny.directory(root)
    with pytest.raises(DataMissing, match="There are no weights in"):
        tiny.go(root, **SHORT, weights=path, freeze_epochs=0.3)


# Runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small residual network after five steps; its best weights are those of the end."""
    with tiny.cheap():
        return tiny.go(tmp_path_factory.mktemp("trained"), "resnet", **SHORT)


def test_the_best_weights_of_a_run(trained: Run, tmp_path: Path) -> None:
    """The same from its directory, from the one above, and from the file it exports."""
    given = model_tensors(trained.model("best"))
    exported = tmp_path / "exported.safetensors"
    assert export(trained, exported) == len(given)
    for place in (trained.root, trained.root.parent, exported):
        found = begun(str(place), "resnet")
        assert all(torch.equal(found[name], tensor) for name, tensor in given.items())


def data(**changes: Any) -> dict[str, Any]:
    options = {"images": 300, "size": 16, "noise": 0.4, **changes.pop("options", {})}
    return {"source": "synthetic", "options": options, **changes}


def test_the_head_of_a_run_is_taken_by_the_names_of_the_classes(trained: Run, tmp_path: Path) -> None:
    """As many classes, of other names: position decides nothing."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / "set" / name).mkdir(parents=True)
    from PIL import Image

    for number in range(40):
        image = Image.new("L", (16, 16), number)
        image.save(tmp_path / "set" / "abcd"[number % 4] / f"{number}.png")
    other = {"source": f"folder:{tmp_path / 'set'}"}
    session = tiny.session("resnet", weights=str(trained.root), data=other)
    fresh = model_tensors(tiny.session("resnet", data=other).model)
    given = model_tensors(trained.model())
    for name, tensor in model_tensors(session.model).items():
        assert torch.equal(tensor, fresh[name] if name.startswith("fc.") else given[name]), name
    assert session.notes[0].endswith(
        "fc.weight, fc.bias start anew, since it knows other classes than these images have."
    )


@pytest.mark.usefixtures("cheap")
def test_a_run_that_learned_what_is_held_out_here_is_refused(trained: Run, tmp_path: Path) -> None:
    for changed, said in (
        ({"split_seed": 1}, "split_seed 0 -> 1"),
        ({"validation": 0.2}, "validation 0.1 -> 0.2"),
        ({"folds": 3, "fold": 1}, "validation 0.1 -> None, folds 0 -> 3, fold None -> 1"),
    ):
        with pytest.raises(ConfigError) as error:
            tiny.session("resnet", weights=str(trained.root), data=data(**changed))
        assert str(error.value) == (
            f"{trained.root} was trained on the same images, divided in another way ({said}), so it has learned images "
            f"that are held out here, and every score would be too good. Divide them as it did."
        )
    # Of other images nothing is known; and a refit holds nothing out but the test split, which is the same.
    tiny.session("resnet", weights=str(trained.root), data=data(split_seed=1, options={"seed": 8}))
    tiny.session("resnet", weights=str(trained.root), data=data(refit=True))


def test_networks_that_differ_are_compared_option_by_option(trained: Run) -> None:
    with pytest.raises(ConfigError) as error:
        tiny.session("lenet", weights=str(trained.root), data=data(options={"size": 28}))
    assert "The networks differ: name resnet20 there, lenet5 here; " in str(error.value)
    assert "size 16 there, 28 here. If that one is only shallower, let it --grow." in str(error.value)


def deeper(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    monkeypatch.setitem(tiny.NETS["resnet"], "model", {"name": "resnet32", "width": 4, **changes})


@pytest.mark.usefixtures("cheap")
def test_a_deeper_network_grows_out_of_a_run(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3.46, from the command's point of view: the first scores are those of the shallower network's end."""
    deeper(monkeypatch)
    events: list[Any] = []
    grown = tiny.go(
        tmp_path, "resnet", **SHORT, weights=str(trained.root), grow=True, freeze_epochs=0.3, watch=events.append
    )  # fmt: skip
    (prepared,) = [event for event in events if isinstance(event, Prepared)]
    assert prepared.notes == (
        f"Started from {trained.root}. 39 layers are those of the shallower network; 6 blocks start as the identity "
        f"(layer1.3, layer1.4, layer2.3, ..., layer3.4).",
    )
    session = tiny.session("resnet", weights=str(trained.root), grow=True)
    images, _ = session.batch(0)
    with torch.no_grad():
        assert torch.equal(session.model.eval()(images), trained.model()(images))
    assert grown.config.recipe.grow and records.read_json(grown.paths.result)["status"] == "finished"


def test_a_grown_head_of_other_classes_starts_anew(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    deeper(monkeypatch)
    other = data(options={"classes": 5})
    fresh = model_tensors(tiny.session("resnet", data=other).model)
    session = tiny.session("resnet", weights=str(trained.root), grow=True, data=other)
    assert torch.equal(model_tensors(session.model)["fc.weight"], fresh["fc.weight"])
    assert session.notes[-1] == "fc.weight, fc.bias start anew, since that run knows other classes."


def test_a_file_cannot_grow(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", tensors())
    with pytest.raises(ConfigError) as error:
        begun(path, grow=True)
    assert str(error.value) == (
        f"--grow needs to know the shallower network, and a file of tensors such as {path} does not say which it is. "
        f"Give --weights the directory of a run."
    )


@pytest.mark.usefixtures("cheap")
def test_muon_may_not_stretch_a_convolution_of_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tiny.NETS["resnet"], "model", {"name": "resnet20", "width": 4, "version": 2})
    shallow = tiny.go(tmp_path, "resnet", **SHORT)
    deeper(monkeypatch, version=2)
    with pytest.raises(ConfigError) as error:
        tiny.session("resnet", weights=str(shallow.root), grow=True, optimizer="muon")
    assert str(error.value) == (
        "layer1.3.conv2.weight starts at zero, so that its block is the identity, and muon would keep its norm at "
        "another number. Give --optimizer.fix_norm no, or another --optimizer."
    )
    free = {"name": "muon", "fix_norm": False}
    session = tiny.session("resnet", weights=str(shallow.root), grow=True, optimizer=free)
    assert not model_tensors(session.model)["layer1.3.conv2.weight"].any()
