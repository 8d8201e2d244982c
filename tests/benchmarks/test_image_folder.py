"""A whole epoch on a folder of JPEGs against what others train such folders with.

Peers are torchvision's `references/classification/train.py`, unmodified, from the folder that `TORCHVISION_REFERENCES`
names, and PyTorch Lightning, from the import path or the folder that `LIGHTNING_PATH` names (only its process sees
that). All sides train torchvision's ResNet-18 on the CPU with SGD (Nesterov), random resized crops and mirror
images, with as many threads, and as many workers, each in a process of its own. They take turns; medians count. Peers
compute in fp32, slimline too, and once as it does where nothing is said.

Three figures: the speed between the first and the last step of an epoch, without the steps that start workers and
caches; the processor time per image in between, workers included, which a busy machine changes less; and the time
from the start of the process to the end of the first epoch, which for slimline includes download, audit and
preprocess, all in one process: not the starts of Snakemake and of a process for each of its rules. Run with
`make bench`.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pytest
from PIL import Image

HERE = Path(__file__).parent / "image_folder"
ROOT = Path(__file__).parents[2]
THREADS, REPETITIONS, CLASSES = 2, 3, 10
# Storage and precision; `defaults` is what slimline does where nothing else is said.
OURS = {"pixels": ("pixels", "fp32"), "jpeg": ("jpeg", "fp32"), "defaults": ("auto", "auto")}
LEAST = {("defaults", 32): 1.5}  # ratio to a peer's speed; 1 otherwise, and of the whole time
# side in pixels -> batch, steps of an epoch, steps before the clock starts: 25,600 images (half of CIFAR-10) and 512
SIDES = {32: (64, 400, 4), 224: (32, 16, 4)}


def photo(rng, side):
    """Waves of colour with noise on coarse, middle and fine scales: compresses about as photographs do."""
    y, x = np.mgrid[0:side, 0:side] / side
    frequencies = rng.uniform(1, 8, (3, 2))
    pixels = 128 + 70 * np.stack([np.sin(a * x + b * y + 6 * rng.random()) for a, b in frequencies], -1)
    for cells, strength in ((8, 20), (max(8, side // 4), 8), (side, 3)):
        noise = np.clip(128 + rng.normal(0, strength, (cells, cells, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
        pixels += np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)) - 128.0
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def photo_folder(root, side, n_images):
    """`train/<class>/` with `n_images` JPEGs, `test/<class>/` with one each, and `val`, another name of it."""
    rng = np.random.default_rng(side)
    for split, count in (("train", n_images), ("test", CLASSES)):
        for number in range(count):
            folder = root / split / f"class-{number % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            photo(rng, side).save(folder / f"{number:05d}.jpg", quality=90)
    (root / "val").symlink_to("test")
    return root


@pytest.fixture(scope="module", params=SIDES, ids=lambda side: f"{side} px")
def side(request):
    return request.param


@pytest.fixture(scope="module")
def folder(side, tmp_path_factory):
    batch, steps, _ = SIDES[side]
    return photo_folder(tmp_path_factory.mktemp("photos"), side, batch * steps)


def torchvision_side(folder, side, batch):
    if not (place := os.environ.get("TORCHVISION_REFERENCES")):
        return None
    options = {
        "data-path": folder, "model": "resnet18", "device": "cpu", "batch-size": batch, "epochs": 1,
        "workers": THREADS, "opt": "sgd_nesterov", "lr": 0.1, "weight-decay": 1e-4, "print-freq": 1,
        "train-crop-size": side, "val-crop-size": side, "val-resize-size": side, "output-dir": "",
    }  # fmt: skip
    arguments = [str(part) for key, value in options.items() for part in (f"--{key}", value)]
    return [str(Path(place) / "train.py"), *arguments], "", "Epoch: [0]  ["


def lightning_side(folder, side, batch):
    place = os.environ.get("LIGHTNING_PATH", "")
    if not place and find_spec("lightning") is None:
        return None
    return [str(HERE / "lightning_side.py"), str(folder), *map(str, (side, batch, THREADS))], place, "step"


PEERS = {"torchvision": torchvision_side, "Lightning": lightning_side}


def our_side(folder, side, batch, storage, precision, scratch):
    arguments = [*map(str, (folder, side, batch, THREADS)), storage, precision, str(scratch)]
    return [str(HERE / "our_side.py"), *arguments], f"{ROOT / 'scripts'}:{ROOT / 'tests'}", "step"


def cpu_s(process):
    """Processor time of a process and all its descendants so far, in seconds."""
    total_s = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total_s += sum(one.cpu_times()[:4])  # user and system, its own and that of children that have ended
    return total_s


def epoch_times_s(command, path, mark, steps, cwd):
    """Seconds from the start of the process to the end of each step, by the clock and of the processor [steps, 2].

    A step has ended when a line is printed that begins with `mark`.
    """
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(THREADS), "CUDA_VISIBLE_DEVICES": ""}
    started_s, times_s, lines = time.perf_counter(), [], []
    with subprocess.Popen(
        [sys.executable, "-u", *command],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout:
            lines.append(line)
            if line.startswith(mark):
                times_s.append((time.perf_counter() - started_s, cpu_s(psutil.Process(process.pid))))
        process.wait()
    assert process.returncode == 0, "".join(lines[-30:])
    assert len(times_s) == steps, "".join(lines[-30:])
    return np.array(times_s)


@dataclass
class Figures:
    """What the turns of one side gave, a value each."""

    speeds: list[float] = field(default_factory=list)  # images/s
    cpu_ms: list[float] = field(default_factory=list)  # of the processor, an image
    whole_s: list[float] = field(default_factory=list)  # from the start of the process to the end of the first epoch


@pytest.fixture(scope="module")
def figures(side, folder, tmp_path_factory):
    """The figures of every side, by its name; peers that are not there have none."""
    batch, steps, warmup = SIDES[side]
    commands = {name: command for name, peer in PEERS.items() if (command := peer(folder, side, batch))}
    found = {name: Figures() for name in (*commands, *OURS)}
    nowhere = tmp_path_factory.mktemp("nowhere")  # the working folder
    for _ in range(REPETITIONS):
        for name, (storage, precision) in OURS.items():
            scratch = tmp_path_factory.mktemp(name)
            commands[name] = our_side(folder, side, batch, storage, precision, scratch)
        for name, command in commands.items():
            times_s = epoch_times_s(*command, steps, nowhere)
            clock_s, processor_s = (times_s[-1] - times_s[warmup - 1]) / (batch * (steps - warmup))
            found[name].speeds.append(1 / clock_s)
            found[name].cpu_ms.append(1000 * processor_s)
            found[name].whole_s.append(times_s[-1, 0])
    print(f"\n{side} px, {batch * steps} images, batch {batch}, {THREADS} threads, medians of {REPETITIONS} turns")
    for name, one in found.items():
        print(
            f"  {name:<12}{median(one.speeds):8.1f} images/s ({min(one.speeds):.1f} to {max(one.speeds):.1f}); "
            f"{median(one.cpu_ms):.2f} ms of processor an image; start to the end of the first epoch "
            f"{median(one.whole_s):.1f} s ({min(one.whole_s):.1f} to {max(one.whole_s):.1f})"
        )
    return found


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("peer", PEERS)
def test_an_epoch_is_no_slower_than_that_of(peer, ours, side, figures):
    if peer not in figures:
        pytest.skip(f"{peer} is not there: see the head of this file")
    theirs, mine = figures[peer], figures[ours]
    speed = median(mine.speeds) / median(theirs.speeds)
    whole = median(theirs.whole_s) / median(mine.whole_s)
    print(f"\n{side} px, {ours}: {speed:.2f} times as fast as {peer}, {whole:.2f} times from the start of the process")
    assert speed >= LEAST.get((ours, side), 1.0)
    assert whole >= 1.0
