"""What a reviewer should know before trusting a number: one rule per function, each over all the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from slimline.config.variants import DENSE
from slimline.evaluation.artifact_status import is_slower
from slimline.evaluation.reasons import GUESSES
from slimline.reporting.format import count, first_few, fixed, percent, plural, ratio, sentence_list, size
from slimline.reporting.inputs import Evidence
from slimline.reporting.sections.cost import memory_share, states_of, time_share, unfinished
from slimline.reporting.view import Notice, Notices, Paragraph, Section

FEW_SEEDS = 3
LARGEST_DRIFT = 0.10
OTHER_CORES_WORTH_SAYING = 0.25  # what a system does in its background is far below
NEARLY_FULL = 0.9
LEAST_SPARSITY = 0.25  # rounding to 8 bits alone makes some weights zero
LEAST_AGREEMENT = 0.99
NAMED = 5
GRAVITY = {"error": 0, "warning": 1, "info": 2}

Rule = Callable[[Evidence], Iterable[Notice]]


def collect_notices(evidence: Evidence) -> list[Notice]:
    """All notices, gravest first, in the order of the rules below."""
    notices = [notice for rule in RULES for notice in rule(evidence)]
    return sorted(notices, key=lambda notice: GRAVITY[notice.severity])


def notices_section(notices: list[Notice]) -> Section:
    """The last section; the verdict links to it with the number of its notices."""
    if not notices:
        return Section("warnings", "Warnings and failures", "", [Paragraph("None of the checks found anything.")])
    return Section("warnings", "Warnings and failures", "", [Notices(notices)])


def _audit_findings(evidence: Evidence) -> Iterator[Notice]:
    for finding in evidence.audit.findings:
        if finding.check == "leakage":  # with `leakage: stop` there would be no report
            message = "Their training copies were left out, so they do not flatter any figure here."
            yield Notice("info", "data: leakage", f"{finding.message} {message}")
        elif finding.severity != "info":
            yield Notice(finding.severity, f"data: {finding.check}", finding.message)


def _gates(evidence: Evidence) -> Iterator[Notice]:
    verbs = {"fail": "Fails the gate on", "inconclusive": "Inconclusive on"}
    for record in evidence.compressed:
        for status, verb in verbs.items():
            criteria = [check.criterion.replace("_", " ") for check in record.gate if check.status == status]
            if criteria:
                yield Notice("warning", record.variant, f"{verb} {sentence_list(criteria)}.")


def _not_faster(evidence: Evidence) -> Iterator[Notice]:
    for record in evidence.compressed:
        told = record.parent == DENSE and is_slower(record.latency_ratio_parent)  # as slower than its parent
        if record.latency_ratio >= 1.0 and not told:
            slower = f"Takes {ratio(record.latency_ratio)} the time of dense"
            yield Notice("warning", record.variant, f"{slower}: compressed, but not faster on this machine.")


def _not_smaller(evidence: Evidence) -> Iterator[Notice]:
    for record in evidence.compressed:
        if record.size_ratio >= 1.0:
            larger = f"The file has {ratio(record.size_ratio)} the size of dense's"
            yield Notice("warning", record.variant, f"{larger}: compressed, but not smaller.")


def _sparse(evidence: Evidence) -> Iterator[Notice]:
    for record in evidence.compressed:
        if record.sparsity >= LEAST_SPARSITY:
            sizes = f"{size(record.size_bytes)}, {size(record.size_gzip_bytes)} after gzip"
            yield Notice(
                "info",
                record.variant,
                f"{percent(record.sparsity, 0)} of its weights are zero: smaller only when compressed ({sizes}), and "
                "not faster, since zeros are computed like all others.",
            )


def _ties(evidence: Evidence) -> Iterator[Notice]:
    for record in evidence.metrics.variants:
        if record.tied_share > 0:
            yield Notice(
                "warning",
                record.variant,
                f"{percent(record.tied_share, 2)} of answers have no one largest logit and count as wrong: the output "
                "is quantized too coarsely.",
            )


def _guessing(evidence: Evidence) -> Iterator[Notice]:
    for record in evidence.metrics.variants:
        answers = evidence.answers[record.variant]
        majority = float(answers.support().max() / len(answers.labels))
        n_given = min(len(np.unique(predicted)) for predicted in answers.predicted)
        if record.accuracy_ci_low <= majority:
            yield Notice("error", record.variant, f"{GUESSES[0].upper()}{GUESSES[1:]} ({percent(majority)}).")
        elif n_given < len(np.unique(answers.labels)):
            message = f"A seed gives {count(n_given)} different answers only, and never the other classes."
            yield Notice("warning", record.variant, message)


def _failures(evidence: Evidence) -> Iterator[Notice]:
    for failed in evidence.metrics.failed_variants:
        message = f"{failed.artifact_status[0].upper()}{failed.artifact_status[1:]}. It has no figures."
        yield Notice("error", failed.variant, message)


def _proofs(evidence: Evidence) -> Iterator[Notice]:
    for record in evidence.metrics.variants:
        for problem in record.problems:
            message = f"Not what it is said to be ({problem.code}): {problem.message}."
            yield Notice("error", record.variant, message)


def _slower_than_parent(evidence: Evidence) -> Iterator[Notice]:
    for record in evidence.compressed:
        if is_slower(record.latency_ratio_parent):
            slower = f"Takes {ratio(record.latency_ratio_parent or 1.0)} the time of {record.parent}"
            yield Notice("warning", record.variant, f"{slower}, which it was made of: never recommended.")


def _needs_vnni(evidence: Evidence) -> Iterator[Notice]:
    names = dict.fromkeys(
        variant
        for (variant, _), proof in evidence.proofs.items()
        if proof.weight_bits == 8 and "uint8" in proof.activation_types
    )
    if names:
        yield Notice(
            "info",
            "portability",
            f"Weights of 8 bits: {first_few(names, NAMED)}. Right on CPUs with VNNI (Intel since 2019, AMD since Zen "
            "4) and on Arm; on older ones sums overflow without an error. For those, quantize with reduce_range: true.",
        )


def _parity(evidence: Evidence) -> Iterator[Notice]:
    beyond, astray = {}, {}
    for (variant, seed), export in evidence.exports.items():
        parity, name = export.parity, run_name(variant, seed)
        if parity.tolerance is not None and parity.max_abs > parity.tolerance:
            beyond[name] = parity.max_abs
        elif parity.argmax_agreement < LEAST_AGREEMENT:
            astray[name] = parity.argmax_agreement
    if beyond:
        message = f"Logits differ from PyTorch's by up to {max(beyond.values()):.1e}, more than is allowed"
        yield Notice("error", "export", f"{message}: {first_few(beyond, NAMED)}.")
    if astray:
        message = f"Only {percent(min(astray.values()))} of answers or more are those of the PyTorch fp32 model"
        yield Notice("warning", "export", f"{message}: {first_few(astray, NAMED)}.")


def run_name(variant: str, seed: int) -> str:
    """What a model is called in a sentence."""
    return f"{variant} seed {seed}"


def _drift(evidence: Evidence) -> Iterator[Notice]:
    drifts = {
        run_name(variant, seed): record.baseline.drift
        for (variant, seed), record in evidence.latencies.items()
        if abs(record.baseline.drift) > LARGEST_DRIFT
    }
    if drifts:
        worst = fixed(100 * max(drifts.values(), key=abs), 0, signed=True)
        yield Notice(
            "warning",
            "latency",
            f"The machine was not steady: dense itself changed by up to {worst} % while {first_few(drifts, NAMED)} "
            f"{'was' if len(drifts) == 1 else 'were'} timed. Trust ratios, not milliseconds.",
        )


def _load(evidence: Evidence) -> Iterator[Notice]:
    busy = [
        run_name(variant, seed)
        for (variant, seed), record in evidence.latencies.items()
        if record.other_cores > OTHER_CORES_WORTH_SAYING
    ]
    if busy:
        most = max(record.other_cores for record in evidence.latencies.values())
        message = f"Other work ran while {first_few(busy, NAMED)} {'was' if len(busy) == 1 else 'were'} timed"
        yield Notice("info", "latency", f"{message} (up to {fixed(most, 1)} cores busy with it).")


def _seeds(evidence: Evidence) -> Iterator[Notice]:
    n_seeds = min(record.n_seeds for record in evidence.metrics.variants)
    if n_seeds < FEW_SEEDS:
        yield Notice(
            "warning",
            "seeds",
            f"{plural(n_seeds, 'seed')} per variant: how far results vary from one training to the next is "
            f"{'unknown' if n_seeds == 1 else 'hardly known'}.",
        )


def _attempts(evidence: Evidence) -> Iterator[Notice]:
    failed = {run_name(*pair): unfinished(job) for pair, job in evidence.jobs.items() if unfinished(job)}
    if failed:
        attempts = [attempt for of_job in failed.values() for attempt in of_job]
        ended = f"{plural(len(attempts), 'attempt')} ended as {sentence_list(states_of(attempts))}"
        yield Notice("info", "training", f"{ended}, and the work was repeated or resumed: {first_few(failed, NAMED)}.")


def _stages(evidence: Evidence) -> Iterator[Notice]:
    moved = {}
    for pair, job in evidence.jobs.items():
        if len(job.stages) > 1:
            moved[f"{run_name(*pair)} ({', then '.join(str(stage.ranks) for stage in job.stages)})"] = job
    if moved:
        yield Notice(
            "info",
            "training",
            f"Trained by several layouts of ranks in turn: {first_few(moved, NAMED)}. An unbroken training sees the "
            "same images in the same order, but adds up in another one: it gives other last bits. Costs are those of "
            "the last part.",
        )


def _tight_resources(evidence: Evidence) -> Iterator[Notice]:
    plans = {plan.variant: plan for plan in evidence.plan.plans}
    memory = {pair: memory_share(job, plans.get(pair[0])) for pair, job in evidence.jobs.items()}
    time = {pair: time_share(job) for pair, job in evidence.jobs.items()}
    for what, shares in (("memory", memory), ("time", time)):
        tight = {run_name(*pair): share for pair, share in shares.items() if share is not None and share > NEARLY_FULL}
        if tight:
            most = percent(max(tight.values()), 0)
            message = f"Up to {most} of the planned {what} was used: a cluster kills jobs that use more"
            yield Notice("warning", "training", f"{message}: {first_few(tight, NAMED)}.")


def _dirty_tree(evidence: Evidence) -> Iterator[Notice]:
    provenance = evidence.metrics.provenance
    if provenance.git_dirty:
        yield Notice(
            "warning", "provenance", "Files differ from the commit, so the commit alone cannot repeat this run."
        )
    if provenance.git_sha is None:
        yield Notice("info", "provenance", "No git repository: the code that ran is known by its version only.")


def _worst_class(evidence: Evidence) -> Iterator[Notice]:
    shown, dense = evidence.shown, evidence.dense
    if shown.variant == dense.variant:
        return
    answers, reference = evidence.answers[shown.variant], evidence.answers[dense.variant]
    losses = {}
    for label, name in enumerate(evidence.stats.class_names):
        now, before = (
            answers.recall(label, evidence.metrics.confidence),
            reference.recall(label, evidence.metrics.confidence),
        )
        if now is not None and before is not None:
            losses[name] = before.value - now.value
    name = max(losses, key=lambda key: losses[key])
    margin = next(check.limit for check in shown.gate if check.criterion == "accuracy_drop")
    if losses[name] > 2 * margin:
        yield Notice(
            "warning",
            shown.variant,
            f"Class {name} loses {fixed(100 * losses[name], 1)} points of recall, more than twice what the gate allows "
            "for the average.",
        )


RULES: tuple[Rule, ...] = (
    _audit_findings,
    _guessing,
    _failures,
    _proofs,
    _parity,
    _gates,
    _slower_than_parent,
    _not_faster,
    _not_smaller,
    _sparse,
    _ties,
    _worst_class,
    _seeds,
    _drift,
    _tight_resources,
    _dirty_tree,
    _attempts,
    _stages,
    _load,
    _needs_vnni,
)
