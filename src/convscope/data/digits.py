"""What are the digits that need no download?

The 1,797 handwritten digits of the UCI repository that ship with
scikit-learn: 8x8 grey levels 0 to 16, scaled bilinearly to 32x32 so that the
classic networks fit.  Ten classes, no test split of their own.
"""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from convscope.core.config import Choice

from .builder import content_hash
from .find import only_native_size
from .images import Arrays, Raw, Request

_BRIGHTEST = 16
_SIDE = 32


def digits(request: Request) -> Raw:
    """The embedded digits, (1797, 1, 32, 32); 20 % are sealed for testing, 20 % of all validate.

    Reference:
        Alpaydin, Kaynak (1998), Optical Recognition of Handwritten Digits.  https://doi.org/10.24432/C50P49
    """
    only_native_size(request, "digits")
    small, labels = embedded()
    images = scaled(small)
    train = Arrays(images, labels.astype(np.int64))
    classes = tuple(str(digit) for digit in range(10))
    return Raw(
        name="digits",
        classes=classes,
        train=train,
        test=None,
        test_images=0,
        hash=content_hash(classes, {"train": train}),
        # Half a pixel of the original; no mirroring, a mirrored 2 is not a 2 (S1.3).
        augment=(Choice(name="crop", options={"padding": 2}),),
        validation=0.25,  # of the four fifths that are not sealed, so a fifth of all
        test_share=0.2,
    )


def embedded() -> tuple[np.ndarray, np.ndarray]:
    """Grey levels 0..16, (1797, 8, 8), and labels, (1797,), as scikit-learn ships them."""
    # Importing scikit-learn takes 1.1 s of CPU, its file 0.04 s; where it has moved, scikit-learn knows.
    package = find_spec("sklearn")
    file = Path(package.origin).parent / "datasets/data/digits.csv.gz" if package and package.origin else None
    if file is not None and file.is_file():
        with gzip.open(file, "rt") as lines:
            table = np.loadtxt(lines, delimiter=",")
        return table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    return values.reshape(-1, 8, 8), labels


def scaled(small: np.ndarray) -> np.ndarray:
    """Grey levels 0..16, (N, 8, 8) -> uint8 (N, 1, 32, 32), 16 becoming 255."""
    grey = torch.from_numpy(np.asarray(small, dtype=np.float64))[:, None]
    large = torch.nn.functional.interpolate(grey, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
    return (large * (255 / _BRIGHTEST)).round().to(torch.uint8).numpy()
