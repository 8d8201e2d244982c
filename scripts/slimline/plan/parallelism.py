"""Which way of sharing a model and its batches between ranks."""

from __future__ import annotations

from dataclasses import dataclass

from slimline.config.train import TrainConfig
from slimline.errors import SlimlineError
from slimline.models.attention import require_heads


@dataclass(frozen=True)
class Parallelism:
    """How the ranks share the work: replicas x shards x tensor parts are all ranks.

    Args:
        kind: `single`, or a value of `train.parallelism` other than `auto`.
        shard_ranks: ranks that hold one copy of weights, gradients and optimizer state together.
        tensor_ranks: ranks that compute each layer together, on the same images.
        reason: why this one, for the reader of the plan.
    """

    kind: str
    shard_ranks: int
    tensor_ranks: int
    reason: str

    @property
    def parts(self) -> int:
        """Into how many parts the weights are cut."""
        return self.shard_ranks * self.tensor_ranks

    def image_ranks(self, ranks: int) -> int:
        """How many of `ranks` have different images."""
        return ranks // self.tensor_ranks


def parallelism_for(
    recipe: TrainConfig, nodes: int, tasks_per_node: int, heads: int, replica_fits: bool
) -> Parallelism:
    """What the recipe asks for, or what `auto` comes to: `ddp` unless a rank cannot hold a whole replica.

    Ranks that talk most share a node: tensor parts always, shards of `hybrid` too. On a single node `hybrid` makes
    two replicas and `fsdp-tp` pairs.

    Args:
        recipe: ranks and parallelism.
        nodes: machines.
        tasks_per_node: ranks on each.
        heads: most ranks that can share the model's attention, 0 without any.
        replica_fits: whether a rank's memory holds weights, gradients, optimizer state and one image.

    Raises:
        SlimlineError: the model or the number of ranks does not allow it.
    """
    ranks, kind = recipe.ranks, recipe.parallelism
    if ranks == 1:
        return Parallelism("single", 1, 1, "one rank")
    if kind == "auto":
        if replica_fits:
            return Parallelism(
                "ddp", 1, 1, "auto: a rank's memory holds a whole replica, which costs the least traffic"
            )
        return Parallelism("fsdp", ranks, 1, "auto: a rank's memory does not hold a whole replica")
    shard_ranks, tensor_ranks = {
        "ddp": (1, 1),
        "fsdp": (ranks, 1),
        "hybrid": (ranks // 2 if nodes == 1 else tasks_per_node, 1),
        "tp": (1, ranks),
        "fsdp-tp": (ranks // 2, 2) if nodes == 1 else (nodes, tasks_per_node),
    }[kind]
    _require_grid(kind, ranks, shard_ranks, tensor_ranks, nodes)
    if tensor_ranks > 1:
        require_heads(heads, tensor_ranks)
    return Parallelism(kind, shard_ranks, tensor_ranks, "train.parallelism")


def _require_grid(kind: str, ranks: int, shard_ranks: int, tensor_ranks: int, nodes: int) -> None:
    """Both sides of a grid need at least two ranks, and tensor parts a common node."""
    if kind in ("hybrid", "fsdp-tp") and (ranks % 2 or min(shard_ranks, ranks // shard_ranks) < 2):
        raise SlimlineError(
            f"{kind} needs a grid of ranks, at least two by two.",
            where="train.parallelism, train.ranks",
            got=f"{ranks} ranks on {nodes} node{'s' if nodes > 1 else ''}",
            expected="an even number of ranks from 4 up; on several nodes, at least two on each",
            next_step="change train.ranks, or set train.parallelism to auto",
        )
    if kind == "tp" and nodes > 1:
        raise SlimlineError(
            "Tensor parallelism across nodes would wait for the network in every layer.",
            where="train.parallelism, train.ranks",
            got=f"{tensor_ranks} ranks on {nodes} nodes",
            expected="all ranks of tp on one node",
            next_step="set train.parallelism to fsdp-tp, which shards across nodes, or lower train.ranks",
        )
