"""Rule plan_variant: the resource request of a variant's training jobs, from its computation graph."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimline.config.cluster import ClusterConfig
from slimline.config.model import ModelConfig
from slimline.config.pruning import PruneConfig
from slimline.config.train import TrainConfig
from slimline.plan.plan import TeacherPlan, plan_variant
from slimline.rule import run_rule

if TYPE_CHECKING:
    from snakemake.script import Snakemake

    snakemake: Snakemake

if __name__ == "__main__":
    run_rule(
        lambda: plan_variant(
            snakemake.wildcards.variant,
            snakemake.params.step,
            ModelConfig.model_validate(snakemake.params.model),
            TeacherPlan.model_validate(snakemake.params.teacher) if snakemake.params.teacher else None,
            TrainConfig.model_validate(snakemake.params.recipe),
            ClusterConfig.model_validate(snakemake.params.cluster),
            Path(snakemake.input.stats).parent,
            Path(snakemake.output[0]),
            PruneConfig.model_validate(snakemake.params.prune) if snakemake.params.prune else None,
        ),
        rule=f"plan_variant (variant {snakemake.wildcards.variant})",
        log_file=Path(snakemake.log[0]),
    )
