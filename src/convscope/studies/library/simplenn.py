"""The tables of S1 on SimpleNN and CIFAR-10, and its statements about dropout, sparsity and dead units.

Everything is at the printed scale (X1.1, X1.2): 45,000 and 5,000 images, batches of 128, 30 epochs, SGD with
momentum 0.9, L2 1e-4 on all parameters, framework initialisation.  One thing differs: X1.2 divides centred pixels by
0.20, we by the deviation of all training pixels, 0.25, so that our inputs are a fifth smaller.  S1 prints the best
validation accuracy of any epoch of one run; so does the measure, which is chosen on the images it is scored on and
therefore a little high.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..design import Arm, Comparison, Published, arm, different, factorial, greater, less, study

_PLAIN = {
    "epochs": 30, "batch_size": 128, "lr": 0.01, "optimizer": "sgd:momentum=0.9", "schedule": "constant",
    "weight_decay": 1e-4, "decay": "all", "augment": "none",
}  # fmt: skip
_CROP_FLIP = ["crop:padding=4", "flip"]
_AUGMENTED = {**_PLAIN, "augment": _CROP_FLIP}
_BOTH: dict[str, Any] = {"model": "simplenn:norm=batch", "data": "cifar10", "recipe": _AUGMENTED}
"""With augmentation and batch norm, as in all later tables of S1."""
_SCALE = "X1.2 divides centred pixels by 0.20, here by the deviation of all of them, 0.25: inputs are a fifth smaller."
_CHOSEN = "S1 too prints the best validation accuracy of any epoch, of one run."
_BEST: dict[str, Any] = {
    "measure": "best_accuracy", "also": ("final_accuracy", "gap"), "remarks": (_SCALE, _CHOSEN)
}  # fmt: skip


@study(
    question="Does multiplying the rate by 0.1 every 10 or 15 epochs help the plain pipeline?",
    expectation="Yes, by one to two points; S1's 1.0 for every 15 epochs is within the noise of a single run.",
    model="simplenn", data="cifar10", recipe=_PLAIN, baseline="constant", **_BEST,
)  # fmt: skip
def simplenn_decay() -> Iterator[Arm | Comparison]:
    """Learning-rate decay."""
    yield arm("constant", published=Published(0.6570, "S1.28"))
    yield arm("x0.1 every 10", schedule="step:every=10", published=Published(0.6802, "S1.29"))
    yield arm("x0.1 every 15", schedule="step:every=15", published=Published(0.6668, "S1.30"))
    yield greater("x0.1 every 10", "constant", "S1.29", by=0.0232)
    yield greater("x0.1 every 15", "constant", "S1.30", by=0.0098)


@study(
    question="Do random crops (padding 4) and flips help?",
    expectation="Yes, by several points: the plain network overfits after ten epochs.",
    model="simplenn", data="cifar10", recipe=_PLAIN, baseline="none", **_BEST,
)  # fmt: skip
def simplenn_augment() -> Iterator[Arm | Comparison]:
    """Augmentation."""
    yield arm("none", published=Published(0.6570, "S1.35"))
    yield arm("crop and flip", augment=_CROP_FLIP, published=Published(0.7286, "S1.36"))
    yield greater("crop and flip", "none", "S1.36", by=0.0716)


@study(
    question="Does batch norm after each convolution help at a rate of 0.01?",
    expectation="A little: S1's difference of 1.1 points is 1.3 standard errors of counting alone.",
    model="simplenn", data="cifar10", recipe=_AUGMENTED, baseline="without", seeds=8, **_BEST,
)  # fmt: skip
def simplenn_norm() -> Iterator[Arm | Comparison]:
    """Batch norm at the default rate."""
    yield arm("without", published=Published(0.7286, "S1.38"))
    yield arm("batch norm", {"model.norm": "batch"}, published=Published(0.7400, "S1.38"))
    yield greater("batch norm", "without", "S1.38", by=0.0114)


@study(
    question="Does batch norm allow larger learning rates?",
    expectation="Yes: without it the accuracy collapses from 0.05 on; the interaction with the rate is the claim.",
    model="simplenn", data="cifar10", recipe=_AUGMENTED, baseline="norm none, rate 0.01", axis="lr",
    why_many="beside three claims, the effects of a factorial are asked together", **_BEST,
)  # fmt: skip
def simplenn_norm_rates() -> Iterator[Arm | Comparison]:
    """Batch norm by learning rate."""
    rates = ("0.01", "0.05", "0.1", "0.2")
    printed = {
        "none": (Published(0.7286, "S1.38"), *(Published(x, "S1.39") for x in (0.6454, 0.5218, 0.3182))),
        "batch": (Published(0.7400, "S1.38"), *(Published(x, "S1.40") for x in (0.7314, 0.7012, 0.6430))),
    }
    yield from factorial(
        {
            "norm": {norm: {"model.norm": norm} for norm in printed},
            "rate": {rate: {"lr": float(rate)} for rate in rates},
        },
        {(norm, rate): value for norm in printed for rate, value in zip(rates, printed[norm], strict=True)},
    )
    for rate, without, with_norm in zip(rates[1:], printed["none"][1:], printed["batch"][1:], strict=True):
        by = round(with_norm.value - without.value, 4)
        yield greater(f"norm batch, rate {rate}", f"norm none, rate {rate}", "S1.39-40", by=by)


@study(
    question="Is Swish better than ReLU?",
    expectation="Not by much: S1's 1.3 points are one run each, as its author says.",
    **_BOTH, baseline="ReLU", seeds=8,
    **{**_BEST, "remarks": ("The task of S1.41 asks for a rate of 0.1; its table has 0.01 (E1.5), and so have we.",
                            *_BEST["remarks"])},
)  # fmt: skip
def simplenn_swish() -> Iterator[Arm | Comparison]:
    """Swish against ReLU."""
    yield arm("ReLU", published=Published(0.7400, "S1.42"))
    yield arm("Swish", {"model.activation": "swish"}, published=Published(0.7526, "S1.42"))
    yield greater("Swish", "ReLU", "S1.42", by=0.0126)


@study(
    question="Do leaky ReLU and ELU leave fewer dead units than ReLU, and does that cost accuracy or speed?",
    expectation="Fewer dead units, the same accuracy; whether they learn more slowly is open.",
    **_BOTH, baseline="ReLU", measure="activations/dead_share",
    also=("best_accuracy", "mean_accuracy", "activations/dead"),
    remarks=(
        "A unit counts as dead that no image looked at lifts above zero. Behind leaky ReLU and ELU it still has a "
        "gradient and can recover, so there the count says less than S1.7 means.", _SCALE,
    ),
)  # fmt: skip
def simplenn_rectifiers() -> Iterator[Arm | Comparison]:
    """Dead units: ReLU, leaky ReLU and ELU."""
    yield arm("ReLU")
    yield arm("leaky ReLU", {"model.activation": "leaky-relu"})
    yield arm("ELU", {"model.activation": "elu"})
    yield less("leaky ReLU", "ReLU", "S1.7")
    yield less("ELU", "ReLU", "S4.6")
    yield less("leaky ReLU", "ReLU", "S1.7", measure="mean_accuracy")


@study(
    question="Which learning rate is the best?",
    expectation="0.01 to 0.05 alike; 0.001 has not converged, 1.0 does not learn.",
    **_BOTH, baseline="0.01", axis="lr", **_BEST,
)  # fmt: skip
def simplenn_rate() -> Iterator[Arm | Comparison]:
    """Learning rates from 0.001 to 1."""
    printed = {"0.001": 0.6830, "0.005": 0.7288, "0.01": 0.7400, "0.05": 0.7314, "0.1": 0.7012, "1.0": 0.1054}
    for rate, accuracy in printed.items():
        yield arm(rate, lr=float(rate), published=Published(accuracy, "S1.43"))
    for rate, accuracy in printed.items():
        if rate != "0.01":
            yield less(rate, "0.01", "S1.43-44", by=round(accuracy - printed["0.01"], 4))


@study(
    question="How much L2 is best, at the rate of 0.01 that the table must have had (E1.4)?",
    expectation="No difference between 0 and 1e-3, a loss of several points at 1e-2.",
    **_BOTH, baseline="1e-4", seeds=8, axis="weight_decay", **_BEST,
)  # fmt: skip
def simplenn_l2() -> Iterator[Arm | Comparison]:
    """L2 from 0 to 0.01."""
    printed = {"0": 0.7352, "1e-5": 0.7374, "1e-4": 0.7400, "1e-3": 0.7308, "1e-2": 0.6624}
    for l2, accuracy in printed.items():
        yield arm(l2, weight_decay=float(l2), published=Published(accuracy, "S1.45"))
    for l2, accuracy in printed.items():
        if l2 != "1e-4":
            yield less(l2, "1e-4", "S1.45", by=round(accuracy - printed["1e-4"], 4))


@study(
    question="Does L1 give a sparser network than L2, and at what cost?",
    expectation="Yes: more of the weights are small beside their layer's root mean square; accuracy alike.",
    **_BOTH, baseline="L2 1e-4", measure="weights/total_small", also=("best_accuracy", "weights/total_l1"),
    remarks=(_SCALE,),
)  # fmt: skip
def simplenn_l1() -> Iterator[Arm | Comparison]:
    """L1 against L2: sparsity."""
    yield arm("L2 1e-4")
    yield arm("L1 1e-5", weight_decay=0.0, l1=1e-5)
    yield arm("L1 1e-4", weight_decay=0.0, l1=1e-4)
    yield greater("L1 1e-5", "L2 1e-4", "S1.6, S1.46-47")
    yield greater("L1 1e-4", "L2 1e-4", "S1.6, S1.46-47")


@study(
    question="Is dropout with an L-norm worse than either alone, and what does dropout cost?",
    expectation="In so small a network dropout underfits, with or without a penalty.",
    **_BOTH, baseline="dropout 0, penalty none", measure="best_accuracy",
    also=("mean_accuracy", "gap", "train_accuracy"), remarks=(_SCALE,),
)  # fmt: skip
def simplenn_dropout() -> Iterator[Arm | Comparison]:
    """Dropout by L-norm."""
    yield from factorial(
        {
            "dropout": {"0": {}, "0.3": {"model.dropout": 0.3}},
            "penalty": {
                "none": {"weight_decay": 0.0},
                "L2": {"weight_decay": 1e-3},
                "L1": {"weight_decay": 0.0, "l1": 1e-5},
            },
        }
    )
    yield less("dropout 0.3, penalty L2", "dropout 0.3, penalty none", "S1.5")
    yield less("dropout 0.3, penalty L2", "dropout 0, penalty L2", "S1.5")
    yield less("dropout 0.3, penalty L1", "dropout 0.3, penalty none", "S1.5")
    yield less("dropout 0.3, penalty L1", "dropout 0, penalty L1", "S1.5")
    # "It may take more time to converge", which is a lower mean over the epochs.
    yield less("dropout 0.3, penalty none", "dropout 0, penalty none", "S1.4", measure="mean_accuracy")


@study(
    question="Which technique helps SimpleNN most, when each is taken away from the whole?",
    expectation="Augmentation first, then batch norm, then decay of the rate; Swish and L2 hardly.",
    model="simplenn:norm=batch,activation=swish", data="cifar10", recipe={**_AUGMENTED, "schedule": "step:every=10"},
    baseline="all", **_BEST,
)  # fmt: skip
def simplenn_techniques() -> Iterator[Arm | Comparison]:
    """Techniques ranked by what is lost without each, as S1.59 asks of ResNet-20."""
    yield arm("all")
    yield arm("no augmentation", augment="none")
    yield arm("no batch norm", {"model.norm": "none"})
    yield arm("no decay of the rate", schedule="constant")
    yield arm("ReLU for Swish", {"model.activation": "relu"})
    yield arm("no L2", weight_decay=0.0)
    for name in ("no augmentation", "no batch norm", "no decay of the rate", "ReLU for Swish", "no L2"):
        yield different(name, "all")
