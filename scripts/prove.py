"""Rule prove: the file that ships, loaded in a fresh process and held against what it is said to be."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.evaluation.prove import prove
from slimline.model_rule import run_model_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    parent_report = snakemake.input.get("parent_report")
    run_model_rule(
        lambda: prove(
            Path(snakemake.input.onnx),
            Path(snakemake.input.report),
            Path(snakemake.input.reference),
            Path(parent_report) if parent_report else None,
            Path(snakemake.output[0]),
            variant=snakemake.wildcards.variant,
            seed=int(snakemake.wildcards.seed),
        ),
        snakemake,
    )
