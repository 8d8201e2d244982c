"""How each trained variant came to be: loss and accuracy over epochs, seeds, resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from slimline.evaluation.records import VariantRecord
from slimline.reporting.charts.curves import Curve, ResumeMark, curves_chart
from slimline.reporting.format import fixed, plural, sentence_list, significant
from slimline.reporting.inputs import Evidence
from slimline.reporting.records import Epoch, History
from slimline.reporting.sections.pruning import channels_left
from slimline.reporting.view import (
    Block,
    Details,
    Download,
    Figure,
    Figures,
    Heading,
    NotMeasured,
    Paragraph,
    Section,
    csv_download,
)

DISTILLED = (
    "The training loss is the student's, against its teacher and the labels; the validation loss is the cross-entropy. "
    "Their levels cannot be compared."
)

Histories = Mapping[int, History]
Quantity = Callable[[Epoch], float | None]


def training_section(evidence: Evidence) -> Section:
    """Two pictures for each variant that took gradient steps, and what is left of those that were pruned."""
    lead = "Lines are means over seeds; bands reach from the lowest to the highest seed. Epochs count from 1."
    blocks: list[Block | Details] = []
    for record in evidence.metrics.variants:
        histories = {seed: h for (variant, seed), h in evidence.histories.items() if variant == record.variant}
        if histories:
            blocks += _blocks(record, histories)
        jobs = {seed: job for (variant, seed), job in evidence.jobs.items() if variant == record.variant}
        if (left := channels_left(record.variant, jobs)) is not None:
            blocks.append(left)
    trained = {variant for variant, _ in evidence.histories}
    untrained = [record.variant for record in evidence.metrics.variants if record.variant not in trained]
    if untrained:
        reason = f"{sentence_list(untrained)} took no gradient steps, but quantized the weights of the parent"
        blocks.append(NotMeasured("Further curves", reason))
    return Section("training", "Training", lead, blocks)


def _blocks(record: VariantRecord, histories: Histories) -> list[Block]:
    origin = (
        "dense trained on, as a control"
        if record.is_control
        else {
            "train": "trained from scratch",
            "prune": f"fine-tuned after {record.parent} was pruned",
            "distil": f"distilled from {record.parent}",
            "finetune": f"{record.parent} trained on",
            "quantize": f"{record.parent} trained to be quantized",
        }[record.step]
    )
    heading = Heading(f"{record.variant}: {origin}, {plural(len(histories), 'seed')}")
    fewest = min(len(history.epochs) for history in histories.values())
    if fewest < 2:
        return [heading, NotMeasured("Training curves", f"a history of {plural(fewest, 'epoch')} makes no curve")]
    figures = [
        _figure(record.variant, "loss", histories, lambda e: e.train_loss, lambda e: e.validation_loss),
        _figure(record.variant, "accuracy", histories, lambda e: e.train_accuracy, lambda e: e.validation_accuracy),
    ]
    remarks: list[Block] = [] if _has_validation(histories) else [_no_validation()]
    if record.step == "distil":
        remarks.append(Paragraph(DISTILLED))
    return [heading, Figures(figures), *remarks]


def _has_validation(histories: Histories) -> bool:
    return any(epoch.validation_loss is not None for history in histories.values() for epoch in history.epochs)


def _no_validation() -> NotMeasured:
    return NotMeasured("Validation", "the experiment holds out no validation images (dataset.validation is 0)")


def _figure(variant: str, quantity: str, histories: Histories, train: Quantity, validation: Quantity) -> Figure:
    curves = [
        curve
        for name, style, value in (("train", "train", train), ("validation", "validation", validation))
        for curve in [_curve(name, style, histories, value)]
        if len(curve.epochs) > 1
    ]
    resumes = [ResumeMark(r.epoch + 1, seed) for seed, history in histories.items() for r in history.resumes]
    is_share = quantity == "accuracy"
    words = "; ".join(_last_words(curve, is_share) for curve in curves) + "."
    svg = curves_chart(
        f"chart-{variant}-{quantity}",
        curves,
        resumes,
        "accuracy, %" if is_share else "loss",
        100.0 if is_share else 1.0,
        f"{variant}: {quantity} over epochs",
        words,
        y_most=1.0 if is_share else None,
    )
    caption = f"{quantity.capitalize()}: {words} {_resume_words(resumes)}".strip()
    return Figure(svg, caption, _download(variant, quantity, histories, train, validation))


def _curve(name: str, style: str, histories: Histories, value: Quantity) -> Curve:
    by_epoch: dict[int, list[float]] = {}
    for history in histories.values():
        for epoch in history.epochs:
            known = value(epoch)
            if known is not None:
                by_epoch.setdefault(epoch.epoch, []).append(known)
    complete = {epoch: values for epoch, values in sorted(by_epoch.items()) if len(values) == len(histories)}
    return Curve(
        name,
        style,
        epochs=tuple(epoch + 1.0 for epoch in complete),
        mean=tuple(sum(values) / len(values) for values in complete.values()),
        low=tuple(min(values) for values in complete.values()),
        high=tuple(max(values) for values in complete.values()),
    )


def _last_words(curve: Curve, is_share: bool) -> str:
    last = f"{fixed(100 * curve.mean[-1], 1)} %" if is_share else significant(curve.mean[-1])
    return f"{curve.name} ends at {last} after {plural(int(curve.epochs[-1]), 'epoch')}"


def _resume_words(resumes: Sequence[ResumeMark]) -> str:
    if not resumes:
        return ""
    places = sentence_list(f"seed {resume.seed} at epoch {resume.epoch:g}" for resume in resumes)
    return f"Triangles: resumed from a checkpoint ({places})."


def _download(variant: str, quantity: str, histories: Histories, train: Quantity, validation: Quantity) -> Download:
    rows = [
        (seed, epoch.epoch + 1, _rounded(train(epoch)), _rounded(validation(epoch)))
        for seed, history in histories.items()
        for epoch in history.epochs
    ]
    return csv_download(f"{variant}-{quantity}.csv", ("seed", "epoch", "train", "validation"), rows)


def _rounded(value: float | None) -> str:
    """Six digits: the picture shows three, and the page should stay small."""
    return "" if value is None else f"{value:.6g}"
