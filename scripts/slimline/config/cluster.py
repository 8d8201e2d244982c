"""Where training jobs run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slimline.config.base import Config, Name


class ClusterConfig(Config):
    """A machine or a cluster: one file in `config/clusters/`."""

    name: Name = Field(description="Name of this cluster, the file's name without its ending.")
    executor: Literal["local", "slurm"] = Field(description="Where submitit sends training jobs.")
    nodes: Annotated[int, Field(ge=1)] = Field(default=1, description="Most nodes that one training job may ask for.")
    cpus_per_node: Annotated[int, Field(ge=1)] = Field(description="CPU cores that one job may use on a node.")
    gpus_per_node: Annotated[int, Field(ge=0)] = Field(default=0, description="GPUs that one job may use on a node.")
    memory_mb_per_node: Annotated[int, Field(ge=512)] = Field(description="Memory that one job may use on a node.")
    cpus_per_task: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="CPU cores per rank, which fixes the number of threads: results repeat to the bit at the same number.",
    )
    time_limit_min: Annotated[int, Field(ge=1)] = Field(
        default=1440, description="Longest time limit in minutes that the site grants."
    )
    account: str | None = Field(default=None, description="Slurm account.")
    partition: str | None = Field(default=None, description="Slurm partition.")
    qos: str | None = Field(default=None, description="Slurm quality of service.")
    constraint: str | None = Field(default=None, description="Slurm node features.")
