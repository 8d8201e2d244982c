"""What a training job is told: one JSON file, and nothing else, decides the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimline.config.model import ModelConfig
from slimline.config.pruning import PruneConfig
from slimline.config.train import TrainConfig
from slimline.config.variants import DistilConfig, FinetuneConfig, QuantizeConfig
from slimline.files import read_json, sha256_json, write_json

FORMAT = 1
SPEC_FILE = "spec.json"
RESULT_FOLDER = "result"
HEARTBEAT_FILE = "heartbeat.json"
HISTORY_FILE = "history.jsonl"
SUMMARY_FILE = "summary.json"
CHECKPOINTS_FOLDER = "checkpoints"
TENSORBOARD_FOLDER = "tensorboard"
PROFILE_FILE = "profile/trace.json"
LAST_WEIGHTS_FILE = "weights-last.safetensors"  # beside those of the best epoch, where these ship
NOT_FINITE_FILE = "not_finite.json"

# Keys of the recipe that change what is told of a run, and nothing of its result.
TOLD = frozenset({"log_every_steps", "profile_steps", "tracking"})
# Those that say how the work is shared out, and what of the allocation says more than that. The rest of it moves the
# last bits of a result, by the order in which sums are added.
SHARED_OUT = frozenset({"ranks", "parallelism"})
NOT_SHARED_OUT = frozenset({"device", "precision"})


def checkpoint_name(epoch: int, step: int) -> str:
    """Name of a checkpoint's folder; names sort by position."""
    return f"epoch-{epoch:05d}-step-{step:07d}"


def checkpoint_place(name: str) -> str:
    """The position in a checkpoint's name, in words."""
    _, epoch, _, step = name.split("-")
    return f"epoch {int(epoch)}, step {int(step)}"


def checkpoint_names(folder: Path) -> list[str]:
    """Names of the checkpoints in a folder, oldest first."""
    return sorted(path.name for path in folder.glob("epoch-*-step-*") if path.is_dir())


@dataclass(frozen=True)
class Allocation:
    """What the plan gives a job, as far as it can change the result to the bit.

    Args:
        nodes: number of machines.
        tasks_per_node: ranks on each of them.
        cpus_per_task: threads of each rank.
        device: `cpu` or `cuda`.
        precision: `fp32`, `bf16` or `fp16`, already resolved.
        micro_batch: most images in one forward pass on one rank.
        accumulation: forward passes per optimizer step.
        parallelism: `single`, `ddp`, `fsdp`, `hybrid`, `tp` or `fsdp-tp`.
        shard_ranks: ranks that hold one copy of weights, gradients and optimizer state together.
        tensor_ranks: ranks that compute each layer together, on the same images.
    """

    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    device: str
    precision: str
    micro_batch: int
    accumulation: int
    parallelism: str = "ddp"
    shard_ranks: int = 1
    tensor_ranks: int = 1

    @property
    def ranks(self) -> int:
        """Number of processes."""
        return self.nodes * self.tasks_per_node

    def __str__(self) -> str:
        ranks = "1 rank" if self.ranks == 1 else f"{self.ranks} ranks"
        return f"{ranks} ({self.parallelism}, threads each: {self.cpus_per_task})"

    @classmethod
    def from_plan(cls, plan: dict[str, Any]) -> Allocation:
        """The allocation in the content of a variant's `plan.json`."""
        return cls(
            nodes=plan["nodes"],
            tasks_per_node=plan["tasks_per_node"],
            cpus_per_task=plan["cpus_per_task"],
            device="cuda" if plan["gpus_per_node"] else "cpu",
            precision=plan["precision"],
            micro_batch=plan["micro_batch"],
            accumulation=plan["accumulation"],
            parallelism=plan["parallelism"],
            shard_ranks=plan["shard_ranks"],
            tensor_ranks=plan["tensor_ranks"],
        )


