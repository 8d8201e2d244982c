"""Rule search_plan: which rounds of the search the budget pays for."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.compress import CompressConfig
from slimline.rule import run_rule
from slimline.search.steps import plan_search

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    run_rule(
        lambda: plan_search(
            CompressConfig.model_validate(snakemake.params.compress),
            [Path(plan) for plan in snakemake.input.plans],
            Path(snakemake.input.dense_plan),
            Path(snakemake.input.dense_job),
            Path(snakemake.output[0]),
        ),
        rule="search_plan",
        log_file=Path(snakemake.log[0]),
    )
