"""An experiment and everything that was measured in it, before anything is concluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict

from slimline.config.experiment import ExperimentConfig
from slimline.evaluation.latency_record import LatencyRecord
from slimline.evaluation.proof_record import Proof
from slimline.evaluation.statistics import Bools, Classes
from slimline.failed import Failure


class Parity(BaseModel):
    """The part of `export.json` that says how near the shipped file is to the model it was made of."""

    model_config = ConfigDict(frozen=True)

    max_abs: float
    argmax_agreement: float


class Export(BaseModel):
    """The part of `export.json` that is compared; the file belongs to another room and may say more."""

    model_config = ConfigDict(frozen=True)

    variant: str
    seed: int
    parameters: int
    macs: int
    size_bytes: int
    onnx_sha256: str
    dtype: str
    runtime: str
    size_gzip_bytes: int
    sparsity: float
    parity: Parity


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything that was measured of one model.

    Attributes:
        predicted: class of each test item, or TIED, [n].
        latency: its timing.
        export: its figures from the export.
        proof: what a fresh process found.
    """

    predicted: Classes
    latency: LatencyRecord
    export: Export
    proof: Proof


@dataclass(frozen=True, eq=False)
class Study:
    """An experiment and what was measured in it.

    Attributes:
        experiment: its config.
        labels: true class of each test item, [n].
        measured: by variant and seed.
        failures: by variant and seed, why what is not in `measured` is not.
    """

    experiment: ExperimentConfig
    labels: Classes
    measured: Mapping[tuple[str, int], Measured]
    failures: Mapping[tuple[str, int], Failure] = field(default_factory=dict)

    def failures_of(self, variant: str) -> list[Failure]:
        """Why seeds of a variant were not measured, in the order of the config's seeds; empty where all were."""
        pairs = [(variant, seed) for seed in self.experiment.train.seeds]
        return [self.failures[pair] for pair in pairs if pair in self.failures]

    def control_of(self, variant: str) -> str | None:
        """The equal-budget control of a variant, where there is one and a sound file of it for every seed."""
        control = self.experiment.control_of(variant)
        if (
            control is None
            or self.failures_of(control)
            or any(model.proof.problems for model in self.seeds_of(control))
        ):
            return None
        return control

    def accuracy(self, variant: str, seed: int) -> float:
        """Share of the test images that one model classifies as labelled."""
        return float(np.mean(self.measured[variant, seed].predicted == self.labels))

    def seeds_of(self, variant: str) -> list[Measured]:
        """The models of a variant in the order of the config's seeds."""
        return [self.measured[variant, seed] for seed in self.experiment.train.seeds]

    def predicted(self, variant: str) -> Classes:
        """[S, n]."""
        return np.stack([measured.predicted for measured in self.seeds_of(variant)])

    def correct(self, variant: str) -> Bools:
        """[S, n]."""
        return np.asarray(self.predicted(variant) == self.labels)
