"""Rule report: one offline page for reviewers."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.experiment import ExperimentConfig
from slimline.reporting.inputs import ReportInputs, pair_files
from slimline.reporting.page import write_report
from slimline.rule import run_rule
from slimline.search.outcome import compared_pairs, with_outcome

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake


def _report() -> None:
    files = snakemake.input
    search = Path(files.search) if files.get("search") else None
    experiment = with_outcome(ExperimentConfig.model_validate(snakemake.params.config), search)
    runs = pair_files(
        compared_pairs(experiment),
        files.predictions,
        files.latency,
        files.exports,
        files.proofs,
        compared_pairs(experiment, trained=True),
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
        search=search,
    )
    write_report(inputs, Path(snakemake.output[0]))


if __name__ == "__main__":
    run_rule(_report, rule="report", log_file=Path(snakemake.log[0]))
