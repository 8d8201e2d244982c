"""Rule search: the outcome of the rounds, and what is trained in full."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.compress import CompressConfig
from slimline.rule import run_rule
from slimline.search.steps import conclude

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    run_rule(
        lambda: conclude(
            CompressConfig.model_validate(snakemake.params.compress),
            [Path(path) for path in snakemake.input.rounds],
            Path(snakemake.input.plan),
            snakemake.params.seed,
            Path(snakemake.output[0]),
        ),
        rule="search",
        log_file=Path(snakemake.log[0]),
    )
