"""Rule compare: all variants against dense, the gate and the verdict."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.experiment import ExperimentConfig
from slimline.evaluation.compare import compare, pair_files
from slimline.evaluation.provenance import collect_provenance
from slimline.rule import run_rule
from slimline.search.outcome import compared_pairs, with_outcome

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake


def _compare() -> None:
    files, params = snakemake.input, snakemake.params
    search = files.get("search")
    experiment = with_outcome(ExperimentConfig.model_validate(params.config), Path(search) if search else None)
    compare(
        experiment=experiment,
        runs=pair_files(compared_pairs(experiment), files.predictions, files.latency, files.export, files.proof),
        prepared=Path(files.stats).parent,
        provenance=collect_provenance(
            config=experiment,
            seeds=experiment.train.seeds,
            manifest=Path(files.manifest),
            stats=Path(files.stats),
            lock=Path(snakemake.scriptdir).parent / "requirements.lock",
            command=params.command,
        ),
        metrics_csv=Path(snakemake.output.csv),
        metrics_json=Path(snakemake.output.json),
    )


if __name__ == "__main__":
    run_rule(_compare, rule="compare", log_file=Path(snakemake.log[0]))
