"""What it takes to run the experiment again and get the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from slimline.config.experiment import ExperimentConfig
from slimline.config.runtime import default_runtime
from slimline.evaluation.records import VariantRecord
from slimline.evaluation.wording import runtime
from slimline.reporting.charts.tradeoff import SHAPES
from slimline.reporting.charts.tree import TreeNode, tree_chart
from slimline.reporting.format import count, moment, percent, plural, sentence_list, size
from slimline.reporting.inputs import Evidence
from slimline.reporting.sections.tradeoff import hues
from slimline.reporting.view import (
    Cell,
    Code,
    Column,
    Details,
    Fact,
    Facts,
    Figure,
    Figures,
    Section,
    Table,
    csv_download,
)

SHORT_DIGEST = 16


def provenance_section(evidence: Evidence) -> Section:
    """Code, command, machine, data, files and config."""
    config = yaml.safe_dump(evidence.metrics.provenance.config, sort_keys=False, allow_unicode=True)
    return Section(
        "provenance",
        "Provenance",
        "",
        [
            Facts(_facts(evidence)),
            Figures([_tree(evidence)]),
            _artifacts_table(evidence),
            _data_table(evidence),
            Details("Resolved config", [Code(config, "Resolved config")]),
            Details("Versions of packages", [_versions_table(evidence)]),
        ],
    )


def _facts(evidence: Evidence) -> list[Fact]:
    provenance = evidence.metrics.provenance
    commit = provenance.git_sha or "not measured: no git repository"
    tree = {
        True: ("modified: files differ from the commit", "warning"),
        False: ("clean: files are those of the commit", None),
        None: ("not measured: no git repository", None),
    }
    words, status = tree[provenance.git_dirty]
    lock = provenance.lock_sha256 or "not measured: no lock file"
    return [
        Fact("Commit", commit, mono=provenance.git_sha is not None),
        Fact("Working tree", words, status=status),
        Fact("Command", provenance.command, mono=True),
        Fact("Compared", moment(provenance.created_utc)),
        Fact("Seeds", sentence_list(map(str, provenance.seeds))),
        Fact("Python", provenance.python),
        Fact("Platform", provenance.platform),
        Fact("Device", provenance.device),
        Fact("Lock file, SHA-256", lock, mono=provenance.lock_sha256 is not None),
    ]


def _tree(evidence: Evidence) -> Figure:
    variants = evidence.metrics.variants
    colours = hues(evidence)
    candidates = ExperimentConfig.model_validate(evidence.metrics.provenance.config).candidates
    declared = {name: variant.model_dump(mode="json", by_alias=True) for name, variant in candidates.items()}
    nodes = [
        TreeNode(
            name=record.variant,
            parent=record.parent,
            note=_recipe(record, declared.get(record.variant, {}), evidence),
            shape=SHAPES[record.step],
            hue=colours[record.variant],
        )
        for record in variants
    ]
    text = "; ".join(f"{n.name} from {n.parent or 'the data'}: {n.note}" for n in nodes)
    svg = tree_chart("chart-tree", nodes, "Which variant was made from which", text)
    caption = "Which variant was made from which, and how. Marks are those of the pictures above."
    data = [(node.name, node.parent, node.note) for node in nodes]
    return Figure(svg, caption, csv_download("variants-tree.csv", ("variant", "parent", "how"), data))


def _recipe(record: VariantRecord, declared: Mapping[str, Any], evidence: Evidence) -> str:
    step = record.step
    options: Mapping[str, Any] = declared.get(step) or {}
    model: Mapping[str, Any] = evidence.metrics.provenance.config.get("model", {})
    if step == "train":
        return f"{_model_words(model)} trained on {evidence.stats.dataset}"
    if step == "prune":
        single = options.get("granularity") == "weights"
        what = "weights zero (not faster)" if single else "channels pruned"
        return f"{percent(options.get('ratio', 0.0), 0)} of {what}, {options.get('epochs', '?')} epochs of tuning"
    if step == "distil":
        if options.get("width") is not None:
            return f"distilled into {options['width']:g} of its width"
        return f"distilled into {_model_words(options.get('model') or {})}"
    if step == "finetune":
        n_epochs = max(
            len(evidence.histories[record.variant, seed].epochs) for seed in evidence.metrics.provenance.seeds
        )
        return f"trained on for {plural(n_epochs, 'epoch')}{', as a control' if record.is_control else ''}"
    return _quantization_words(options)


def _quantization_words(options: Mapping[str, Any]) -> str:
    dtype, epochs = options.get("dtype", "int8"), options.get("epochs", 0)
    name = runtime(options.get("runtime") or default_runtime(dtype))
    if dtype == "bf16":
        return f"{dtype} for {name}"
    trained = f"{plural(epochs, 'epoch')} of quantization-aware training, " if epochs else ""
    return f"{dtype} for {name}, {trained}calibrated on {options.get('calibration_samples', '?')} images"


def _model_words(model: Mapping[str, Any]) -> str:
    width = model.get("width", 1.0)
    return str(model.get("name", "model")) + (f", width {width:g}" if width != 1.0 else "")


def _artifacts_table(evidence: Evidence) -> Table:
    columns = [
        Column("variant", numeric=False),
        Column("seed"),
        Column("type", numeric=False),
        Column("file"),
        Column("quantized operators"),
        Column("parity, max logit"),
        Column("parity, same answer"),
        Column("SHA-256", numeric=False),
    ]
    rows = [
        [
            Cell(variant, variant),
            Cell(str(seed), seed),
            Cell(export.dtype),
            Cell(size(export.size_bytes), export.size_bytes),
            Cell(count(export.quantized_operators), export.quantized_operators),
            Cell(f"{export.parity.max_abs:.1e}", export.parity.max_abs),
            Cell(percent(export.parity.argmax_agreement), export.parity.argmax_agreement),
            Cell(export.onnx_sha256[:SHORT_DIGEST], export.onnx_sha256, mono=True),
        ]
        for (variant, seed), export in evidence.exports.items()
    ]
    header = ("variant", "seed", "dtype", "opset", "size_bytes", "parity_max_abs", "argmax_agreement", "onnx_sha256")
    data = [
        (v, s, e.dtype, e.opset, e.size_bytes, e.parity.max_abs, e.parity.argmax_agreement, e.onnx_sha256)
        for (v, s), e in evidence.exports.items()
    ]
    note = (
        "Parity: how far logits and answers are from those of the PyTorch fp32 model. Whole digests: in the CSV file."
    )
    download = csv_download("files.csv", header, data)
    return Table("artifacts", "Files that ship", columns, rows, note=note, sortable=True, download=download)


def _data_table(evidence: Evidence) -> Table:
    provenance = evidence.metrics.provenance.data
    rows = [[Cell(f.file, mono=True), Cell(size(f.size_bytes)), _digest_cell(f.sha256)] for f in provenance.files]
    rows += [
        [Cell(f"{split} split"), Cell("list of images"), Cell(digest, mono=True)]
        for split, digest in provenance.split_sha256.items()
    ]
    columns = [Column("source", numeric=False), Column("size", numeric=False), Column("SHA-256", numeric=False)]
    return Table("checksums", f"Checksums of the data, {provenance.dataset}", columns, rows)


def _digest_cell(digest: str | None) -> Cell:
    return Cell("not measured: the file could not be read") if digest is None else Cell(digest, mono=True)


def _versions_table(evidence: Evidence) -> Table:
    columns = [Column("package", numeric=False), Column("version", numeric=False)]
    rows = [[Cell(name), Cell(version, mono=True)] for name, version in evidence.metrics.provenance.versions.items()]
    return Table("versions", "Installed packages", columns, rows)
