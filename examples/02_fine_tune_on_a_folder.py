"""Lesson 2: teach a trained network new classes with twenty images.

    python examples/02_fine_tune_on_a_folder.py [FOLDER FOR RUNS]

Twenty images are few for 61,026 parameters.  A network that has learned from
other images of the same kind brings most of them along: only its last layer
must be new.  Here LeNet-5 knows the ten digits, and a folder of images asks
whether a digit is even or odd.  It is trained three times from those weights
and three times from scratch, and what came out is said, no more.  Takes under
a minute on two cores; run it again and nothing is trained, since the runs are
there.  Fails if its target is missed.
"""

import sys
from pathlib import Path
from statistics import fmean

from PIL import Image

import convscope
from convscope.core.intervals import student

TARGET = 0.80
"""Mean accuracy of the fine-tuned networks on validation images that this lesson promises."""
SEEDS = (0, 1, 2)
EPOCHS = 40
OF_EACH_DIGIT = 2
"""Images in the folder to learn from; one more is sealed as test split, all that validate here validate there."""

root = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")

# 1. Where there are many images, train.  This is the run of lesson 1: if it is there, it is found.
before = convscope.train("lenet5", "digits", seed=0, epochs=12, root=root)
print(
    f"1. {convscope.evaluate(before).accuracy:.1%} of the validation digits right; the run lies in {before.root}"
)

# 2. A folder of images, as yours may lie: a subfolder for each class, here in three parts.  The images that
#    validate were validation images in step 1 too, so neither network has learned from them.
digits = convscope.load("digits")
folder = root / "lesson-2-even-or-odd"
for label in range(10):
    own = digits.train.rows[digits.train.labels == label]
    parts = {
        "train": own[:OF_EACH_DIGIT],
        "test": own[OF_EACH_DIGIT : OF_EACH_DIGIT + 1],
        "val": digits.val.rows[digits.val.labels == label],
    }
    for part, rows in parts.items():
        place = folder / part / ("odd" if label % 2 else "even")
        place.mkdir(parents=True, exist_ok=True)
        for row in rows.tolist():
            Image.fromarray(digits.train.pixels[row, 0].numpy()).save(place / f"{label}-{row}.png")
data = convscope.load(f"folder:{folder}")
print(
    f"2. {folder}: {len(data.train)} images to learn from, {len(data.val)} to look how well; {' or '.join(data.classes)}"
)

# 3. Fine-tune.  The classes are others, so the last layer starts anew: 84 inputs for each of 2 outputs and a
#    bias for each output, 84 x 2 + 2 = 170 parameters; all others are brought along.  For the first 10 epochs
#    only those 170 learn, so that their random start does not spoil the body; then everything does, the body at
#    a tenth of the rate.  Beside it the same epochs, images and seeds from scratch.
options = {
    "epochs": EPOCHS,
    "batch_size": 10,
    "augment": [{"name": "crop", "padding": 2}],
    "validate_every": f"{EPOCHS} epochs",
    "root": root,
}
gentle = {"weights": str(before.root), "freeze_epochs": 10, "body_lr": 0.1}
tuned = [convscope.train("lenet5", f"folder:{folder}", seed=seed, **options, **gentle) for seed in SEEDS]
scratch = [convscope.train("lenet5", f"folder:{folder}", seed=seed, **options) for seed in SEEDS]
sizes = {name: p.numel() for name, p in tuned[0].model().named_parameters()}
new = sizes["output.weight"] + sizes["output.bias"]
print(
    f"3. {new} of {sum(sizes.values()):,} parameters started anew, the others from {before.root.parent.name}"
)

# 4. Compare, seed by seed.  `last` weights, so that nothing was chosen by these images.
print("4. seed   fine-tuned   from scratch   difference")
reached, differences = [], []
for seed, one, other in zip(SEEDS, tuned, scratch, strict=True):
    a, b = (convscope.evaluate(run, weights="last").accuracy for run in (one, other))
    print(f"   {seed:4}   {a:10.1%}   {b:12.1%}   {100 * (a - b):+6.1f} points")
    reached.append(a)
    differences.append(100 * (a - b))

# 5. Say what was seen, and how much three seeds leave open: Student's interval of the mean difference.
low, high = student(differences)
settled = "settle that it is not zero" if low > 0 or high < 0 else "do not settle whether it is zero"
print(f"5. {fmean(differences):+.1f} points on average, 95 % interval {low:+.1f} to {high:+.1f}:")
print(f"   {len(SEEDS)} seeds {settled}.  Measured with this network and these images,")
print(
    f"   {len(data.train)} to learn from and {len(data.val)} to look, in {EPOCHS} epochs; it says nothing of others."
)

if new != 84 * 2 + 2:
    raise SystemExit(f"The last layer has 170 parameters by hand, and {new} started anew.")
if fmean(reached) < TARGET:
    raise SystemExit(f"The target is {TARGET:.0%}, and the fine-tuned networks reached {fmean(reached):.1%}.")
