"""Rule search_round: what the trials of a round are worth, and which structures go on."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.compress import CompressConfig, trials_of_round
from slimline.files import read_json
from slimline.rule import run_rule
from slimline.search.steps import judge_round

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake


def _judge_round() -> None:
    files = snakemake.input
    compress = CompressConfig.model_validate(snakemake.params.compress)
    before = files.get("before")
    rounds, number = read_json(Path(files.plan))["rounds"], int(snakemake.wildcards.number)
    judge_round(
        compress,
        rounds[number],
        trials_of_round(compress, rounds, number, read_json(Path(before)) if before else None),
        {name: [Path(path) for path in files[name]] for name in ("validation", "latency", "exports", "proofs", "jobs")},
        Path(files.dense_validation),
        Path(files.dense_export),
        Path(snakemake.output[0]),
    )


if __name__ == "__main__":
    run_rule(_judge_round, rule=f"search_round (round {snakemake.wildcards.number})", log_file=Path(snakemake.log[0]))
