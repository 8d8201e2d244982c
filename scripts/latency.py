"""Rule latency: how long the file that ships takes, in turns with the dense model of the same seed."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.evaluation import LatencyConfig
from slimline.evaluation.latency import measure_latency, read_image_shape
from slimline.rule import run_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    run_rule(
        lambda: measure_latency(
            onnx=Path(snakemake.input.onnx),
            baseline_onnx=Path(snakemake.input.baseline),
            settings=LatencyConfig.model_validate(snakemake.params.latency),
            image_shape=read_image_shape(Path(snakemake.input.stats)),
            output=Path(snakemake.output[0]),
            variant=snakemake.wildcards.variant,
            seed=int(snakemake.wildcards.seed),
        ),
        rule=f"latency (variant {snakemake.wildcards.variant}, seed {snakemake.wildcards.seed})",
        log_file=Path(snakemake.log[0]),
    )
