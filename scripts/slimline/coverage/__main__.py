"""Tries export, pruning and both int8 runtimes on architectures: `python -m slimline.coverage resnet18 vit_b_16`.

Images have 224 x 224 pixels, weights are random. Every step runs in a process of its own and ends within a limit, or
counts as not supported.
"""

from __future__ import annotations

import argparse
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from slimline.coverage.steps import OUTCOME, RATIO, SIDE_PX, STEPS, data_of_noise
from slimline.cpu import cpu_name
from slimline.files import read_json, write_text

MODELS = (
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "densenet121",
    "regnet_y_400mf", "googlenet", "squeezenet1_1", "convnext_tiny", "vit_b_16", "shufflenet_v2_x1_0", "swin_t",
)  # fmt: skip
TITLES = {
    "export": "export",
    "prune": f"prune, {RATIO:.0%} of channels",
    "int8-onnxruntime": "int8, ONNX Runtime",
    "int8-openvino": "int8, OpenVINO",
}
LIBRARIES = ("torch", "torchvision", "onnx", "onnxruntime", "torch-pruning", "openvino", "nncf")
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Outcome:
    """How one step on one architecture ended: with a proven file of `size_bytes`, or with a reason."""

    seconds: float
    size_bytes: int | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.size_bytes is None:
            return f"not supported: {self.reason}"
        return f"{self.size_bytes / MEBIBYTE:.1f} MiB, {self.seconds:.0f} s"


def main() -> int:
    """Exit code 0 where every step ended in a proven file or a reason."""
    parser = argparse.ArgumentParser(prog="python -m slimline.coverage", description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="model", help="default: those of the table")
    parser.add_argument("--limit-s", type=float, default=300.0, help="longest time of a step (default: %(default)s)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into a Markdown page")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="slimline-coverage-") as place:
        data = data_of_noise(Path(place, "data"))
        outcomes: dict[str, list[Outcome]] = {}
        for model in tqdm(arguments.models, unit="model", file=sys.stderr):
            folder = Path(place, model)
            outcomes[model] = [take(model, step, data, folder, arguments.limit_s) for step in STEPS]
            tqdm.write(f"{model}: " + "; ".join(f"{s}: {o}" for s, o in zip(STEPS, outcomes[model], strict=True)))
    page = table(outcomes)
    if arguments.write:
        write_text(arguments.write, page)
    else:
        sys.stdout.write(page)
    return 0


def take(model: str, step: str, data: Path, folder: Path, limit_s: float) -> Outcome:
    """Has one step done in a process of its own.

    Raises:
        RuntimeError: the step failed in a way that is no limit of a library.
    """
    started_s = time.monotonic()
    if step != STEPS[0] and not (folder / STEPS[0] / "model.onnx").exists():
        return Outcome(0.0, reason="it cannot be exported")
    command = [sys.executable, "-m", "slimline.coverage.steps", model, step, str(data), str(folder)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return Outcome(limit_s, reason=f"it takes more than {limit_s:.0f} s")
    seconds, outcome = time.monotonic() - started_s, folder / step / OUTCOME
    if done.returncode < 0:
        return Outcome(seconds, reason=f"its process was ended by {signal.Signals(-done.returncode).name}")
    if not outcome.exists():
        raise RuntimeError(f"{model}, {step}:\n{done.stderr.decode(errors='replace')}")
    content = read_json(outcome)
    if "not_supported" in content:
        return Outcome(seconds, reason=content["not_supported"])
    return Outcome(seconds, size_bytes=content["size_bytes"])


def table(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """The outcomes as a Markdown page, with counts and conditions."""
    n_models = len(outcomes)
    counts = [sum(row[n].size_bytes is not None for row in outcomes.values()) for n in range(len(STEPS))]
    lines = [f"| model | {' | '.join(TITLES[step] for step in STEPS)} |", f"|---|{'---|' * len(STEPS)}"]
    lines += [f"| {model} | {' | '.join(map(str, row))} |" for model, row in outcomes.items()]
    lines.append(f"| **of {n_models}** | {' | '.join(f'**{count}**' for count in counts)} |")
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        INTRODUCTION
        + "\n".join(lines)
        + f"\n\nMeasured on {cpu_name()}, Python {platform.python_version()}: {versions}.\n"
    )


INTRODUCTION = f"""# What can be compressed

Each architecture at {SIDE_PX} x {SIDE_PX} pixels, with random weights: exported to ONNX, pruned and exported again, and
quantized for each runtime. Every file was then loaded in a fresh process and [proved](../explanation/proof.md): it
accepts any batch, gives the same answers in each, agrees with PyTorch where it is in float, and runs in integers where
it says so. A cell has the size of the file and the time of the whole step, imports and proof included. Where there is
no such file, it has the reason, which is also what an experiment would say in that variant's row.

`python -m slimline.coverage --write docs/reference/coverage.md` makes this page; `python -m slimline.coverage NAME`
tries any other architecture.

"""


if __name__ == "__main__":
    raise SystemExit(main())
