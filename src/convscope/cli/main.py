"""Which verb was asked for?

The verb is found before anything heavy is imported, so `convscope --help`
and completion cost no torch.  A verb is a module of this package with a
function `main(arguments) -> int`; every error of convscope becomes one
message on stderr and the exit code of its class (core/errors.py).
"""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

import convscope
from convscope.core.errors import ConvscopeError, UnknownName

VERBS: Final = {
    "train": "train a network, or continue the same run where it stopped",
    "study": "arms x seeds with intervals, paired tests and verdicts; --plan shows the cost first",
    "tune": "search a better recipe on validation, then compare it with the default over fresh seeds",
    "resume": "continue a run in its directory",
    "evaluate": "score a run on its validation images",
    "test": "open the sealed test split, once, and score it",
    "ensemble": "combine runs: mean of their probabilities, or fitted weights",
    "predict": "write predictions.csv for images, folders or a split",
    "inspect": "look into a run's network: confusion, features, landscape ...",
    "audit": "images per class, copies, and labels that are probably wrong",
    "verify": "which statements of the source documents hold",
    "list": "what can be picked by name: models, sources, optimizers ...",
    "summary": "layers, shapes, parameters and multiply-adds of a model",
    "doctor": "is this machine set up right, and how fast is it?",
    "completion": "print completion for bash, zsh or fish",
}

HELP: Final = f"""\
convscope {convscope.__version__}: a laboratory for convolutional image classifiers

usage: convscope VERB ...

{chr(10).join(f"  {verb:<11} {line}" for verb, line in VERBS.items())}

examples:
  convscope train                                  LeNet-5 on 1,797 real digits, half a minute
  convscope train resnet20 cifar10 --seed 3        a network, a data set, a seed
  convscope train experiment.toml --epochs 40      a file, and what differs from it
  convscope study simplenn-decay --plan            arms x seeds: first what it costs and can show
  convscope resume runs/resnet20-*/seed-3          after a crash or Ctrl-C
  convscope predict runs/resnet20-*/seed-3 photos/ -o predictions.csv

`convscope VERB --help` says more.
exit codes: 0 done, 2 usage, 3 bad data, 4 diverged, 5 no space or memory, 130/143 interrupted (checkpoint written)
"""


_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
"""A path where nothing can be written or read: a word to the user, no traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if given[0] in ("-V", "--version"):
        print(f"convscope {convscope.__version__}")
        return 0
    try:
        if given[0] == "__complete":
            return int(_verb("completion").complete(given[1:]))
        if given[0] not in VERBS:
            raise UnknownName("verb", given[0], VERBS)
        return int(_verb(given[0]).main(given[1:]))
    except ConvscopeError as error:
        print(f"convscope: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("convscope: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in _CLOSED:
            raise
        print(f"convscope: {error.filename}: {error.strerror}.", file=sys.stderr)
        return 2


def _verb(name: str) -> Any:
    """The verb's module."""
    return importlib.import_module(f"convscope.cli.{name}")
