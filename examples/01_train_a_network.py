"""Lesson 1: train a network on real digits, and look at what came out.

    python examples/01_train_a_network.py [FOLDER FOR RUNS]

Six steps, one function of convscope each: load, build, train, open_run,
evaluate, predict.  Takes under a minute on two cores; run it again and the
third step trains nothing, since the run is there.  Fails if the network
misses its target.
"""

import sys
from pathlib import Path

from PIL import Image

import convscope

TARGET = 0.95
"""Accuracy on validation images that this lesson promises."""

root = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")

# 1. Load.  `digits` comes with scikit-learn: 1,797 handwritten digits, 32x32 pixels here.
#    The images are in three parts.  From `train` the network learns, on `val` we look how well.
#    `test` is sealed: we know its size, but cannot read it until everything is decided.
data = convscope.load("digits")
print(f"1. {data.name}: {len(data.train)} training, {len(data.val)} validation images of shape {data.shape}")
print(f"   and {len(data.test)} test images, sealed; classes: {' '.join(data.classes)}")

# 2. Build.  A network knows the shape of an image and the number of classes, nothing else of the data.
#    Its weights depend on the seed and on nothing around it.
network = convscope.build("lenet5", classes=len(data.classes), channels=1, size=32, seed=0)
print(f"2. lenet5 has {sum(weights.numel() for weights in network.parameters()):,} parameters")

# 3. Train.  `train` loads and builds by itself: a run is described by names and numbers alone, so that it
#    can be repeated, continued and compared.  Whatever is not said comes from the model's default recipe.
run = convscope.train("lenet5", "digits", seed=0, epochs=12, root=root)
print(f"3. trained; everything about it lies in {run.root}")

# 4. Open.  A run on disk is opened by its directory, now or next year, here or on another machine.
run = convscope.open_run(run.root)
for line in run.metrics[::3]:
    print(
        f"4. epoch {line['epoch']:4.0f}: validation loss {line['val_loss']:.3f}, {line['val_accuracy']:.1%}"
    )

# 5. Evaluate.  An accuracy is a count out of a count; what counting so few images leaves open is the
#    interval.  `best` are the weights of the epoch that was best on the validation images, `last` the final.
scores = convscope.evaluate(run, split="val", weights="best")
low, high = scores.interval()
print(
    f"5. {scores.correct} of {scores.images} right: {scores.accuracy:.1%}, 95 % interval {low:.1%} to {high:.1%}"
)

# 6. Predict.  A split, files or folders.  The pictures of a file go through the same size, channels and
#    normalisation as in training, since these travel with the weights.
first = convscope.predict(run, "val")
folder = root / "lesson-1-digits"
folder.mkdir(parents=True, exist_ok=True)
files = [folder / f"{i}.png" for i in range(5)]
for i, file in enumerate(files):
    Image.fromarray(data.val.pixels[data.val.rows[i], 0].numpy()).save(file)
from_files = convscope.predict(run, files)
for name, label, probabilities in zip(
    from_files.ids, from_files.names, from_files.probabilities, strict=True
):
    print(f"6. {folder / name} shows a {label}, probability {probabilities.max():.1%}")

if from_files.labels != first.labels[:5]:
    raise SystemExit("An image must be the same digit whether it comes from the split or from a file.")
if scores.accuracy < TARGET:
    raise SystemExit(f"The target is {TARGET:.0%}, and the network reached {scores.accuracy:.1%}.")
