"""Rule report: one offline page for reviewers."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.reporting.inputs import ReportInputs, pair_files
from slimline.reporting.page import write_report
from slimline.rule import run_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake


def _report() -> None:
    files, params = snakemake.input, snakemake.params
    runs = pair_files(
        params.pairs,
        files.predictions,
        files.latency,
        files.exports,
        files.proofs,
        params.training_pairs,
        files.histories,
        files.jobs,
    )
    inputs = ReportInputs(
        metrics=Path(files.metrics),
        plan=Path(files.plan),
        stats=Path(files.stats),
        audit=Path(files.audit),
        manifest=Path(files.manifest),
        runs=runs,
    )
    write_report(inputs, Path(snakemake.output[0]))


if __name__ == "__main__":
    run_rule(_report, rule="report", log_file=Path(snakemake.log[0]))
