"""From a rule's values to a training job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimline.code_hash import entry_point_hash
from slimline.config.cluster import ClusterConfig
from slimline.config.model import ModelConfig
from slimline.config.pruning import PruneConfig
from slimline.config.train import TrainConfig
from slimline.config.variants import DistilConfig, FinetuneConfig, QuantizeConfig
from slimline.files import read_json, sha256_file
from slimline.launch.run import TrainingOutputs, launch
from slimline.model_rule import run_model_rule
from slimline.training.spec import Allocation, TrainingSpec

if TYPE_CHECKING:
    from snakemake.script import Snakemake


def run_training_rule(entry: str, snakemake: Snakemake) -> None:
    """Runs a rule that has a training job done; all such rules differ in what runs in the job alone.

    Args:
        entry: what runs in the job, as `module:function`.
        snakemake: the rule's values: wildcards `variant` and `seed`, and what `launch_training` reads by name.
    """
    variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)
    values = (dict(named.items()) for named in (snakemake.input, snakemake.output, snakemake.params))
    run_model_rule(lambda: launch_training(entry, variant, seed, *values), snakemake)


def launch_training(
    entry: str,
    variant: str,
    seed: int,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, str],
    params: Mapping[str, Any],
) -> None:
    """Has the training job of a rule done.

    Args:
        entry: what runs in the job, as `module:function`.
        variant: the variant that it makes.
        seed: its seed.
        inputs: files by name: `plan`, `stats`, `index`, for a step on a parent `model` and `weights` of that, and
            `teachers`, models and weights, where others than the parent teach.
        outputs: files by name: `model`, `weights`, `history`, `job`.
        params: `experiment`, `recipe`, `cluster`, `model` where one is built anew, and the step's settings under its
            name, as plain values.

    Raises:
        SlimlineError: the job was not accepted, or it failed.
    """
    plan = read_json(Path(inputs["plan"]))
    decisive = [Path(inputs[name]) for name in ("stats", "index", "model", "weights") if name in inputs]
    taught_by = [Path(path) for path in inputs.get("teachers", [])]
    spec = TrainingSpec(
        experiment=params["experiment"],
        variant=variant,
        seed=seed,
        entry=entry,
        recipe=TrainConfig.model_validate(params["recipe"]),
        prepared=Path(inputs["stats"]).parent,
        allocation=Allocation.from_plan(plan),
        inputs={str(path): sha256_file(path) for path in (*decisive, *taught_by)},
        code=entry_point_hash(entry),
        model=ModelConfig.model_validate(params["model"]) if "model" in params else None,
        parent=Path(inputs["weights"]).parent if "weights" in inputs else None,
        step=_step(params),
        teachers=tuple(dict.fromkeys(path.parent for path in taught_by)),
    )
    places = TrainingOutputs(**{name: Path(path) for name, path in outputs.items()})
    launch(spec, plan, ClusterConfig.model_validate(params["cluster"]), places)


def _step(params: Mapping[str, Any]) -> PruneConfig | DistilConfig | FinetuneConfig | QuantizeConfig | None:
    if "prune" in params:
        return PruneConfig.model_validate(params["prune"])
    if "finetune" in params:
        return FinetuneConfig.model_validate(params["finetune"])
    if "quantize" in params:
        return QuantizeConfig.model_validate(params["quantize"])
    return DistilConfig.model_validate(params["distil"]) if "distil" in params else None
