"""The steps of the search, from files to files: forecast, rounds, outcome. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from slimline.config.compress import CompressConfig, Trial
from slimline.config.variants import DENSE
from slimline.errors import SlimlineError
from slimline.evaluation.artifact_status import SLOWER, is_slower
from slimline.evaluation.latency_record import LatencyRecord
from slimline.evaluation.prediction_file import read_predictions
from slimline.evaluation.proof_record import Proof
from slimline.evaluation.record_base import read_record, write_record
from slimline.evaluation.statistics import exceeds, top1
from slimline.failed import failure_in
from slimline.files import read_json
from slimline.search.budget import affordable_rounds, forecast_hours, kept_after
from slimline.search.records import Point, Round, Search, SearchPlan, deciding_round
from slimline.search.trials import finalists, pareto, ranked, survivors

Right = npt.NDArray[np.float64]
SLOWER_THAN_PARENT = "slower than what it was made of"


def plan_search(config: CompressConfig, plans: Sequence[Path], dense_plan: Path, dense_job: Path, output: Path) -> None:
    """Says which rounds the budget pays for, and what they will take.

    A plan's hours are an upper bound for the slowest machine. What dense took over what was planned for it brings
    them to this one.

    Args:
        config: the search.
        plans: `plan.json` of each structure's trial in the first round, in the order of `config.structures`.
        dense_plan: that of dense.
        dense_job: `job.json` of dense, which has been trained.
        output: the plan of the search.

    Raises:
        SlimlineError: there is no dense model, or the budget does not pay for the first round.
    """
    _refuse_without_dense(dense_job)
    dense = read_json(dense_plan)
    key = "cost_gpu_h" if dense["gpus_per_node"] else "cost_cpu_h"
    n_epochs = read_json(dense_job)["epochs"]  # fewer than planned where it stopped early
    really = (job_hours(dense_job) / n_epochs) / (dense[key] / dense["basis"]["epochs"])
    first = config.round_epochs[0]
    hours_per_epoch = {
        structure.name: read_json(plan)[key] * really / first
        for structure, plan in zip(config.structures, plans, strict=True)
    }
    unit: Literal["core-hours", "GPU-hours"] = "GPU-hours" if key == "cost_gpu_h" else "core-hours"
    rounds = affordable_rounds(hours_per_epoch, config.round_epochs, config.finalists, config.budget_hours, unit)
    plan = SearchPlan(
        format=1,
        unit=unit,
        hours_per_epoch=hours_per_epoch,
        budget_hours=config.budget_hours,
        forecast_hours=forecast_hours(hours_per_epoch, rounds, config.finalists),
        rounds=rounds,
        left_out=config.round_epochs[len(rounds) :],
    )
    write_record(output, plan)


def job_hours(job: Path) -> float:
    """What the epochs of a training job took, over all its attempts: GPU-hours, or core-hours where it ran on CPUs."""
    receipt = read_json(job)
    units: int = receipt["ranks"] * (receipt["threads_per_rank"] if receipt["device"] == "cpu" else 1)
    return float(receipt["epochs_seconds"]) / 3600 * units


def judge_round(
    config: CompressConfig,
    epochs: int,
    trials: Sequence[Trial],
    files: Mapping[str, Sequence[Path]],
    dense_validation: Path,
    dense_export: Path,
    output: Path,
) -> None:
    """Measures the trials of a round against dense on the validation split, and says which structures go on.

    Args:
        config: the search.
        epochs: epochs of each trial.
        trials: what was measured.
        files: `validation`, `latency`, `exports` and `proofs` of each trial, in the order of `trials`, and the `jobs`
            of those that were trained.
        dense_validation: logits of dense for the validation split.
        dense_export: its `export.json`.
        output: the outcome of the round.

    Raises:
        SlimlineError: there is no dense model.
    """
    _refuse_without_dense(dense_validation)
    dense_right, dense_size = _right(dense_validation), read_json(dense_export)["size_bytes"]
    points, failed = [], {}
    for number, trial in enumerate(trials):
        paths = {name: files[name][number] for name in ("validation", "latency", "exports", "proofs")}
        failure = next((failure for path in paths.values() if (failure := failure_in(path))), None)
        if failure is not None:
            failed[trial.variant] = failure.reason
        else:
            points.append(_point(trial, paths, dense_right, dense_size))
    trained = [point for point in points if point.structure != DENSE]
    n_kept = kept_after(len({trial.structure for trial in trials} - {DENSE}), 1, config.finalists)
    outcome = Round(
        format=1,
        epochs=epochs,
        dense_accuracy=float(dense_right.mean()),
        hours=sum(job_hours(job) for job in files["jobs"] if failure_in(job) is None),
        points=points,
        failed=failed,
        survivors=survivors(trained, n_kept, config.accuracy_drop, config.minimize),
    )
    write_record(output, outcome)


def _refuse_without_dense(file: Path) -> None:
    if failure := failure_in(file):
        raise SlimlineError("Without the dense model there is nothing to search from.", got=failure.reason)


def _point(trial: Trial, paths: Mapping[str, Path], dense_right: Right, dense_size: int) -> Point:
    latency, proof = read_record(paths["latency"], LatencyRecord), read_record(paths["proofs"], Proof)
    problem = proof.problems[0].message if proof.problems else None
    if problem is None and is_slower(latency.ratio_to_own_fp32):
        problem = SLOWER
    elif problem is None and is_slower(latency.ratio_parent_p50):
        problem = SLOWER_THAN_PARENT
    drops = dense_right - _right(paths["validation"])
    return Point(
        **trial._asdict(),
        accuracy_drop=float(drops.mean()),
        accuracy_drop_se=float(drops.std(ddof=1) / np.sqrt(len(drops))),
        latency_ratio=latency.ratio_p50,
        size_ratio=read_json(paths["exports"])["size_bytes"] / dense_size,
        usable=problem is None,
        problem=problem,
    )


def conclude(config: CompressConfig, rounds: Sequence[Path], plan: Path, seed: int, output: Path) -> None:
    """The outcome of the search: the Pareto set of the round that decides, and what is made for all seeds.

    Quantizing dense needs no training, so it is always among the finalists where it works.

    Args:
        config: the search.
        rounds: what each round found, first to last.
        plan: the plan of the search.
        seed: seed of the models that were tried.
        output: `search.json`.
    """
    found = [read_record(path, Round) for path in rounds]
    points = found[deciding_round(found)].points
    trained = [point for point in points if point.structure != DENSE]
    chosen = finalists(trained, config.finalists, config.accuracy_drop, config.minimize)
    chosen += [point for point in points if point.structure == DENSE and point.usable]
    best = ranked(chosen, config.accuracy_drop, config.minimize)
    search = Search(
        format=1,
        seed=seed,
        minimize=config.minimize,
        accuracy_drop=config.accuracy_drop,
        plan=read_record(plan, SearchPlan),
        rounds=found,
        front=[point.variant for point in pareto(points, config.minimize)],
        best=best[0].final if best else None,
        within_limit=bool(best) and not exceeds(best[0].accuracy_drop, config.accuracy_drop),
        finalists=[point.final for point in chosen],
    )
    write_record(output, search)


def _right(predictions: Path) -> Right:
    """1 for each image that one model classifies as labelled, else 0, [n]; ties are wrong."""
    read = read_predictions(predictions)
    return np.asarray(top1(read.logits) == read.labels, dtype=np.float64)
