"""The error for a request that Slurm will not grant."""

from __future__ import annotations

from slimline.errors import SlimlineError


def refusal(cluster: str, reason: str) -> SlimlineError:
    """One screen with Slurm's own reason.

    Args:
        cluster: name of the cluster file.
        reason: what Slurm says.
    """
    return SlimlineError(
        "Slurm does not take the job.",
        where=f"cluster {cluster}",
        got=reason,
        expected="a request that the cluster can grant; see `sinfo -o '%P %D %c %m %G %l'`",
        next_step=f"correct the limits, partition, account, qos or constraint in config/clusters/{cluster}.yaml "
        "and run snakemake again",
    )
