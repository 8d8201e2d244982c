"""Rule distil: a smaller student of the parent, as a submitit job."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.launch.request import launch_training
from slimline.rule import run_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)
    run_rule(
        lambda: launch_training(
            "slimline.compression.distil:run",
            variant,
            seed,
            dict(snakemake.input.items()),
            dict(snakemake.output.items()),
            dict(snakemake.params.items()),
        ),
        rule=f"distil (variant {variant}, seed {seed})",
        log_file=Path(snakemake.log[0]),
    )
