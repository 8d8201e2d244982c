"""What the page reads of the other rooms' files: the fields that it shows, and no others.

Each room owns the form of what it writes. A reader that names only what it needs keeps working when
a room adds a field, and says which file is wrong when one that it needs is missing.
"""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from slimline.errors import SlimlineError


class Excerpt(BaseModel):
    """Base of a partly read file: frozen, open to keys that the page does not show."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Excluded(Excerpt):
    """A sample that preprocessing left out."""

    sample_id: str
    reason: str


class Stats(Excerpt):
    """`stats.json`: the prepared dataset. Means and deviations are per channel, from 0 to 255."""

    dataset: str
    n_train: int
    n_validation: int
    n_test: int
    channels: int
    height: int
    width: int
    num_classes: int
    class_names: list[str]
    mean: list[float]
    std: list[float]
    class_counts: dict[str, list[int]]
    excluded: list[Excluded] = []


class CorruptFile(Excerpt):
    """A file that could not be decoded."""

    sample_id: str
    reason: str


class Leak(Excerpt):
    """One image that lies in the training and in the test split."""

    train: list[str]
    test: list[str]


class Duplicates(Excerpt):
    """Identical images within a split."""

    within_train: int = 0
    within_test: int = 0


class Finding(Excerpt):
    """What one check of the audit says."""

    severity: Literal["error", "warning", "info"]
    check: str
    message: str


class Audit(Excerpt):
    """`audit.json`: the raw dataset."""

    n_files: int
    n_images: int
    corrupt: list[CorruptFile] = []
    duplicates: Duplicates = Duplicates()
    leakage: list[Leak] = []
    findings: list[Finding] = []


class Rejected(Excerpt):
    """A resource request that the planner considered and refused."""

    option: str
    reason: str


class Plan(Excerpt):
    """The planned request of each training job of a variant; memory is that of a node."""

    variant: str
    parallelism: str
    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    gpus_per_node: int
    micro_batch: int
    accumulation: int
    precision: str
    memory_mb: float
    time_min: float
    cost_cpu_h: float
    cost_gpu_h: float
    seeds: list[int]
    rejected: list[Rejected] = []


class ExperimentPlan(Excerpt):
    """`plan.json` of the experiment."""

    cluster: str
    executor: str
    plans: list[Plan]

    def of(self, variants: Container[str]) -> ExperimentPlan:
        """The plans of these variants alone: with a search, what it has not chosen is planned and never trained."""
        return self.model_copy(update={"plans": [plan for plan in self.plans if plan.variant in variants]})

    @property
    def total_cpu_h(self) -> float:
        """Planned core-hours of all seeds."""
        return sum(plan.cost_cpu_h * len(plan.seeds) for plan in self.plans)

    @property
    def total_gpu_h(self) -> float:
        """Planned GPU-hours of all seeds."""
        return sum(plan.cost_gpu_h * len(plan.seeds) for plan in self.plans)


class Attempt(Excerpt):
    """One try of a training job; times are ISO 8601 in UTC."""

    state: str | None = None
    started_utc: str | None = None
    ended_utc: str | None = None


class PlannedResources(Excerpt):
    """What the job asked for."""

    memory_mb: float | None = None
    time_min: float | None = None


class Stage(Excerpt):
    """A part of a training by one number of ranks; `epoch` is where it began."""

    epoch: int
    ranks: int


class PrunedLayer(Excerpt):
    """Channels of a layer before pruning began, and those that are left."""

    channels: int
    kept: int


class Reconstruction(Excerpt):
    """By how many training images what was left of a network was fitted to the network before."""

    samples: int


class PruningRound(Excerpt):
    """One round of a pruning job; `layers` is empty where weights were removed and no channels."""

    layers: dict[str, PrunedLayer] = {}
    reconstruction: Reconstruction | None = None


class Job(Excerpt):
    """`job.json`: the receipt of one training job."""

    attempts: list[Attempt] = []
    stages: list[Stage] = []
    rounds: list[PruningRound] = []
    ranks: int
    threads_per_rank: int
    precision: str
    device: str
    seconds: float
    images_per_s: float | None = None
    peak_memory_mb: float | None = None
    planned: PlannedResources = PlannedResources()


class Parity(Excerpt):
    """How far the exported file's logits are from those of the PyTorch model."""

    max_abs: float
    tolerance: float | None = None
    argmax_agreement: float


class Export(Excerpt):
    """`export.json`: the file that ships."""

    opset: int
    size_bytes: int
    onnx_sha256: str
    parity: Parity
    quantized_operators: int = 0
    dtype: str


class SourceFile(Excerpt):
    """A file that the dataset is made of, and where it comes from; checksums are in the provenance."""

    size_bytes: int
    source: str | None = None


class Manifest(Excerpt):
    """`download.json`: where the raw data comes from."""

    files: list[SourceFile] = []


class Epoch(Excerpt):
    """Figures of one epoch, counted from 0."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


class Resume(Excerpt):
    """A checkpoint from which a run went on."""

    epoch: float


EVENTS: dict[str, type[Epoch] | type[Resume]] = {"epoch": Epoch, "resume": Resume}


class History(BaseModel):
    """`history.jsonl`: the last word on every epoch, in order, and where the run was resumed."""

    model_config = ConfigDict(frozen=True)

    epochs: list[Epoch]
    resumes: list[Resume]


def read_history(path: Path) -> History:
    """The course of one training job; of an epoch that was repeated after a resume, the last line counts.

    Raises:
        SlimlineError: the file is absent, or a line is not what it should be.
    """
    epochs: dict[int, Epoch] = {}
    resumes: list[Resume] = []
    for number, line in enumerate(_lines(path), start=1):
        event = _event(path, number, line)
        if isinstance(event, Epoch):
            epochs[event.epoch] = event
        elif isinstance(event, Resume):
            resumes.append(event)
    return History(epochs=[epochs[epoch] for epoch in sorted(epochs)], resumes=resumes)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise SlimlineError("A file that an earlier step writes is not there.", where=str(path)) from None


def _event(path: Path, number: int, line: str) -> Epoch | Resume | None:
    """What a line says; None where it is of a kind that the page does not show."""
    try:
        content = json.loads(line)
        model = EVENTS.get(content["kind"])
        return None if model is None else model.model_validate(content)
    except (ValueError, TypeError, KeyError) as error:
        raise SlimlineError(
            "A line of a training history cannot be read.",
            where=f"{path}, line {number}",
            got=str(error).splitlines()[0],
            next_step=f"delete it and run snakemake again: rm '{path}'",
        ) from None
