"""Rule quantize: the int8 or bf16 file of a float ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.compression.quantize import quantize
from slimline.config.variants import QuantizeConfig
from slimline.model_rule import run_model_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)
    run_model_rule(
        lambda: quantize(
            Path(snakemake.input.onnx),
            Path(snakemake.input.report),
            Path(snakemake.input.reference),
            Path(snakemake.input.stats).parent,
            QuantizeConfig.model_validate(snakemake.params.quantize),
            variant=variant,
            seed=seed,
            output=Path(snakemake.output.onnx),
            report=Path(snakemake.output.report),
            trained=Path(snakemake.input.trained) if snakemake.input.get("trained") else None,
        ),
        snakemake,
    )
