"""`convscope completion`: let the shell finish words.

The shell asks `convscope __complete WORD...` with the words typed so far; the
answer comes from the catalog and the types of the flags, without torch.
"""

from collections.abc import Sequence
from pathlib import Path

from convscope.core import catalog
from convscope.core.errors import UnknownName

SCRIPTS = {
    "bash": """\
_convscope() {
    local IFS=$'\\n'
    COMPREPLY=($(convscope __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _convscope convscope
""",
    "zsh": """\
#compdef convscope
_convscope() {
    local -a found
    found=(${(f)"$(convscope __complete "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)"})
    (( $#found )) && compadd -- $found || _files
}
compdef _convscope convscope
""",
    "fish": """\
complete -c convscope -a '(convscope __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
""",
}

HELP = """\
Print a script that lets the shell finish verbs, models, data sets and flags.

usage: convscope completion bash|zsh|fish

examples:
  convscope completion bash >> ~/.bashrc
  convscope completion zsh > ~/.zfunc/_convscope
  convscope completion fish > ~/.config/fish/completions/convscope.fish
"""


def main(arguments: Sequence[str]) -> int:
    """Print the script for a shell."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if arguments[0] not in SCRIPTS:
        raise UnknownName("shell", arguments[0], SCRIPTS)
    print(SCRIPTS[arguments[0]], end="")
    return 0


def complete(words: Sequence[str]) -> int:
    """Print what may stand for the last of these words."""
    *before, last = list(words) or [""]
    for candidate in candidates(before):
        if candidate.startswith(last):
            print(candidate)
    return 0


def candidates(before: Sequence[str]) -> list[str]:
    """All that may follow these words; nothing where a path may follow."""
    from .main import VERBS

    if not before:
        return list(VERBS)
    verb, *rest = before
    choices = {
        "--optimizer": "optimizers",
        "--schedule": "schedules",
        "--loss": "losses",
        "--label-noise": "noises",
    }
    if rest and rest[-1] in choices:
        return catalog.names(choices[rest[-1]])
    if rest and rest[-1].startswith("--") and (allowed := _literals(verb, rest[-1])):
        return allowed
    if verb == "list":
        if not rest:
            return [*catalog.kinds(), "options"]
        return catalog.names(rest[0]) if len(rest) == 1 and rest[0] in catalog.kinds() else []
    if verb == "completion":
        return list(SCRIPTS)
    if verb == "verify":
        return [name for name in catalog.names("topics") if name not in rest]
    if verb == "study" and not any(word.startswith("-") for word in rest):
        return [name for name in catalog.names("studies") if name not in rest]
    names = [word for word in rest if not word.startswith("-")]
    wanted = {"train": 2, "tune": 2, "summary": 1}.get(verb, 0)  # names in front
    if len(rest) < wanted and len(names) == len(rest):
        return catalog.names("models") if not rest else _sources()
    if verb == "audit" and not rest:
        return _sources()
    if verb in ("resume", "evaluate", "test", "predict", "ensemble") and not rest:
        return [str(path.parent) for path in sorted(Path("runs").glob("*/seed-*/config.toml"))]
    return _flags(verb)


def _literals(verb: str, flag: str) -> list[str]:
    """The words a flag of `train` may have, where they are few and known."""
    from convscope.core.config import ComputeConfig, DataConfig, Recipe

    fields = {**Recipe.model_fields, **DataConfig.model_fields, **ComputeConfig.model_fields}
    field = fields.get(flag.removeprefix("--").replace("-", "_"))
    return list(map(str, catalog.literals(field.annotation))) if verb == "train" and field else []


def _sources() -> list[str]:
    places = ("folder", "parquet", "npz")
    return [f"{name}:" if name in places else name for name in catalog.names("sources")]


def _flags(verb: str) -> list[str]:
    import importlib

    from . import parse

    module = importlib.import_module(f"convscope.cli.{verb}")
    flags = parse.TrainFlags if verb == "train" else getattr(module, "Flags", None)
    return ["--help", *(parse.flag_fields(flags) if flags else ())]
