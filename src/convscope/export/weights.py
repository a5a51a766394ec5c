"""How do the weights of a run leave it?

As one plain safetensors file: tensors by the names the network gives them, in
float32 as they were trained.  `--weights` starts another run from it, and so
does any program that reads safetensors.
"""

from pathlib import Path

from convscope.core import files
from convscope.core.errors import ConfigError
from convscope.evaluate.runs import Run, Which, model_tensors


def weights(run: Run, path: str | Path, which: Which = "best") -> int:
    """Write the weights and statistics of a run.

    Args:
        run: finished or not; where it keeps an average of its weights, the average is written.
        path: ends with .safetensors; an earlier file of that name is replaced, all or nothing.
        which: `best` on validation, or `last`.

    Returns:
        The number of tensors.

    Raises:
        ConfigError: another ending, which other programs would open as something else.
        DataMissing, DamagedFile: the run has no such weights, or none that are intact.
        NoSpace: the disk is full.
    """
    from safetensors.torch import save

    target = Path(path)
    if target.suffix != ".safetensors":
        raise ConfigError(f"Weights are written as safetensors: {target} must end with .safetensors.")
    tensors = {name: tensor.contiguous() for name, tensor in model_tensors(run.model(which)).items()}
    files.write(target, save(tensors))
    return len(tensors)