@dataclass(frozen=True)
class TrainingSpec:
    """One training job.

    Args:
        experiment: name of the experiment.
        variant: name of the variant it makes.
        seed: seed of initial weights, order and augmentation.
        entry: function that runs it, as `module:function`; it gets the spec and the job's folder.
        recipe: epochs, optimizer and the like.
        prepared: folder of the prepared data.
        allocation: ranks, threads, device and precision.
        inputs: SHA-256 by path of every file the result depends on.
        code: digest of the library files the result depends on.
        model: the model to train from scratch (dense training and students).
        parent: folder of the parent's artifact; None for dense training.
        step: settings of the step on it.
        teachers: folders of the artifacts that teach a student together; its parent alone where there are none.
    """

    experiment: str
    variant: str
    seed: int
    entry: str
    recipe: TrainConfig
    prepared: Path
    allocation: Allocation
    inputs: dict[str, str]
    code: str
    model: ModelConfig | None = None
    parent: Path | None = None
    step: PruneConfig | DistilConfig | FinetuneConfig | QuantizeConfig | None = None
    teachers: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """Readable name: experiment, variant and seed."""
        return f"{self.experiment}-{self.variant}-seed{self.seed}"

    def to_json(self) -> dict[str, Any]:
        """The content of `spec.json`."""
        return {
            "format": FORMAT,
            "experiment": self.experiment,
            "variant": self.variant,
            "seed": self.seed,
            "entry": self.entry,
            # The other seeds of the experiment are no part of what this job does.
            "recipe": self.recipe.model_dump(mode="json", exclude={"seeds"}),
            "prepared": str(self.prepared),
            "allocation": asdict(self.allocation),
            "inputs": self.inputs,
            "code": self.code,
            "model": self.model.model_dump(mode="json") if self.model else None,
            "parent": str(self.parent) if self.parent else None,
            "step": self.step.model_dump(mode="json") if self.step else None,
            "step_kind": type(self.step).__name__ if self.step else None,
            "teachers": [str(folder) for folder in self.teachers],
        }

    @property
    def digest(self) -> str:
        """Digest of what decides the result: equal digests mean equal results."""
        content = self.to_json()
        return sha256_json(content | {"recipe": _without(content["recipe"], TOLD)})

    @property
    def lineage(self) -> str:
        """See `lineage`."""
        return lineage(self.to_json())

    def write(self, folder: Path) -> None:
        """Writes `spec.json` into the job's folder."""
        write_json(folder / SPEC_FILE, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> TrainingSpec:
        """The spec in a job's folder."""
        content = read_json(folder / SPEC_FILE)
        kinds = {kind.__name__: kind for kind in (PruneConfig, DistilConfig, FinetuneConfig, QuantizeConfig)}
        kind = kinds.get(content["step_kind"])
        return cls(
            experiment=content["experiment"],
            variant=content["variant"],
            seed=content["seed"],
            entry=content["entry"],
            recipe=TrainConfig.model_validate(content["recipe"]),
            prepared=Path(content["prepared"]),
            allocation=Allocation(**content["allocation"]),
            inputs=content["inputs"],
            code=content["code"],
            model=ModelConfig.model_validate(content["model"]) if content["model"] else None,
            parent=Path(content["parent"]) if content["parent"] else None,
            step=kind.model_validate(content["step"]) if kind else None,
            teachers=tuple(Path(folder) for folder in content["teachers"]),
        )


def lineage(content: dict[str, Any]) -> str:
    """Digest of a job without how its work is shared out: equal ones mean equal results but for rounding.

    Jobs of one lineage can go on from each other's checkpoints.

    Args:
        content: of a `spec.json`.
    """
    kept = {key: value for key, value in content["allocation"].items() if key in NOT_SHARED_OUT}
    return sha256_json(content | {"recipe": _without(content["recipe"], TOLD | SHARED_OUT), "allocation": kept})


def _without(content: dict[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}
