"""Rule audit: report corrupt files, duplicates, leakage between splits and class balance."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.dataset import DatasetConfig
from slimline.data.audit import audit
from slimline.rule import run_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    cfg = DatasetConfig.model_validate(snakemake.params.dataset)
    run_rule(
        lambda: audit(
            cfg,
            raw=Path(snakemake.input.raw),
            manifest=Path(snakemake.input.manifest),
            audit_json=Path(snakemake.output.report),
            audit_parquet=Path(snakemake.output.table),
            threads=snakemake.threads,
        ),
        rule=f"audit ({cfg.name})",
        log_file=Path(snakemake.log[0]),
    )
