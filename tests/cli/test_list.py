"""list, summary, completion: text from the catalog."""

import pytest

from convscope.cli.completion import candidates
from convscope.core import catalog
from convscope.core.config import DataConfig, Recipe


@pytest.mark.parametrize("kind", catalog.kinds())
def test_every_kind_is_listed_with_every_name_and_source(kind, command) -> None:
    code, told, _ = command("list", kind)
    lines = told.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == catalog.names(kind)
    assert all(
        item.line in line and item.source in line
        for item, line in zip(catalog.items(kind), lines, strict=True)
    )


def test_the_options_of_a_model_are_listed_with_defaults(command) -> None:
    code, told, _ = command("list", "models", "resnet20")
    assert code == 0
    assert "  shortcut      'A' " in told
    assert "  recipe: epochs " in told


def test_the_options_of_an_augmentation_are_explained_with_what_is_allowed(command) -> None:
    _, told, _ = command("list", "augmentations", "crop")
    assert told.splitlines()[1:] == [
        "  padding  4            pixels added on each side.",
        "  mode     'zero'       what is added: black (`zero`), or the image mirrored at its outermost pixels, which are "
        "not repeated (`reflect`), so that no black edge tells how far the image has moved. (zero, reflect)",
    ]


def test_every_option_of_training_is_listed_with_its_source(command) -> None:
    code, told, _ = command("list", "options")
    listed = dict(line.split(maxsplit=1) for line in told.splitlines())
    assert code == 0
    for config in (Recipe, DataConfig):
        for name, field in config.model_fields.items():
            if name not in ("source", "options"):
                (source,) = (mark.text for mark in field.metadata if isinstance(mark, catalog.Source))
                assert listed[name.replace("_", "-")] == f"{field.description} {source}."
    assert listed["clip"].endswith("a longer one is scaled; 0 is off. Pascanu et al. (2013).")
    _, kinds, _ = command("list")
    assert kinds.splitlines()[-1].split(maxsplit=1) == ["options", ", ".join(listed)]


def test_summary_prints_the_table_of_the_source_document(command) -> None:
    code, told, _ = command("summary", "simplenn")
    assert code == 0
    # S1.17: weights without biases, layer by layer; S1.18: 82,030 with them.
    for line in (
        "8x28x28       600",
        "16x12x12    1,152",
        "120        69,120",
        "84         10,080",
        "10            840",
    ):
        assert line in told
    assert "82,030" in told


@pytest.mark.parametrize(
    ("before", "some"),
    [
        ([], {"train", "resume", "predict"}),
        (["train"], {"lenet5", "resnet20"}),
        (["train", "lenet5"], {"digits", "folder:"}),
        (["train", "lenet5", "digits"], {"--epochs", "--lr", "--seed", "--root"}),
        (["train", "lenet5", "digits", "--schedule"], {"cosine", "one-cycle"}),
        (["train", "lenet5", "digits", "--select"], {"balanced_accuracy", "loss"}),
        (["train", "lenet5", "digits", "--class-weights"], {"none", "balanced"}),
        (["list"], {"models", "sources", "options"}),
        (["list", "optimizers"], {"sgd", "adam"}),
        (["summary"], {"simplenn"}),
        (["completion"], {"bash", "zsh", "fish"}),
        (["predict", "run"], {"--split", "--output"}),
    ],
)
def test_completion_offers_what_may_follow(before, some) -> None:
    assert some <= set(candidates(before))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_convscope(shell, command) -> None:
    code, told, _ = command("completion", shell)
    assert code == 0
    assert "convscope __complete" in told


def test_bash_understands_the_script(tmp_path, command) -> None:
    import shutil
    import subprocess

    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    _, script, _ = command("completion", "bash")
    asked = (
        script
        + 'COMP_WORDS=(convscope tr); COMP_CWORD=1\nconvscope() { echo train; }\n_convscope; echo "$COMPREPLY"'
    )
    done = subprocess.run([bash, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "train\n"
