"""Writes the tables of docs/reference/outputs.md from the records: `python -m slimline.reporting.document`.

The prose around the tables is written by hand. A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from pathlib import Path

from slimline.errors import SlimlineError
from slimline.evaluation.latency_record import Baseline, LatencyRecord
from slimline.evaluation.proof_record import Problem, Proof
from slimline.evaluation.provenance_record import Provenance
from slimline.evaluation.record_base import Record, field_unit
from slimline.evaluation.records import FailedRow, FailedVariant, GateCheck, Metrics, Row, VariantRecord, Verdict
from slimline.files import write_text
from slimline.search.records import Point, Round, Search, SearchPlan

PAGE = Path("docs/reference/outputs.md")
TABLES: dict[str, type[Record]] = {
    "metrics.csv": Row,
    "metrics.json": Metrics,
    "failed_rows": FailedRow,
    "variants": VariantRecord,
    "failed_variants": FailedVariant,
    "gate": GateCheck,
    "verdict": Verdict,
    "provenance": Provenance,
    "latency.json": LatencyRecord,
    "baseline": Baseline,
    "proof.json": Proof,
    "problem": Problem,
    "search.json": Search,
    "search_plan": SearchPlan,
    "search_round": Round,
    "search_point": Point,
}
BLOCK = re.compile(r"(<!-- table: (?P<name>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(model: type[Record]) -> str:
    """The fields of a record as a Markdown table."""
    lines = ["| field | unit | meaning |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {field_unit(model, name)} | {field.description} |" for name, field in model.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def fill(page: str) -> str:
    """The page with every table as the records have it now.

    Raises:
        SlimlineError: a table of the page is unknown, or one of TABLES is not on it.
    """
    names = [match["name"] for match in BLOCK.finditer(page)]
    if sorted(names) != sorted(TABLES):
        raise SlimlineError(
            "The page does not have each table once.",
            where=str(PAGE),
            got=", ".join(sorted(names)),
            expected=", ".join(sorted(TABLES)),
        )
    return BLOCK.sub(lambda match: f"{match[1]}{table(TABLES[match['name']])}{match[3]}", page)


if __name__ == "__main__":
    write_text(PAGE, fill(PAGE.read_text(encoding="utf-8")))
