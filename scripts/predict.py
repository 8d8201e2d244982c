"""Rule predict: the logits of every test image, from the file that ships."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.evaluation.predictions import predict
from slimline.model_rule import run_model_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    run_model_rule(
        lambda: predict(
            onnx=Path(snakemake.input.onnx),
            prepared=Path(snakemake.input.stats).parent,
            output=Path(snakemake.output[0]),
            split=snakemake.params.split,
            batch_size=snakemake.params.batch_size,
            threads=snakemake.threads,
        ),
        snakemake,
    )
