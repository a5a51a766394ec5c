"""How many images per second does training take in, against the usual way to write it?

    CONVSCOPE_DATA=... python benchmarks/throughput.py [--seconds 10] [--repeats 5]

One run, three peers, in turns (A B C A B C ...), so that all meet the same
machine; medians over the repeats.  The peers:

    convscope               the package's own step, as `convscope train` takes it
    DataLoader, 0 workers   the usual idiom, images prepared in the training process
    DataLoader, 2 workers   the usual idiom, images prepared in two other processes

All train the same network from the same weights with the same optimizer on
the same images, 128 at a time, cropped and mirrored at random.  Validation and
checkpoints are on nobody's clock.  Exit code 2 and nothing measured if the
machine is busy.

    N  images of the split      n  images of the batch      C  channels      H, W  pixels
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import convscope
from convscope.compute import fences, precision
from convscope.compute.device import keep_freed_memory, pick, usable_cores
from convscope.compute.environment import machine
from convscope.core import config as configs
from convscope.core.errors import DataMissing
from convscope.data import Data
from convscope.models import build
from convscope.train import run
from convscope.train.loop import Session, take_step
from convscope.train.prepare import build_session

MODELS = ("resnet20", "simplenn")
PEERS = ("convscope", "DataLoader, 0 workers", "DataLoader, 2 workers")
BATCH = 128
PADDING = 4
# S1's and He's settings; the same for every peer. The rate does not matter for speed, but must not diverge.
LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 1e-4
# Before every measurement, untimed. More than the 4 batches that two workers have ready after a pause
# (2 workers x prefetch factor 2): otherwise the pause in which the others are measured would be a gift.
WARM_UP = 6
# Of the last minute, per core. Above it another process takes a part of the machine.
QUIET = 0.25

Step = Callable[[], int]
"""Trains on one batch and returns its number of images."""


@dataclass(frozen=True)
class Task:
    """What one peer is to do."""

    peer: str
    model: str
    threads: int
    channels_last: bool
    """For the peers that are not convscope."""


def images_for_all() -> Data:
    """CIFAR-10 if it is on this machine, else patterns of the same shape; speed does not depend on pixels."""
    try:
        return convscope.load("cifar10", download=False)
    except DataMissing:
        return convscope.load("synthetic", classes=10, images=20_000, channels=3)


# ---- the package's own way --------------------------------------------------------------------------------


def our_step(task: Task, data: Data) -> Step:
    """One step of `convscope train`, with the precision this machine was found to be good at."""
    table = {
        "model": task.model,
        # 4 pixels, as the idiom below, instead of the 2 of our CIFAR-10 default.
        "recipe": {
            "batch_size": BATCH,
            "lr": LR,
            "optimizer": {"name": "sgd", "momentum": MOMENTUM},
            "schedule": "constant",
            "weight_decay": WEIGHT_DECAY,
            "decay": "all",  # as the idiom has it: one group of parameters
            "augment": [{"name": "crop", "padding": PADDING}, {"name": "flip"}],
            "epochs": 1e6,  # more steps than anyone will take
        },
        "data": {"source": data.name},
    }
    keep_freed_memory()  # as `convscope train` does; in this process only, so it helps no peer
    config = run.resolve(configs.from_table(table, "benchmark"), data)
    session, _, _ = build_session(config, data, pick("cpu"))
    example, _ = session.batches.at(0)
    found = precision.resolve(session.model, example, "auto")
    session.lowered = partial(precision.lowered, table=found)
    print(f"  {task.model}, convscope: {found}", flush=True)
    return partial(one_of_ours, session)


def one_of_ours(session: Session) -> int:
    """Data, forward, backward, the check for values that are not finite, update, counts."""
    before = session.tally.images
    take_step(session)
    return session.tally.images - before


# ---- the usual way ----------------------------------------------------------------------------------------
# As in the tutorials and in torchvision's reference code. torchvision itself is no dependency of ours, so
# its transforms are written out; each does what its namesake does, on one PIL image, with one draw from
# torch's generator.


def random_crop(image: Image.Image) -> Image.Image:
    """Black borders of 4 pixels, then a window of the old size anywhere in it."""
    width, height = image.size
    padded = ImageOps.expand(image, border=PADDING, fill=0)
    top = int(torch.randint(0, 2 * PADDING + 1, (1,)))
    left = int(torch.randint(0, 2 * PADDING + 1, (1,)))
    return padded.crop((left, top, left + width, top + height))


def random_flip(image: Image.Image) -> Image.Image:
    """Mirrored left-right in half of the cases."""
    if torch.rand(1) < 0.5:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def to_tensor(image: Image.Image) -> Tensor:
    """uint8 (H, W, C) -> float32 (C, H, W) in [0, 1]."""
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
    return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


class UsualImages(Dataset[tuple[Tensor, int]]):
    """The images in memory as an array, one PIL image made and transformed at a time, as torchvision does."""

    def __init__(self, data: Data) -> None:
        positions = torch.arange(len(data.train))
        self.pixels = data.train.batch(positions).permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, C)
        self.labels = data.train.labels.tolist()
        self.mean = torch.tensor(data.mean)[:, None, None]
        self.std = torch.tensor(data.std)[:, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """(C, H, W) float32 and the label."""
        image = Image.fromarray(self.pixels[index])
        image = random_flip(random_crop(image))
        return to_tensor(image).sub_(self.mean).div_(self.std), self.labels[index]


def usual_batches(data: Data, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end.

    Settings that the documentation recommends: shuffled, workers kept alive between epochs, each with two
    batches ready.  Not `pin_memory`, which serves copies to a GPU.
    """
    loader = DataLoader(
        UsualImages(data),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=2 if workers else None,
    )
    while True:
        yield from loader


