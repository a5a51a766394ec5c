"""Lesson 3: is it better, or was it luck?

    python examples/03_compare_recipes.py

One run each shows nothing: another seed moves the accuracy by as much as most
ideas do. Here three recipes for LeNet-5 are trained with five seeds each, on
1,797 real digits, and compared seed by seed. Takes about 40 s on two cores.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import convscope
from convscope.studies import Arm, Comparison, arm, equal, less

RECIPE = {"epochs": 8, "batch_size": 64, "lr": 0.05, "schedule": "linear"}


# The question and what you expect stand first: whoever writes them down afterwards expected what came.
@convscope.study(
    question="What do a tenth of the rate and batch norm do to LeNet-5 on digits?",
    expectation="A rate of 0.005 learns too little in eight epochs; batch norm is within two points.",
    model="lenet5",
    data="digits",
    recipe=RECIPE,
    baseline="default",
)
def digits() -> Iterator[Arm | Comparison]:
    """Rate and batch norm on digits."""
    yield arm("default")
    yield arm("a tenth of the rate", lr=0.005)
    yield arm("batch norm", {"model.norm": "batch"})
    yield less("a tenth of the rate", than="default", source="lesson 3")
    yield equal("batch norm", than="default", source="lesson 3", within=0.02)


def main() -> None:
    # Runs of one seed share split, first weights, order and augmentation in all arms, so a difference within a seed
    # is the arm's. Stop the script and start it again: what has ended is in the journal and is not made again.
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")
    report = convscope.run_study(digits, executor="processes", root=root)
    print(report)
    verdicts = [claim.judgement.verdict for claim in report.comparisons]
    # "Not distinguishable" would be an answer too, and is never the same as equal.
    assert verdicts[0] == "supported", verdicts


if __name__ == "__main__":  # each worker imports this script
    main()
