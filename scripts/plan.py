"""Rule plan: what all training jobs of the experiment will ask for."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.cluster import ClusterConfig
from slimline.plan.summary import summarise
from slimline.rule import run_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    run_rule(
        lambda: summarise(
            snakemake.params.experiment,
            ClusterConfig.model_validate(snakemake.params.cluster),
            snakemake.params.seeds,
            [Path(path) for path in snakemake.input],
            Path(snakemake.output[0]),
        ),
        rule="plan",
        log_file=Path(snakemake.log[0]),
    )
