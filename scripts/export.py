"""Rule export: the ONNX file of a trained variant, proved equal to its PyTorch model."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.model_rule import run_model_rule
from slimline.models.export import export

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)
    run_model_rule(
        lambda: export(
            Path(snakemake.input.weights).parent,
            Path(snakemake.input.stats).parent,
            variant=variant,
            seed=seed,
            output=Path(snakemake.output.onnx),
            report=Path(snakemake.output.report),
            reference=Path(snakemake.output.reference),
        ),
        snakemake,
    )
