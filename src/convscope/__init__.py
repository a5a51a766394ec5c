"""convscope: a laboratory for convolutional image classifiers.

    import convscope

    run = convscope.train("lenet5", "digits", seed=0)
    print(convscope.evaluate(run).accuracy)
    print(convscope.predict(run, "photos/").names)

Names are imported when they are first used, so `import convscope` is quick
and needs no torch.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.catalog import Item, register
    from .core.config import Choice, ComputeConfig, DataConfig, Recipe, RunConfig
    from .core.errors import ConvscopeError
    from .data import load
    from .diagnostics import inspect
    from .evaluate.ensemble import ensemble
    from .evaluate.predicting import predict
    from .evaluate.runs import open_run
    from .evaluate.scoring import evaluate
    from .models import build
    from .models.fold import fold
    from .models.grow import grow
    from .studies import run_study
    from .studies.design import study
    from .train.run import resume, train

__version__ = "0.1.0"

_HOMES = {
    "Choice": "core.config",
    "ComputeConfig": "core.config",
    "ConvscopeError": "core.errors",
    "DataConfig": "core.config",
    "Item": "core.catalog",
    "Recipe": "core.config",
    "RunConfig": "core.config",
    "build": "models",
    "ensemble": "evaluate.ensemble",
    "evaluate": "evaluate.scoring",
    "fold": "models.fold",
    "grow": "models.grow",
    "inspect": "diagnostics",
    "load": "data",
    "open_run": "evaluate.runs",
    "predict": "evaluate.predicting",
    "register": "core.catalog",
    "resume": "train.run",
    "run_study": "studies",
    "study": "studies.design",
    "train": "train.run",
}

__all__ = [
    "Choice",
    "ComputeConfig",
    "ConvscopeError",
    "DataConfig",
    "Item",
    "Recipe",
    "RunConfig",
    "build",
    "ensemble",
    "evaluate",
    "fold",
    "grow",
    "inspect",
    "load",
    "open_run",
    "predict",
    "register",
    "resume",
    "run_study",
    "study",
    "train",
]


class _Public(types.ModuleType):
    """Keeps `convscope.train` the function when the package of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'convscope' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"convscope.{_HOMES[name]}"), name)
        super().__setattr__(name, value)
        return value

    def __dir__(self) -> list[str]:
        return __all__


sys.modules[__name__].__class__ = _Public
