"""The dataset card: splits, balance of classes, what the audit found, what was left out."""

from __future__ import annotations

from collections import Counter

from slimline.reporting.charts.columns import column_chart
from slimline.reporting.charts.strips import bar_strip
from slimline.reporting.format import (
    TIMES,
    count,
    first_few,
    fixed,
    plural,
    sentence_list,
    significant,
    size,
)
from slimline.reporting.inputs import Evidence
from slimline.reporting.records import Manifest, Stats
from slimline.reporting.view import (
    Block,
    Cell,
    Column,
    Fact,
    Facts,
    Figure,
    Figures,
    Paragraph,
    Section,
    Table,
    csv_download,
)

SPLITS = ("train", "validation", "test")
MOST_CLASSES_IN_TABLE = 20
LISTED_EXCLUDED = 20
NAMED_CLASSES = 5
NAMED_REASONS = 3
NAMED_SOURCES = 4


def data_section(evidence: Evidence) -> Section:
    """Facts, audit, balance, exclusions."""
    blocks: list[Block] = [Facts(_facts(evidence)), _findings(evidence), _balance(evidence.stats)]
    if evidence.stats.excluded:
        blocks.append(_excluded(evidence.stats))
    else:
        blocks.append(Paragraph("No file was left out of the prepared data."))
    return Section("data", "Data", "", blocks)


def _facts(evidence: Evidence) -> list[Fact]:
    stats, audit = evidence.stats, evidence.audit
    total = stats.n_train + stats.n_validation + stats.n_test
    duplicates = audit.duplicates
    return [
        Fact("Dataset", stats.dataset),
        Fact("Source", _source(evidence.manifest)),
        Fact(
            "Images",
            f"{count(total)}: {count(stats.n_train)} train, {count(stats.n_validation)} validation, "
            f"{count(stats.n_test)} test",
        ),
        Fact("Form", f"{stats.height} {TIMES} {stats.width} pixels, {plural(stats.channels, 'channel')}"),
        Fact("Classes", count(stats.num_classes)),
        Fact("Mean, deviation", f"{_per_channel(stats.mean)}; {_per_channel(stats.std)} (train split, of 255)"),
        Fact(
            "Raw files",
            f"{count(audit.n_images)} of {plural(audit.n_files, 'entry', 'entries')} decoded, "
            f"{count(len(audit.corrupt))} corrupt",
        ),
        Fact(
            "Identical images",
            f"of the raw files {count(duplicates.within_train)} within train, {count(duplicates.within_test)} within "
            f"test, {count(len(audit.leakage))} in both",
        ),
    ]


def _source(manifest: Manifest) -> str:
    total = size(sum(file.size_bytes for file in manifest.files))
    sources = list(dict.fromkeys(file.source for file in manifest.files if file.source))
    origin = first_few(sources, NAMED_SOURCES) if sources else "a folder of the user's"
    return f"{plural(len(manifest.files), 'file')}, {total}, from {origin}"


def _per_channel(values: list[float]) -> str:
    return " / ".join(significant(value) for value in values)


def _findings(evidence: Evidence) -> Block:
    findings = evidence.audit.findings
    if not findings:
        return Paragraph("The audit has no findings.")
    gravity = {"error": 0, "warning": 1, "info": 2}
    rows = [
        [Cell(finding.check), Cell(status=finding.severity), Cell(finding.message)]
        for finding in sorted(findings, key=lambda finding: gravity[finding.severity])
    ]
    columns = [Column(title, numeric=False) for title in ("check", "severity", "finding")]
    return Table("findings", "Findings of the audit", columns, rows)


def _balance(stats: Stats) -> Block:
    train = stats.class_counts.get("train", [])
    header = ("class", *SPLITS)
    counts = [stats.class_counts.get(split, [0] * stats.num_classes) for split in SPLITS]
    data = [(name, *row) for name, row in zip(stats.class_names, zip(*counts, strict=True), strict=True)]
    download = csv_download("classes.csv", header, data)
    if stats.num_classes > MOST_CLASSES_IN_TABLE:
        svg = column_chart(
            "chart-balance",
            train,
            "class, by size",
            "training images",
            "Balance of classes in the training split",
            _balance_words(stats, train),
        )
        caption = f"Training images of each class, largest first. {_balance_words(stats, train)}"
        return Figures([Figure(svg, caption, download)])
    columns = [Column("class", numeric=False), Column("train"), Column("", numeric=False)]
    columns += [Column("validation"), Column("test")]
    largest = max(train, default=1) or 1
    rows = [
        [
            Cell(name, name),
            Cell(count(in_train), in_train),
            Cell(strip=bar_strip(in_train / largest)),
            Cell(count(in_validation), in_validation),
            Cell(count(in_test), in_test),
        ]
        for name, in_train, in_validation, in_test in data
    ]
    note = _balance_words(stats, train)
    return Table("balance", "Balance of classes", columns, rows, note=note, sortable=True, download=download)


def _balance_words(stats: Stats, train: list[int]) -> str:
    largest, smallest = max(train), min(train)
    names = [name for name, n in zip(stats.class_names, train, strict=True) if n == smallest]
    if largest == smallest:
        return f"All classes have {plural(largest, 'training image')}."
    named = first_few(names, NAMED_CLASSES)
    times = f" ({fixed(largest / smallest, 1)} {TIMES} as many)" if smallest else ""
    return f"Smallest: {named} with {count(smallest)}; largest: {count(largest)}{times}."


def _excluded(stats: Stats) -> Table:
    reasons = Counter(sample.reason for sample in stats.excluded)
    rows = [[Cell(s.sample_id, mono=True), Cell(s.reason)] for s in stats.excluded[:LISTED_EXCLUDED]]
    left_out = len(stats.excluded) - len(rows)
    summary = sentence_list(f"{count(n)} {reason}" for reason, n in reasons.most_common(NAMED_REASONS))
    note = f"By reason: {summary}." + (f" {count(left_out)} more in the CSV file." if left_out else "")
    columns = [Column("file", numeric=False), Column("reason", numeric=False)]
    data = [(sample.sample_id, sample.reason) for sample in stats.excluded]
    return Table(
        "excluded",
        f"Left out of the prepared data: {plural(len(stats.excluded), 'file')}",
        columns,
        rows,
        note=note,
        download=csv_download("excluded.csv", ("sample_id", "reason"), data),
    )
