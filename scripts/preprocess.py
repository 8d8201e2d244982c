"""Rule preprocess: turn checked raw images into shards, labels, an index and statistics."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.dataset import DatasetConfig
from slimline.data.preprocess import preprocess
from slimline.rule import run_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    cfg = DatasetConfig.model_validate(snakemake.params.dataset)
    run_rule(
        lambda: preprocess(
            cfg,
            raw=Path(snakemake.input.raw),
            audit_json=Path(snakemake.input.report),
            audit_parquet=Path(snakemake.input.table),
            labels=Path(snakemake.output.labels),
            index=Path(snakemake.output.index),
            stats=Path(snakemake.output.stats),
            shards=Path(snakemake.output.shards),
            threads=snakemake.threads,
        ),
        rule=f"preprocess ({cfg.name})",
        log_file=Path(snakemake.log[0]),
    )
