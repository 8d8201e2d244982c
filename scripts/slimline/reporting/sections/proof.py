"""What was proved of every file that ships, and of which there is no such file."""

from __future__ import annotations

from collections.abc import Mapping

from slimline.evaluation.artifact_status import OK, SLOWER
from slimline.evaluation.proof_record import Proof
from slimline.evaluation.records import FailedRow, Row
from slimline.reporting.format import TIMES, count, fixed, sentence_list, significant
from slimline.reporting.inputs import Evidence
from slimline.reporting.view import Block, Cell, Column, Details, Section, Table, csv_download

LEAD = (
    "Every file was loaded in a fresh process that knows nothing of how it was made, run on real images, and held "
    "against what it is said to be. Only what is ok here, and not slower than what it was made of, is ever recommended."
)


def proof_section(evidence: Evidence) -> Section:
    """The status of every model, what failed and why, and the facts behind it."""
    blocks: list[Block | Details] = [_status_table(evidence)]
    if evidence.metrics.failed_rows:
        blocks.append(_failures_table(evidence))
    return Section("proof", "Proof of each file", LEAD, [*blocks, Details("What runs inside", [_operators(evidence)])])


def status_cell(artifact_status: str) -> Cell:
    """A status as an icon with a word, and in words what is not ok."""
    if artifact_status == OK:
        return Cell(value=artifact_status, status="pass")
    severity = "warning" if artifact_status == SLOWER else "fail"
    return Cell(value=artifact_status, status=severity, note=artifact_status)


def _status_table(evidence: Evidence) -> Table:
    columns = [
        Column("variant", numeric=False),
        Column("seed"),
        Column("status", numeric=False),
        Column("largest difference", "logits against PyTorch"),
        Column("same class, %", "logits against PyTorch"),
        Column("ties, %"),
        Column("between batches, % of spread"),
        Column(f"p50, {TIMES} parent"),
    ]
    rows = [_status_row(row, evidence.proofs[row.variant, row.seed]) for row in evidence.metrics.rows]
    proofs = evidence.proofs.values()
    n_images = count(max(proof.n_images for proof in proofs))
    batches = sentence_list(map(str, sorted({size for proof in proofs for size in proof.batch_sizes})))
    opsets = sentence_list(map(str, sorted({proof.opset for proof in proofs})))
    note = (
        f"On {n_images} training images, in batches of {batches}; opset {opsets}. Logits of an image must not depend "
        "on the batch that it comes in. A tie is an image whose largest logit occurs twice, as happens where logits "
        "are rounded to 8 bits. The last ratio is timed in turns with the variant's own parent."
    )
    header = [name for name in Proof.model_fields if name not in {"operators", "problems", "format"}]
    data = [[_plain(getattr(proof, name)) for name in header] for proof in proofs]
    download = csv_download("proofs.csv", header, data)
    return Table("proofs", "Status of each file", columns, rows, note=note, sortable=True, download=download)


def _status_row(row: Row, proof: Proof) -> list[Cell]:
    ratio = row.latency_ratio_parent
    return [
        Cell(row.variant, row.variant),
        Cell(str(row.seed), row.seed),
        status_cell(row.artifact_status),
        Cell(significant(proof.max_abs) if proof.max_abs >= 1e-3 else f"{proof.max_abs:.1e}", proof.max_abs),
        Cell(fixed(100 * proof.argmax_agreement, 1), proof.argmax_agreement),
        Cell(fixed(100 * proof.tied_share, 1), proof.tied_share),
        Cell(fixed(100 * proof.batch_difference, 3), proof.batch_difference),
        Cell("reference") if ratio is None else Cell(fixed(ratio, 2), ratio),
    ]


def _plain(value: object) -> str | float | int | bool | None:
    if isinstance(value, dict):
        return _types(value)
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value if isinstance(value, str | float | int) else None


def _failures_table(evidence: Evidence) -> Table:
    def cells(row: FailedRow) -> list[Cell]:
        return [Cell(row.variant), Cell(str(row.seed), row.seed), Cell(status="fail"), Cell(_reason(row))]

    columns = [Column("variant", numeric=False), Column("seed")]
    columns += [Column("status", numeric=False), Column("reason", numeric=False)]
    note = "These have no figures anywhere on this page, and are never recommended."
    return Table("failures", "No such file", columns, [cells(row) for row in evidence.metrics.failed_rows], note=note)


def _reason(row: FailedRow) -> str:
    return row.artifact_status.removeprefix("failed: ")


def _operators(evidence: Evidence) -> Table:
    columns = [
        Column("variant", numeric=False),
        Column("seed"),
        Column("said to be", numeric=False),
        Column("q/dq nodes", "in the file"),
        Column("activations", "in the file", numeric=False),
        Column("weights", "in the file", numeric=False),
        Column("logits from", "in the file", numeric=False),
        Column("runtime", "executed", numeric=False),
        Column("in integers", "executed"),
        Column("fused", "executed"),
        Column("all", "executed", numeric=False),
    ]
    rows = [
        [
            Cell(variant, variant),
            Cell(str(seed), seed),
            Cell(proof.dtype),
            Cell(count(nodes := proof.quantize_nodes + proof.dequantize_nodes), nodes),
            Cell(_types(proof.activation_types)),
            Cell(_types(proof.weight_types), note="" if proof.weight_bits is None else f"of {proof.weight_bits} bits"),
            Cell(proof.logits_from),
            Cell(proof.runtime),
            Cell(count(proof.integer_operators), proof.integer_operators),
            Cell(count(proof.fused_operators), proof.fused_operators),
            Cell(count(total := sum(proof.operators.values())), total, note=_types(proof.operators)),
        ]
        for (variant, seed), proof in evidence.proofs.items()
    ]
    note = "Counted in the graph that the runtime executes, after its own optimisation."
    return Table("operators", "Operators", columns, rows, note=note, sortable=True)


def _types(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count(number)} {name}" for name, number in counts.items()) or "float"
