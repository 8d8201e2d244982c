"""What training cost, against what was planned for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from slimline.reporting.charts.strips import bar_strip
from slimline.reporting.format import NBSP, TIMES, count, duration, fixed, hours, percent, plural, significant
from slimline.reporting.inputs import Evidence
from slimline.reporting.records import Attempt, Job, Plan
from slimline.reporting.view import (
    Block,
    Cell,
    Column,
    Details,
    Fact,
    Facts,
    NotMeasured,
    Section,
    Table,
    csv_download,
)

COMPLETED = "COMPLETED"
SMALLEST_SHARE = 0.01


def cost_section(evidence: Evidence) -> Section:
    """Totals, one line per training job, and what the planner refused."""
    plans = {plan.variant: plan for plan in evidence.plan.plans}
    if not evidence.jobs:
        reason = "no training job left a receipt"
        return Section("cost", "Cost and resources", "", [NotMeasured("Cost", reason)])
    planned: list[Block] = [_plans_table(evidence.plan.plans)]
    if any(plan.rejected for plan in evidence.plan.plans):
        planned.append(_rejected_table(evidence.plan.plans))
    requests = Details("Planned and refused requests", planned)
    return Section("cost", "Cost and resources", "", [Facts(_totals(evidence)), _jobs_table(evidence, plans), requests])


def attempt_seconds(attempt: Attempt) -> float | None:
    """Wall time of an attempt; None where it did not say when it began or ended."""
    if attempt.started_utc is None or attempt.ended_utc is None:
        return None
    try:
        elapsed = datetime.fromisoformat(attempt.ended_utc) - datetime.fromisoformat(attempt.started_utc)
    except (TypeError, ValueError):
        return None
    return elapsed.total_seconds()


def unfinished(job: Job) -> list[Attempt]:
    """The attempts that did not end well, without which the job would have cost less."""
    return [attempt for attempt in job.attempts if attempt.state and attempt.state.upper() != COMPLETED]


def occupied_seconds(job: Job) -> float:
    """Wall time of the training, and of the attempts that did not end well from submission to end."""
    return job.seconds + sum(attempt_seconds(attempt) or 0.0 for attempt in unfinished(job))


def waiting_seconds(job: Job) -> float | None:
    """Time of the attempt that ended well outside training: queue, start, end. None where no times are known."""
    ended_well = [attempt for attempt in job.attempts if attempt not in unfinished(job)]
    whole = attempt_seconds(ended_well[-1]) if ended_well else None
    return None if whole is None else max(0.0, whole - job.seconds)


def cpu_hours(job: Job) -> float:
    """Cores times hours, over all attempts."""
    return occupied_seconds(job) * job.ranks * job.threads_per_rank / 3600


def memory_share(job: Job, plan: Plan | None) -> float | None:
    """Used over requested memory of a node; None on a GPU, where the two are of different kinds, or if unknown.

    The receipt has the peak of the main rank; the others of a node are alike.
    """
    if job.device != "cpu" or not job.peak_memory_mb or not job.planned.memory_mb:
        return None
    ranks_per_node = min(job.ranks, plan.tasks_per_node) if plan else job.ranks
    return job.peak_memory_mb * ranks_per_node / job.planned.memory_mb


def time_share(job: Job) -> float | None:
    """Wall time of the training over the time limit; None where the job had none."""
    return job.seconds / (60 * job.planned.time_min) if job.planned.time_min else None


def _totals(evidence: Evidence) -> list[Fact]:
    jobs = evidence.jobs.values()
    used_cpu_h = sum(cpu_hours(job) for job in jobs)
    gpu_h = sum(occupied_seconds(job) * job.ranks / 3600 for job in jobs if job.device != "cpu")
    attempts = sum(max(1, len(job.attempts)) for job in jobs)
    facts = [
        Fact("Cluster", f"{evidence.plan.cluster} ({evidence.plan.executor})"),
        Fact("Training jobs", f"{count(len(evidence.jobs))}, in {plural(attempts, 'attempt')}"),
        Fact("CPU-hours", f"{hours(used_cpu_h)} used, {hours(evidence.plan.total_cpu_h)} planned"),
    ]
    if gpu_h or evidence.plan.total_gpu_h:
        facts.append(Fact("GPU-hours", f"{hours(gpu_h)} used, {hours(evidence.plan.total_gpu_h)} planned"))
    if evidence.search is not None:
        searched, plan = sum(found.hours for found in evidence.search.rounds), evidence.search.plan
        forecast = significant(plan.forecast_hours)
        facts.append(Fact("Search", f"{significant(searched)} {plan.unit} more, in trials; forecast {forecast}"))
    waits = [seconds for job in jobs if (seconds := waiting_seconds(job)) is not None]
    waited = duration(max(waits)) if waits else "not measured: receipts hold no times"
    return [*facts, Fact("Longest wait", f"{waited}, in the queue and for start and end")]


def _jobs_table(evidence: Evidence, plans: Mapping[str, Plan]) -> Table:
    columns = [
        Column("variant", numeric=False),
        Column("seed"),
        Column("attempts", numeric=False),
        Column(f"ranks {TIMES} threads"),
        Column("device", numeric=False),
        Column("images/s"),
        Column("CPU-hours"),
        Column("used, s", "time"),
        Column("limit, min", "time"),
        Column("share", "time", numeric=False),
        Column("used, MB", "memory"),
        Column("request, MB", "memory"),
        Column("share", "memory", numeric=False),
    ]
    rows = [_job_row(pair[0], pair[1], job, plans.get(pair[0])) for pair, job in evidence.jobs.items()]
    note = (
        "CPU-hours are cores times the wall time of the training; attempts that failed or were preempted count too, "
        "from submission on. Memory is the peak of the main rank; its share of the request counts all ranks of a node."
    )
    header = [
        *("variant", "seed", "attempts", "ranks", "threads_per_rank", "device", "precision", "seconds"),
        *("waiting_s", "images_per_s", "cpu_hours", "peak_memory_mb", "planned_memory_mb", "planned_time_min"),
    ]
    data = [
        [
            *(variant, seed, max(1, len(job.attempts)), job.ranks, job.threads_per_rank, job.device, job.precision),
            *(job.seconds, waiting_seconds(job), job.images_per_s, cpu_hours(job), job.peak_memory_mb),
            *(job.planned.memory_mb, job.planned.time_min),
        ]
        for (variant, seed), job in evidence.jobs.items()
    ]
    download = csv_download("jobs.csv", header, data)
    return Table("jobs", "Receipts of training jobs", columns, rows, note=note, sortable=True, download=download)


def _job_row(variant: str, seed: int, job: Job, plan: Plan | None) -> list[Cell]:
    return [
        Cell(variant, variant),
        Cell(str(seed), seed),
        _attempts_cell(job),
        Cell(f"{job.ranks} {TIMES} {job.threads_per_rank}", job.ranks * job.threads_per_rank),
        Cell(f"{job.device},{NBSP}{job.precision}"),
        _optional(job.images_per_s),
        Cell(significant(cpu_hours(job)), cpu_hours(job)),
        Cell(fixed(job.seconds, 1), job.seconds),
        _optional(job.planned.time_min),
        _share_cell(time_share(job), "no time limit"),
        _optional(job.peak_memory_mb),
        _optional(job.planned.memory_mb),
        _share_cell(memory_share(job, plan), "memory of the GPU" if job.device != "cpu" else "no receipt"),
    ]


def _attempts_cell(job: Job) -> Cell:
    n_attempts = max(1, len(job.attempts))
    return Cell(count(n_attempts), n_attempts, note=", ".join(states_of(unfinished(job))))


def states_of(attempts: Sequence[Attempt]) -> list[str]:
    """How attempts ended, each state once, in small letters."""
    return list(dict.fromkeys((attempt.state or "unknown").lower() for attempt in attempts))


def _optional(value: float | None) -> Cell:
    return Cell("not measured") if value is None else Cell(count(value), value)


def _share_cell(share: float | None, why_not: str) -> Cell:
    if share is None:
        return Cell(note=f"not measured: {why_not}")
    text = percent(share, 0) if share >= SMALLEST_SHARE else f"< {percent(SMALLEST_SHARE, 0)}"
    return Cell(text, share, strip=bar_strip(share))


def _plans_table(plans: Sequence[Plan]) -> Table:
    columns = [
        Column("variant", numeric=False),
        Column("parallel", numeric=False),
        Column(f"nodes {TIMES} ranks {TIMES} cores"),
        Column("GPUs per node"),
        Column(f"micro-batch {TIMES} steps"),
        Column("precision", numeric=False),
        Column("memory, MB"),
        Column("limit, min"),
        Column("CPU-hours"),
    ]
    rows = [
        [
            Cell(plan.variant),
            Cell(plan.parallelism),
            Cell(f"{plan.nodes} {TIMES} {plan.tasks_per_node} {TIMES} {plan.cpus_per_task}"),
            Cell(count(plan.gpus_per_node)),
            Cell(f"{plan.micro_batch} {TIMES} {plan.accumulation}"),
            Cell(plan.precision),
            Cell(count(plan.memory_mb)),
            Cell(count(plan.time_min)),
            Cell(significant(plan.cost_cpu_h)),
        ]
        for plan in plans
    ]
    return Table("plans", "Planned request of each job", columns, rows)


def _rejected_table(plans: Sequence[Plan]) -> Table:
    rows = [
        [Cell(plan.variant), Cell(rejected.option), Cell(rejected.reason)]
        for plan in plans
        for rejected in plan.rejected
    ]
    columns = [Column(title, numeric=False) for title in ("variant", "option", "reason")]
    return Table("rejected", "Refused requests", columns, rows)
