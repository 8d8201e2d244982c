"""Rule download: fetch a dataset's files, or list those of an image folder, with checksums."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.dataset import DatasetConfig
from slimline.data.download import download
from slimline.rule import run_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    cfg = DatasetConfig.model_validate(snakemake.params.dataset)
    run_rule(
        lambda: download(
            cfg,
            raw=Path(snakemake.output.raw),
            manifest=Path(snakemake.output.manifest),
            # not a param: the files are the same wherever they come from, so another mirror is no reason to run again
            mirror=os.environ.get("SLIMLINE_MIRROR") or None,
            threads=snakemake.threads,
        ),
        rule=f"download ({cfg.name})",
        log_file=Path(snakemake.log[0]),
    )
