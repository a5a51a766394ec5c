"""`convscope train` from the first word to the claim, and what it does with runs that go wrong."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from convscope.cli import parse
from convscope.core import files
from convscope.core.config import to_toml
from convscope.evaluate.runs import open_run
from convscope.export.weights import weights as export

from .conftest import TINY


def test_it_shows_what_it_does_and_ends_with_a_claim(command, tmp_path) -> None:
    code, told, watched = command("train", "lenet5", "synthetic", *TINY, "--root", tmp_path)
    root = next(tmp_path.glob("lenet5-synthetic-*/seed-0"))
    result = json.loads((root / "result.json").read_text())
    assert code == 0
    for fact in (
        "61,196 parameters",
        "144 training, 16 validation",
        "ln 4 = 1.386",
        "decay      none on 230",
        "about ",
    ):
        assert fact in watched, fact
    assert f"lenet5 on synthetic, accuracy of the final weights: {result['final']['accuracy']:.2%} [" in told
    assert "n = 16 images, 1 seed, validation split" in told
    assert told.endswith(f"Open it once, when all is decided: convscope test {root}\n")


def test_the_same_command_again_trains_nothing(command, trained) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
    root = trained.parent.parent
    code, _, watched = command(
        "train", "lenet5", "synthetic", *TINY, "--precision", "float32", "--root", root
    )
    changed = {path for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert (code, watched) == (0, "")
    assert changed <= {trained / ".lock"}


def test_a_file_and_the_flags_on_top_of_it(command, trained, tmp_path) -> None:
    code, _, _ = command("train", trained / "config.toml", "--seed", "5", "--root", tmp_path)
    again = open_run(next(tmp_path.glob("*/seed-5")))
    assert code == 0
    assert again.root.parent.name == trained.parent.name
    assert again.config.recipe == open_run(trained).config.recipe


def test_dotted_options_reach_the_model_and_the_schedule(command, tmp_path) -> None:
    words = [
        "--model.norm",
        "batch",
        "--schedule",
        "step",
        "--schedule.every=1",
        "--optimizer.momentum",
        "0.5",
    ]
    code, _, _ = command("train", "simplenn:dropout=0.1", "synthetic", *TINY, *words, "--root", tmp_path)
    config = open_run(next(tmp_path.glob("*/seed-0"))).config
    assert code == 0
    assert config.model.options["norm"] == "batch"
    assert config.model.options["dropout"] == 0.1
    assert config.recipe.schedule.options == {"every": 1.0, "factor": 0.1}
    assert config.recipe.optimizer.options == {"momentum": 0.5, "nesterov": False}


@pytest.mark.parametrize(
    "words",
    [
        ["--schedule", "milestones", "--schedule.at", "10,15"],
        ["--schedule", "milestones", "--schedule.at=[10, 15]"],
        ["--schedule", "milestones:at=[10,15]"],
    ],
)
def test_a_list_as_an_option_of_a_choice(words, tmp_path) -> None:
    """Written in three ways, and read from a file with another flag on top."""
    names = ["lenet5", "digits"]
    for arguments in ([*names, *words], [str(tmp_path / "run.toml"), "--epochs", "16"]):
        given, _ = parse.run_config(parse.take_apart(arguments), "convscope train", "")
        resolved = given.recipe.schedule.resolved("schedules")
        assert resolved.options == {"at": (10.0, 15.0), "factor": 0.1}
        run = given.model_copy(update={"recipe": given.recipe.model_copy(update={"schedule": resolved})})
        (tmp_path / "run.toml").write_text(to_toml(run))


@pytest.mark.parametrize(
    ("words", "resolved"),
    [
        (["none"], []),
        (["flip", "crop:padding=1"], ["flip(p=0.5, how=random)", "crop(padding=1, mode=zero)"]),
    ],
)
def test_augmentations_by_word_or_by_list(words, resolved, command, tmp_path) -> None:
    code, _, _ = command("train", "lenet5", "synthetic", *TINY, "--augment", *words, "--root", tmp_path)
    config = open_run(next(tmp_path.glob("*/seed-0"))).config
    assert code == 0
    assert [str(choice) for choice in config.recipe.augment] == resolved


def test_weights_to_start_from_are_shown_and_recorded(command, trained, tmp_path) -> None:
    file = tmp_path / "lenet5.safetensors"
    export(open_run(trained), file)
    words = ["--weights", file, "--freeze-epochs", "0.5", "--body-lr=0.1", "--root", tmp_path / "runs"]
    code, _, watched = command("train", "lenet5", "synthetic", *TINY, *words)
    config = open_run(next((tmp_path / "runs").glob("*/seed-0"))).config
    assert code == 0
    for fact in (
        f"option     weights {file}\n",
        f"option     weights_sha256 {files.sha256(file)}\n",
        "option     freeze_epochs 0.5\n",
        "option     body_lr 0.1\n",
        f"note       Started from {file}: 10 of 10 tensors.\n",
    ):
        assert fact in watched, fact
    assert (config.recipe.weights, config.recipe.weights_sha256) == (str(file), files.sha256(file))
    assert not config.recipe.grow
    assert command("train", "lenet5", "synthetic", *TINY, "--weights", tmp_path / "no.pth") == (
        3,
        "",
        f"convscope: There are no weights in {tmp_path / 'no.pth'}. Give a safetensors file or the directory of a run. "
        f"Files there: lenet5.safetensors. A run that has begun does not need them any more: continue it with "
        f"`convscope resume`.\n",
    )
    assert command("train", "lenet5", "digits", "--body-lr", "2") == (
        2,
        "",
        "convscope: --body-lr cannot be '2': Input should be less than or equal to 1.\n",
    )


def test_one_batch_by_heart(command, tmp_path) -> None:
    code, _, watched = command(
        "train", "lenet5", "synthetic", *TINY, "--overfit-one-batch", "--root", tmp_path
    )
    assert code == 0
    assert watched.startswith("One batch of 32 images by heart: loss 1.")


def test_a_rate_far_too_large_diverges_with_exit_code_4(command, tmp_path) -> None:
    code, told, watched = command("train", "lenet5", "synthetic", *TINY, "--lr", "1e6", "--root", tmp_path)
    message = watched.splitlines()[-1]
    result = json.loads(next(tmp_path.glob("*/seed-0/result.json")).read_text())
    assert (code, told) == (4, "")
    assert message == f"convscope: {result['message']}"
    assert result["status"] == "diverged"
    assert "Nothing that is not finite was written." in message
    again = command("train", "lenet5", "synthetic", *TINY, "--lr", "1e6", "--root", tmp_path)
    assert again[0] == 4
    assert again[2].endswith("The same run would diverge again.\n")


def test_a_full_disk_is_exit_code_5_and_the_run_goes_on_when_there_is_room(
    command, tmp_path, monkeypatch
) -> None:
    fired = []

    def full(operation: str, path: Path) -> None:
        if operation == "write" and "checkpoints" in path.parts and "step-00000006" in path.name:
            fired.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = ["train", "lenet5", "synthetic", *TINY, "--checkpoint-every", "3 steps", "--root", tmp_path]
    with monkeypatch.context() as patch:
        patch.setattr(files, "on_operation", full)
        code, _, watched = command(*words)
    root = next(tmp_path.glob("*/seed-0"))
    tensors = root / "checkpoints" / "step-00000006.safetensors"
    assert len(fired) == 1
    assert code == 5
    needed = watched.splitlines()[-1].split("needs ")[1].split(" bytes")[0]
    assert watched.splitlines()[-1] == (
        f"convscope: The disk is full: {tensors} needs {needed} bytes. What was written before is intact; free "
        "some space and give the same command again."
    )
    assert sorted(os.listdir(root / "checkpoints")) == ["step-00000003.json", "step-00000003.safetensors"]
    code, _, watched = command(*words)
    assert code == 0
    assert "resumed    at step 3 of 10" in watched


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(command, tmp_path, monkeypatch) -> None:
    words = ["train", "lenet5", "synthetic", *TINY, "--checkpoint-every", "3 steps", "--root", tmp_path]
    assert command(*words)[0] == 0
    root = next(tmp_path.glob("*/seed-0"))
    (root / "result.json").unlink()
    newest = root / "checkpoints" / "step-00000010.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    code, _, watched = command(*words)
    assert code == 0
    assert f"note       {newest} does not agree with the SHA-256 in its manifest.\n" in watched
    assert "resumed    at step 9 of 10" in watched


def test_checkpoints_without_their_record_are_not_continued(command, tmp_path) -> None:
    words = ["train", "lenet5", "synthetic", *TINY, "--root", tmp_path]
    assert command(*words)[0] == 0
    root = next(tmp_path.glob("*/seed-0"))
    (root / "result.json").unlink()
    (root / "environment.json").unlink()
    assert command(*words) == (
        3,
        "",
        f"convscope: {root} has checkpoints but no environment.json, so nobody knows what they continue. "
        "Put the file back, or remove the directory to begin anew.\n",
    )


def test_an_edited_configuration_is_refused_field_by_field(command, tmp_path) -> None:
    words = ["train", "lenet5", "synthetic", *TINY, "--root", tmp_path]
    assert command(*words)[0] == 0
    root = next(tmp_path.glob("*/seed-0"))
    config = root / "config.toml"
    config.write_text(config.read_text().replace("lr = 0.02", "lr = 0.5").replace("seed = 0", "seed = 1", 1))
    code, told, watched = command("resume", root)
    assert (code, told) == (2, "")
    assert watched == (
        f"convscope: {root} was begun with another configuration:\n"
        "  recipe.lr: 0.02 -> 0.5\n"
        "  seed: 0 -> 1\n"
        "Put config.toml back, or train the new configuration as a run of its own: "
        f"convscope train {config}\n"
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_a_checkpoint_and_ends_with_its_code(number, code, command, tmp_path) -> None:
    words = ["train", "lenet5", "synthetic", *TINY, "--epochs", "2000", "--root", str(tmp_path)]
    child = subprocess.Popen([sys.executable, "-m", "convscope", *words], stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    seen = []
    for line in child.stderr:
        seen.append(line)
        if line.startswith("epoch   3"):
            break
    child.send_signal(number)
    sent = time.monotonic()
    rest = child.stderr.read()
    child.stderr.close()
    assert child.wait(timeout=20) == code
    # Two seconds on a quiet machine; tests run beside others.
    assert time.monotonic() - sent < 10
    root = next(tmp_path.glob("*/seed-0"))
    step = rest.splitlines()[-1].split("step ")[1].split(" ")[0]
    assert rest.splitlines()[-1] == (
        f"convscope: Stopped at step {step} of 10000; the checkpoint is written. Continue with: "
        f"convscope resume {root}"
    )
    assert (root / "checkpoints" / f"step-{int(step):08d}.json").exists()


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--train-only", "norms"], "train_only", ("norms",)),
        (["--train-only", "c1.*", "output.weight", "--seed", "1"], "train_only", ("c1.*", "output.weight")),
        (["--class-weights", "balanced"], "class_weights", "balanced"),
        (["--class-weights", "1", "2.5", "0"], "class_weights", (1.0, 2.5, 0.0)),
        (["--augment", "crop:padding=1", "flip", "--seed", "1"], "augment", ("crop(padding=1)", "flip")),
        (["--augment", "none"], "augment", "none"),
    ],
)
def test_flags_of_one_word_or_several(words, field, value) -> None:
    config, _ = parse.run_config(parse.take_apart(["lenet5", "digits", *words]), "train", "")
    found = getattr(config.recipe, field)
    assert (tuple(map(str, found)) if field == "augment" and found != "none" else found) == value


@pytest.mark.parametrize("words", [["balnced"], ["1", "x"]])
def test_a_list_that_cannot_be_is_refused(words, command) -> None:
    assert command("train", "lenet5", "digits", "--class-weights", *words) == (
        2,
        "",
        f"convscope: --class-weights cannot be '{' '.join(words)}': Input should be 'none' or 'balanced'; or else: "
        f"Input should be a valid number, unable to parse string as a number.\n",
    )


def test_folds_train_a_network_each_and_give_the_mean(command, tmp_path) -> None:
    words = ["train", "lenet5", "synthetic", *TINY, "--folds", "2", "--root", tmp_path]
    code, told, _ = command(*words)
    runs = [open_run(path) for path in tmp_path.glob("*/seed-0")]
    runs.sort(key=lambda run: run.config.data.fold or 0)
    assert code == 0
    lines = told.splitlines()
    assert lines[0] == "fold  images  correct  accuracy  run"
    for fold, (line, run) in enumerate(zip(lines[1:3], runs, strict=True)):
        assert run.result is not None
        final = run.result["final"]
        expected = f"{fold:4}  {80:6}  {final['correct']:7}  {final['accuracy']:8.2%}  {run.root}"
        assert line == expected
    assert lines[3].startswith("Mean validation accuracy of the final weights: ")
    assert lines[4].endswith(f": {runs[0].environment['command']}") and ", 1 thread, commit " in lines[4]
    # One fold alone is one of these runs, and is reported as any run.
    code, told, watched = command(*words, "--fold", "1")
    assert (code, watched) == (0, "")
    assert f"convscope test {runs[1].root}" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--fold", "1"], "fold is 1, but folds does not say of how many. Give both, such as --folds 5."),
        (["--folds", "3", "--fold", "3"], "fold is 3, but the parts of folds = 3 are 0 to 2."),
        (
            ["--folds", "3", "--refit"],
            "refit trains on the validation images too, and folds = 3 holds them out. Leave one of the two out.",
        ),
        (
            ["--label-noise", "symetric"],
            "No noise is called 'symetric'. Did you mean 'symmetric'? Known: exact, matrix, pair, symmetric.",
        ),
        (
            ["--label-noise", "pair:rate=1.5"],
            "The option 'rate' of the noise 'pair' cannot be 1.5: Input should be less than or equal to 1.",
        ),
    ],
)
def test_folds_and_noise_that_cannot_be_are_refused(words, sentence, command, tmp_path) -> None:
    done = command("train", "lenet5", "folder:nowhere", *words, "--root", tmp_path)
    assert done == (2, "", f"convscope: {sentence}\n")


def test_noise_is_said_and_kept_in_the_records(command, tmp_path) -> None:
    words = ["train", "lenet5", "synthetic", *TINY, "--label-noise", "exact:rate=0.25", "--root", tmp_path]
    code, _, watched = command(*words)
    found = open_run(next(tmp_path.glob("*/seed-0")))
    assert code == 0
    assert "note       Label noise exact(rate=0.25): 36 of 144 training labels (25.00%) are wrong" in watched
    # Both axes are named, and what a row sums to is said (E4.1).
    header = "note       P(noisy label | true label): each row is one true label and sums to 1, columns are noisy labels"
    assert [line[:5] for line in watched.partition(f"{header}\n")[2].splitlines()[:2]] == ["     "] * 2
    noise = found.config.data.label_noise
    assert noise is not None
    assert (noise.name, noise.options) == ("exact", {"rate": 0.25})
    counts = np.array(found.result["label_noise"]["counts"])
    assert (counts.sum(), np.trace(counts)) == (144, 144 - 36)


@pytest.mark.parametrize(
    ("kind", "example"), [("augment", "crop:padding=2 flip:p=0.5"), ("label-noise", "symmetric:rate=0.2")]
)
def test_options_that_follow_a_name_are_not_flags(kind, example, command) -> None:
    assert command("train", "lenet5", "digits", f"--{kind}.key", "2") == (
        2,
        "",
        f"convscope: There is no flag --{kind}.key. Options follow the name they belong to: --{kind} {example}.\n",
    )


def test_what_is_minimised_and_what_chooses_are_named(command, tmp_path) -> None:
    words = [*TINY, "--loss", "mse", "--select", "balanced_accuracy", "--root", tmp_path]
    code, told, watched = command("train", "lenet5", "synthetic", *words)
    found = open_run(next(tmp_path.glob("*/seed-0")))
    best = found.result["best"]
    assert code == 0
    assert " on the next batch; mse\n" in watched and "ln 4" not in watched
    first = found.metrics[0]
    assert (
        f"train mse {first['train_loss']:.3f}  val cross-entropy {first['val_loss']:.3f}  val accuracy "
        f"{first['val_accuracy']:.2%}  val balanced accuracy {first['val_balanced_accuracy']:.2%}  "
    ) in watched
    assert (
        f"Best on validation by balanced accuracy: {best['val_balanced_accuracy']:.2%} at epoch {best['epoch']:g}, "
        f"accuracy {best['val_accuracy']:.2%}.\n"
    ) in told
