"""Rules latency and time_trial: how long a file takes, in turns with the dense model and its own parent."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.evaluation import LatencyConfig
from slimline.evaluation.latency import References, measure_latency, read_image_shape
from slimline.launch.living import wait_for_jobs
from slimline.model_rule import run_model_rule
from slimline.rule import tell

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake


def measure() -> None:
    """Once nothing else of this working folder computes here, if the file is to be timed alone."""
    variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)
    parent_onnx = snakemake.input.get("parent")
    if snakemake.params.alone:
        wait_for_jobs(lambda why: tell(f"latency (variant {variant}, seed {seed}) {why}"))
    measure_latency(
        onnx=Path(snakemake.input.onnx),
        references=References(
            dense=Path(snakemake.input.baseline),
            parent=snakemake.params.parent,
            parent_onnx=Path(parent_onnx) if parent_onnx else None,
            dtype=snakemake.params.dtype,
        ),
        settings=LatencyConfig.model_validate(snakemake.params.latency),
        image_shape=read_image_shape(Path(snakemake.input.stats)),
        output=Path(snakemake.output[0]),
        variant=variant,
        seed=seed,
    )


if __name__ == "__main__":
    run_model_rule(measure, snakemake)
