"""What the command answers to words it does not know: the whole sentence, and the exit code."""

import subprocess
import sys
from pathlib import Path

import pytest

from convscope.cli.main import VERBS, main
from convscope.core import catalog
from convscope.train.run import command_line

MODELS = ", ".join(sorted(catalog.names("models")))
SOURCES = "cifar10, cifar100, digits, fashion-mnist, folder, mnist, npz, parquet, synthetic"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["trian"],
            "No verb is called 'trian'. Did you mean 'train'? Known: audit, completion, doctor, ensemble, evaluate, "
            "inspect, list, predict, resume, study, summary, test, train, tune, verify.",
        ),
        (
            ["train", "resnet_20", "digits"],
            f"No model is called 'resnet_20'. Did you mean 'resnet20' or 'resnet50'? Known: {MODELS}.",
        ),
        (
            ["train", "lenet5", "cifar-10"],
            f"No data set is called 'cifar-10'. Did you mean 'cifar10' or 'cifar100'? Known: {SOURCES}.",
        ),
        (
            ["train", "lenet5", "digits", "--epocs", "3"],
            "There is no flag --epocs. Did you mean '--epochs'? `convscope train --help` lists all.",
        ),
        (
            ["train", "lenet5", "digits", "--epochs", "-3"],
            "--epochs cannot be '-3': Input should be greater than 0.",
        ),
        (
            ["train", "lenet5", "digits", "--lr=fast"],
            "--lr cannot be 'fast': Input should be a valid number, unable to parse string as a number.",
        ),
        (
            ["train", "lenet5", "digits", "--decay", "some"],
            "--decay cannot be 'some': Input should be 'weights' or 'all'.",
        ),
        (
            ["train", "lenet5", "digits", "--validate-every", "often"],
            "--validate-every cannot be 'often': say how often as '10 steps' or '10 epochs', not 'often'.",
        ),
        (
            ["train", "lenet5", "digits", "--schedule", "stp"],
            "No schedule is called 'stp'. Did you mean 'step'? Known: constant, cosine, exponential, inverse, "
            "inverse-sqrt, linear, milestones, one-cycle, step, warm-restarts.",
        ),
        (
            ["train", "lenet5", "digits", "--schedule", "milestones", "--schedule.at", "15,10"],
            "The option 'at' of the schedule 'milestones' cannot be '15,10': Give epochs that rise, such as 10,15.",
        ),
        (
            ["train", "lenet5", "digits", "--augment", "crp"],
            "No augmentation is called 'crp'. Did you mean 'crop'? Known: crop, cutmix, cutout, flip, "
            "jitter, mixup, random-resized-crop, rotate, shift, vertical-flip.",
        ),
        (
            ["train", "lenet5", "digits", "--augment", "crop:pading=2"],
            "The augmentation 'crop' has no option 'pading'. Did you mean 'padding'? Options: mode, padding.",
        ),
        (
            ["train", "lenet5", "digits", "--augment", "flip", "crop:2"],
            "'crop:2' is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE.",
        ),
        (
            ["train", "lenet5:norm", "digits"],
            "'lenet5:norm' is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE.",
        ),
        (
            ["train", "lenet5", "digits", "--model.init", "kaiming:fan=both"],
            "The option 'fan' of the initialisation 'kaiming' cannot be 'both': Input should be 'auto', 'in' or "
            "'out'.",
        ),
        (
            ["train", "lenet5", "digits", "--model.drop", "0.1"],
            "The model 'lenet5' has no option 'drop'. Did you mean 'dropout'? Options: activation, "
            "conv_dropout, dropout, init, norm, separable, version.",
        ),
        (
            ["train", "lenet5", "digits", "--model.dropout", "3"],
            "The option 'dropout' of the model 'lenet5' cannot be 3: Input should be less than 1.",
        ),
        (
            ["train", "lenet5", "digits", "--device", "tpu"],
            "No device is called 'tpu'. Did you mean 'cpu'? Known: auto, cpu, cuda, mps.",
        ),
        (
            ["train", "lenet5", "digits", "--import", "nosuchmodule"],
            "--import nosuchmodule: No module named 'nosuchmodule'.",
        ),
        (
            ["train", "a", "b", "c"],
            "train takes a model and a data set, or one file; 3 names were given: a, b, c.",
        ),
        (
            ["list", "modles"],
            "No kind of thing is called 'modles'. Did you mean 'models'? Known: activations, augmentations, "
            "diagnostics, inits, losses, models, noises, optimizers, schedules, sources, studies, topics.",
        ),
        (
            ["completion", "csh"],
            "No shell is called 'csh'. Did you mean 'zsh'? Known: bash, fish, zsh.",
        ),
    ],
)
def test_a_word_that_is_not_known(words, sentence, command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(*words) == (2, "", f"convscope: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_an_unknown_key(command, tmp_path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text("[recipe]\nepocs = 3\n")
    code, _, told = command("train", file)
    assert (code, told) == (
        2,
        f"convscope: {file}: recipe.epocs is not known. Did you mean 'epochs'? Known: accumulate, augment, "
        "batch_size, body_lr, class_weights, clip, decay, decoupled, early_stop, ema, enlarge, epochs, freeze_epochs, "
        "grow, l1, loss, lr, optimizer, progressive, schedule, select, train_only, validate_every, warmup, weight_decay, "
        "weights, weights_sha256.\n",
    )


def test_a_file_that_is_no_toml(command, tmp_path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text("epochs: 3\n")
    code, _, told = command("train", file)
    assert code == 2
    assert told.startswith(f"convscope: {file} is not TOML: ")


def test_a_directory_that_is_no_run_names_those_nearby(command, trained) -> None:
    code, _, told = command("evaluate", trained.parent.parent / "nothing")
    assert (code, told) == (
        3,
        f"convscope: There is no run in {trained.parent.parent / 'nothing'}: it has no config.toml. "
        f"Runs nearby: {trained}.\n",
    )


def test_help_names_every_verb_and_the_exit_codes(command) -> None:
    code, told, _ = command("--help")
    assert code == 0
    assert all(f"  {verb} " in told for verb in VERBS)
    assert "0 done, 2 usage, 3 bad data, 4 diverged, 5 no space or memory, 130/143 interrupted" in told


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"completion", "list"}))
def test_every_verb_has_examples_in_its_help(verb, command) -> None:
    code, told, _ = command(verb, "--help")
    assert code == 0
    assert "examples:" in told
    assert f"convscope {verb}" in told


def test_no_verb_is_help() -> None:
    assert main([]) == 0


@pytest.mark.parametrize("words", ["--help", "train --help", "list models", "__complete train res"])
def test_what_needs_no_torch_does_not_import_it(words) -> None:
    probe = (
        "import sys; from convscope.cli.main import main\n"
        f"try: main({words.split()!r})\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'scipy', 'sklearn', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_a_module_can_be_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "convscope", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.startswith("convscope 0.")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["/usr/bin/convscope", "train", "lenet5", "--seed", "3"], "convscope train lenet5 --seed 3"),
        (["/lib/convscope/__main__.py", "list"], "convscope list"),
        (["lab.py", "my photos", "a'b"], """lab.py 'my photos' 'a'"'"'b'"""),
    ],
)
def test_a_command_is_recorded_as_it_can_be_typed_again(
    typed: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", typed)
    assert command_line() == said
