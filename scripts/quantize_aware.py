"""Rule quantize_aware: the parent is trained on while it computes as in int8, as a submitit job."""

from typing import TYPE_CHECKING

from slimline.launch.request import run_training_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    run_training_rule("slimline.compression.quantize_aware:run", snakemake)