def usual_step(task: Task, data: Data) -> Step:
    """The loop of the tutorials: zero_grad, forward, loss, backward, step, running loss and accuracy."""
    batches = usual_batches(data, int(task.peer.split()[1]))
    # The same network and the same first weights. NCHW is what everybody gets who does not ask for more;
    # --channels-last asks.
    form = torch.channels_last if task.channels_last else torch.contiguous_format
    model: nn.Module = build(task.model, classes=len(data.classes), size=data.shape[1])
    model = model.to(memory_format=form).train()  # type: ignore[call-overload]
    criterion = nn.CrossEntropyLoss()
    # foreach is what torch chooses by itself on a GPU only; on the CPU it is the faster choice too.
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, foreach=True
    )
    running = {"loss": 0.0, "correct": 0, "images": 0}

    def step() -> int:
        images, labels = next(batches)
        optimizer.zero_grad()
        logits = model(images.to(memory_format=form))
        loss = criterion(logits, labels)
        loss.backward()
        optimizer.step()
        running["loss"] += loss.item() * len(labels)
        running["correct"] += int((logits.argmax(1) == labels).sum())
        running["images"] += len(labels)
        return len(labels)

    return step


# ---- measuring --------------------------------------------------------------------------------------------


def images_per_s(step: Step, seconds: float) -> float:
    """The rate over whole steps that together take at least that long."""
    for _ in range(WARM_UP):
        step()
    images = 0
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        images += step()
    return images / passed


def peer_process(task: Task, pipe: Connection) -> None:
    """Prepare once, then measure whenever asked; each peer has a process, since settings of memory and of
    threads belong to the whole process."""
    torch.manual_seed(0)
    torch.set_num_threads(task.threads)
    data = images_for_all()
    if task.peer == "convscope":
        with fences.training_state(task.threads):
            answer(our_step(task, data), pipe)
    else:
        answer(usual_step(task, data), pipe)


def answer(step: Step, pipe: Connection) -> None:
    """Measure whenever a number of seconds arrives; stop at zero.  Asleep in between."""
    pipe.send("ready")
    while seconds := pipe.recv():
        pipe.send(images_per_s(step, seconds))


def compare(model: str, asked: argparse.Namespace) -> dict[str, list[float]]:
    """Images per second of every peer, one number per repeat."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for peer in PEERS:
        ours, theirs = context.Pipe()
        task = Task(peer, model, asked.threads, asked.channels_last)
        # No daemon: those may not have the worker processes a DataLoader needs.
        process = context.Process(target=peer_process, args=(task, theirs), daemon=False)
        process.start()
        theirs.close()  # or a peer that dies would never be noticed
        ours.recv()  # "ready": they prepare one after the other
        pipes[peer] = ours
        processes.append(process)
    rates: dict[str, list[float]] = {peer: [] for peer in PEERS}
    for _ in range(asked.repeats):
        for peer, pipe in pipes.items():
            pipe.send(asked.seconds)
            rates[peer].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(0)
    for process in processes:
        process.join()
    return rates


def table(model: str, rates: dict[str, list[float]]) -> str:
    """Median, lowest and highest of each peer, and what convscope is a multiple of."""
    ours = statistics.median(rates["convscope"])
    lines = [f"{model:<10} {'':24}{'images/s':>9} {'lowest':>8} {'highest':>8}   convscope is"]
    for peer, found in rates.items():
        median = statistics.median(found)
        ratio = "" if peer == "convscope" else f"{ours / median:.2f}x"
        lines.append(f"{'':10} {peer:<24}{median:9.0f} {min(found):8.0f} {max(found):8.0f}   {ratio:>12}")
    best = max(statistics.median(rates[peer]) for peer in PEERS[1:])
    lines.append(f"{'':10} {'against the better of the two':<50}   {ours / best:11.2f}x")
    return "\n".join(lines)


def main() -> int:
    """Measure and print; 2 if the machine is busy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="per measurement (10)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each peer (5)")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of each peer (all cores)")
    parser.add_argument("--channels-last", action="store_true", help="give the idiom that memory format too")
    parser.add_argument("--force", action="store_true", help="measure although the machine is busy")
    asked = parser.parse_args()
    load, limit = os.getloadavg()[0], QUIET * usable_cores()
    if load > limit and not asked.force:
        print(
            f"The machine is busy: its load over the last minute is {load:.2f}, and above {limit:.2f} ratios "
            f"are not to be trusted. Wait until it is quiet, or give --force and say so beside the numbers.",
            file=sys.stderr,
        )
        return 2
    data = images_for_all()
    what = machine(torch.device("cpu"))
    print(f"{what['processor']}, {what['kernels']}, {asked.threads} threads, {platform.system()}")
    print(f"torch {torch.__version__}; images: {data.name}, {len(data.train):,} of {data.shape}")
    print(f"load before: {load:.2f}{' (busy: --force was given)' if load > limit else ''}")
    form = "channels-last" if asked.channels_last else "NCHW"
    print(f"batch {BATCH}; the idiom: float32, {form}; {asked.repeats} x {asked.seconds:g} s, in turns")
    tables = [table(model, compare(model, asked)) for model in asked.models]
    print()
    print("\n\n".join(tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
