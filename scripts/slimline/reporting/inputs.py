"""The files behind a page, and what they say once read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimline.evaluation.latency_record import LatencyRecord
from slimline.evaluation.proof_record import Proof
from slimline.evaluation.record_base import read_record
from slimline.evaluation.records import Metrics, VariantRecord
from slimline.failed import failure_in
from slimline.reporting.answers import VariantAnswers, read_answers
from slimline.reporting.format import sentence_list
from slimline.reporting.records import (
    Audit,
    ExperimentPlan,
    Export,
    History,
    Job,
    Manifest,
    Stats,
    read_history,
)
from slimline.search.records import Search

Pair = tuple[str, int]


@dataclass(frozen=True)
class RunFiles:
    """Files of one variant and seed; those of training are None where the variant is not trained."""

    variant: str
    seed: int
    predictions: Path
    latency: Path
    export: Path
    proof: Path
    history: Path | None = None
    job: Path | None = None


def pair_files(
    pairs: Sequence[Pair],
    predictions: Sequence[str],
    latency: Sequence[str],
    exports: Sequence[str],
    proofs: Sequence[str],
    training_pairs: Sequence[Pair],
    histories: Sequence[str],
    jobs: Sequence[str],
) -> tuple[RunFiles, ...]:
    """The files of each (variant, seed): the first lists are in the order of `pairs`, the last of `training_pairs`."""
    trained = {
        (variant, seed): (Path(history), Path(job))
        for (variant, seed), history, job in zip(training_pairs, histories, jobs, strict=True)
    }
    return tuple(
        RunFiles(variant, seed, *map(Path, files), *trained.get((variant, seed), ()))
        for (variant, seed), *files in zip(pairs, predictions, latency, exports, proofs, strict=True)
    )


@dataclass(frozen=True)
class ReportInputs:
    """All files of an experiment that the page is made of."""

    metrics: Path
    plan: Path
    stats: Path
    audit: Path
    manifest: Path
    runs: tuple[RunFiles, ...]
    search: Path | None = None


@dataclass(frozen=True)
class Evidence:
    """What the files say: everything that sections are made of. A model that there is not has no entries."""

    metrics: Metrics
    plan: ExperimentPlan
    stats: Stats
    audit: Audit
    manifest: Manifest
    histories: Mapping[Pair, History]
    jobs: Mapping[Pair, Job]
    latencies: Mapping[Pair, LatencyRecord]
    exports: Mapping[Pair, Export]
    proofs: Mapping[Pair, Proof]
    answers: Mapping[str, VariantAnswers]
    search: Search | None = None

    @property
    def dense(self) -> VariantRecord:
        """The reference."""
        return self.metrics.variants[0]

    @property
    def compressed(self) -> list[VariantRecord]:
        """The measured candidates: all variants but dense and its controls, in the order of the config."""
        return [record for record in self.metrics.variants if record.status != "reference"]

    def variant(self, name: str) -> VariantRecord:
        """The record of a variant by its name."""
        return next(record for record in self.metrics.variants if record.variant == name)

    @property
    def why_none(self) -> str:
        """Why nothing is in `compressed`, where that is so."""
        if failed := self.metrics.failed_variants:
            names = sentence_list(variant.variant for variant in failed)
            return f"no compressed variant could be made or measured; failed: {names}"
        if self.search is not None:
            return "the search found nothing of use"
        return "the config declares no compressed variants"

    @property
    def shown(self) -> VariantRecord:
        """The variant whose errors are shown: the recommended one, else the most accurate compressed one."""
        if self.metrics.verdict.recommended is not None:
            return self.variant(self.metrics.verdict.recommended)
        return max(self.compressed, key=lambda record: record.accuracy_mean, default=self.dense)


def read_evidence(inputs: ReportInputs) -> Evidence:
    """Reads every file once.

    Raises:
        SlimlineError: a file is absent or not of the form that its contract says.
    """
    metrics = read_record(inputs.metrics, Metrics)
    trained = [run for run in inputs.runs if run.history and not failure_in(run.history)]
    made = [run for run in inputs.runs if not failure_in(run.latency)]
    complete = {variant.variant for variant in metrics.variants}
    return Evidence(
        metrics=metrics,
        plan=read_record(inputs.plan, ExperimentPlan).of({run.variant for run in inputs.runs}),
        stats=read_record(inputs.stats, Stats),
        audit=read_record(inputs.audit, Audit),
        manifest=read_record(inputs.manifest, Manifest),
        histories={_pair(run): read_history(run.history) for run in trained if run.history},
        jobs={_pair(run): read_record(run.job, Job) for run in trained if run.job},
        latencies={_pair(run): read_record(run.latency, LatencyRecord) for run in made},
        exports={_pair(run): read_record(run.export, Export) for run in made},
        proofs={_pair(run): read_record(run.proof, Proof) for run in made},
        answers=_answers([run for run in made if run.variant in complete]),
        search=read_record(inputs.search, Search) if inputs.search is not None else None,
    )


def _pair(run: RunFiles) -> Pair:
    return run.variant, run.seed


def _answers(runs: Sequence[RunFiles]) -> dict[str, VariantAnswers]:
    variants = dict.fromkeys(run.variant for run in runs)
    return {name: read_answers([run.predictions for run in runs if run.variant == name]) for name in variants}
