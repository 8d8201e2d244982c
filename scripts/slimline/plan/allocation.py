"""From a footprint and a machine to a request: how many ranks where, how much memory, how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from slimline.config.cluster import ClusterConfig
from slimline.config.train import TrainConfig
from slimline.cpu import cpu_has_any
from slimline.errors import SlimlineError
from slimline.plan.footprint import Footprint
from slimline.plan.parallelism import Parallelism, parallelism_for
from slimline.plan.summary import four_digits

# Interpreter, torch, its libraries and the first pages of the data; measured with the CUDA build: 750.
PROCESS_MB = 850
# Gradients have the size of the weights; AdamW keeps two values per weight, SGD with momentum one. Muon keeps one
# for its matrices, but for the rest AdamW's two.
OPTIMIZER_COPIES = {"adamw": 2, "sgd": 1, "muon": 2}
# Gradients of activations and the allocator's slack, on top of what autograd saves.
ACTIVATION_FACTOR = 1.5
MEMORY_MARGIN = 1.2
# What a core and a GPU reach at least on small images; a bound for the time limit, not a forecast.
CPU_CORE_FLOPS, GPU_FLOPS = 4e9, 4e12
TIME_MARGIN = 2.0
# Instructions that multiply bf16; without them a CPU emulates it, slowly. By Linux's names.
BF16_CAPABILITIES = ("avx512_bf16", "amx_bf16", "svebf16")
STARTUP_MIN = 5


@dataclass(frozen=True)
class Layout:
    """How ranks are spread over nodes."""

    nodes: int
    tasks_per_node: int


def choose(
    footprint: Footprint, recipe: TrainConfig, n_samples: int, cluster: ClusterConfig, besides: int = 0
) -> dict[str, Any]:
    """The request of one training job, as the fields of `plan.json` that depend on the machine.

    Takes the fewest nodes that hold the ranks, and the largest micro-batch that fits the memory.

    Args:
        footprint: of the model, its teachers included.
        recipe: batch size, optimizer, epochs and ranks.
        n_samples: training images in an epoch.
        cluster: what a job may ask for.
        besides: forward passes that are no steps of training.

    Raises:
        SlimlineError: no layout holds the ranks, or one image does not fit the memory.
    """
    rejected: list[dict[str, str]] = []
    layout = _layout(recipe.ranks, cluster, rejected)
    parallelism = _parallelism(footprint, recipe, layout, cluster, rejected)
    micro_batch = _micro_batch(footprint, recipe, layout, parallelism, cluster, rejected)
    per_rank = math.ceil(recipe.batch_size / parallelism.image_ranks(recipe.ranks))
    hours = _hours(footprint, recipe, n_samples, cluster, besides)
    gpus_per_node = min(layout.tasks_per_node, cluster.gpus_per_node)
    return {
        "parallelism": parallelism.kind,
        "parallelism_reason": parallelism.reason,
        "shard_ranks": parallelism.shard_ranks,
        "tensor_ranks": parallelism.tensor_ranks,
        "nodes": layout.nodes,
        "tasks_per_node": layout.tasks_per_node,
        "cpus_per_task": cluster.cpus_per_task,
        "gpus_per_node": gpus_per_node,
        "micro_batch": micro_batch,
        "accumulation": math.ceil(per_rank / micro_batch),
        "precision": _precision(recipe, gpus_per_node, cluster),
        "memory_mb": _memory_mb(footprint, recipe, micro_batch, parallelism.parts) * layout.tasks_per_node,
        "time_min": _time_min(hours, cluster),
        "cost_cpu_h": four_digits(hours * recipe.ranks * cluster.cpus_per_task),
        "cost_gpu_h": four_digits(hours * gpus_per_node * layout.nodes),
        "rejected": rejected,
    }


def _layout(ranks: int, cluster: ClusterConfig, rejected: list[dict[str, str]]) -> Layout:
    per_node = cluster.gpus_per_node or cluster.cpus_per_node // cluster.cpus_per_task
    unit = "GPUs" if cluster.gpus_per_node else f"times {cluster.cpus_per_task} cores"
    for nodes in range(1, cluster.nodes + 1):
        option = f"{nodes} node{'s' if nodes > 1 else ''} for {ranks} rank{'s' if ranks > 1 else ''}"
        if ranks % nodes:
            rejected.append({"option": option, "reason": "ranks cannot be spread evenly"})
        elif ranks // nodes > per_node:
            rejected.append({"option": option, "reason": f"{ranks // nodes} on a node that has {per_node} {unit}"})
        else:
            return Layout(nodes, ranks // nodes)
    raise SlimlineError(
        f"No layout on the cluster {cluster.name} holds {ranks} ranks.",
        where="train.ranks",
        got="; ".join(f"{entry['option']}: {entry['reason']}" for entry in rejected),
        expected=f"at most {per_node} ranks on each of {cluster.nodes} nodes",
        next_step=f"lower train.ranks, or raise the limits in config/clusters/{cluster.name}.yaml",
    )


def _parallelism(
    footprint: Footprint, recipe: TrainConfig, layout: Layout, cluster: ClusterConfig, rejected: list[dict[str, str]]
) -> Parallelism:
    needed_mb, available_mb = _memory_mb(footprint, recipe, micro_batch=1, parts=1), _available_mb(layout, cluster)
    chosen = parallelism_for(
        recipe, layout.nodes, layout.tasks_per_node, footprint.heads, replica_fits=needed_mb <= available_mb
    )
    if recipe.parallelism == "auto" and chosen.kind == "fsdp":
        rejected.append(
            {"option": "ddp", "reason": f"{needed_mb} MB per rank with one image, {available_mb} MB are there"}
        )
    return chosen


def _available_mb(layout: Layout, cluster: ClusterConfig) -> int:
    """Memory in MB that one rank may use, where the model lies."""
    per_rank_mb = cluster.memory_mb_per_node // layout.tasks_per_node
    return min(per_rank_mb, cluster.memory_mb_per_gpu or per_rank_mb) if cluster.gpus_per_node else per_rank_mb


def _micro_batch(
    footprint: Footprint,
    recipe: TrainConfig,
    layout: Layout,
    parallelism: Parallelism,
    cluster: ClusterConfig,
    rejected: list[dict[str, str]],
) -> int:
    available_mb = _available_mb(layout, cluster)
    micro_batch = math.ceil(recipe.batch_size / parallelism.image_ranks(recipe.ranks))
    while (needed_mb := _memory_mb(footprint, recipe, micro_batch, parallelism.parts)) > available_mb:
        option = f"micro-batch {micro_batch}"
        rejected.append({"option": option, "reason": f"{needed_mb} MB per rank, {available_mb} MB are there"})
        if micro_batch == 1:
            raise SlimlineError(
                "One image at a time does not fit the memory of a rank.",
                where=f"cluster {cluster.name}",
                got=f"{needed_mb} MB needed",
                expected=f"at most {available_mb} MB",
                next_step="take a smaller model or smaller images, raise train.ranks with train.parallelism fsdp, "
                "or raise memory_mb_per_node or memory_mb_per_gpu if there is more",
            )
        micro_batch = math.ceil(micro_batch / 2)
    return micro_batch


def _memory_mb(footprint: Footprint, recipe: TrainConfig, micro_batch: int, parts: int) -> int:
    """Memory of one rank in MB, rounded up to 100, where the states of the model are cut into `parts`."""
    copies = 2 + OPTIMIZER_COPIES[recipe.optimizer] + (recipe.ema_decay is not None) + (recipe.keep == "best")
    states = footprint.weight_bytes * copies / parts
    activations = footprint.activation_bytes_per_image * micro_batch * ACTIVATION_FACTOR
    teachers = footprint.teachers
    if teachers is not None:
        states += teachers.weight_bytes + teachers.cache_bytes
        activations += teachers.activation_bytes_per_image * micro_batch
    before = footprint.weight_bytes + footprint.before_bytes
    needed_mb = PROCESS_MB + MEMORY_MARGIN * max(before, states + activations) / 2**20
    return math.ceil(needed_mb / 100) * 100


def _hours(footprint: Footprint, recipe: TrainConfig, n_samples: int, cluster: ClusterConfig, besides: int) -> float:
    """An upper bound of the training time: forward and backward cost three forward passes of 2 FLOPs per MAC.

    Of a network that was pruned before, their share of it. Teachers go forward only, once for each image where their
    answers are kept.
    """
    flops = 2 * footprint.macs * (3 * n_samples * recipe.epochs * footprint.share_trained + besides)
    if footprint.teachers is not None:
        passes = 1 if footprint.teachers.cache_bytes else recipe.epochs
        flops += 2 * footprint.teachers.macs * n_samples * passes
    speed = GPU_FLOPS if cluster.gpus_per_node else CPU_CORE_FLOPS * cluster.cpus_per_task
    return flops / (speed * recipe.ranks) / 3600


def _time_min(hours: float, cluster: ClusterConfig) -> int:
    """The time limit in minutes; on this machine nobody waits for the slot, so it is the longest."""
    if cluster.executor == "local":
        return cluster.time_limit_min
    return min(cluster.time_limit_min, STARTUP_MIN + math.ceil(TIME_MARGIN * hours * 60))


def _precision(recipe: TrainConfig, gpus_per_node: int, cluster: ClusterConfig) -> str:
    if recipe.precision == "auto":
        return "bf16" if gpus_per_node or _cpus_have_bf16(cluster) else "fp32"
    if recipe.precision == "fp16" and not gpus_per_node:
        raise SlimlineError(
            "Training in fp16 needs a GPU.",
            where="train.precision",
            got="fp16, on a cluster without GPUs",
            expected="auto, fp32 or bf16",
        )
    return recipe.precision


def _cpus_have_bf16(cluster: ClusterConfig) -> bool:
    if cluster.cpu_bf16 is None and cluster.executor == "local":
        return cpu_has_any(BF16_CAPABILITIES)
    return bool(cluster.cpu_bf16)
