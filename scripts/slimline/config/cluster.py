"""Where training jobs run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from slimline.config.base import Config, Name, mistake


class ClusterConfig(Config):
    """A machine or a cluster: one file in `config/clusters/`."""

    name: Name = Field(description="Name of this cluster: the file's name without its ending.")
    executor: Literal["local", "slurm"] = Field(
        description="Where submitit sends training jobs: processes on this machine, or Slurm."
    )
    nodes: Annotated[int, Field(ge=1)] = Field(default=1, description="Most nodes that one training job may ask for.")
    cpus_per_node: Annotated[int, Field(ge=1)] = Field(description="CPU cores that one job may use on a node.")
    gpus_per_node: Annotated[int, Field(ge=0)] = Field(default=0, description="GPUs that one job may use on a node.")
    memory_mb_per_node: Annotated[int, Field(ge=512)] = Field(
        description="Memory in MB that one job may use on a node."
    )
    memory_mb_per_gpu: Annotated[int, Field(ge=512)] | None = Field(
        default=None, description="Memory of one GPU in MB; where unset, only the node's memory limits a job."
    )
    cpus_per_task: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="CPU cores per rank, which fixes its number of threads: at the same number, results repeat "
        "to the bit.",
    )
    cpu_bf16: bool | None = Field(
        default=None,
        description="Whether the CPUs have instructions for bf16 (AVX-512 BF16, AMX), which `precision: auto` then "
        "uses. Where unset, a `local` machine is asked, and Slurm's nodes are taken to have none.",
    )
    time_limit_min: Annotated[int, Field(ge=1)] = Field(
        default=1440, description="Longest time limit in minutes that the site grants."
    )
    checkpoint_interval_s: Annotated[float, Field(gt=0)] = Field(
        default=30.0, description="Seconds of training between two checkpoints: the most that a killed job loses."
    )
    checkpoint_mode: Literal["sync", "async"] = Field(
        default="sync",
        description="`async`: training goes on while a copy of the state in host memory is written.",
    )
    stall_timeout_s: Annotated[int, Field(ge=10)] = Field(
        default=300,
        description="A job that runs but has made no step for so many seconds is taken to be stuck, and started again "
        "from its newest checkpoint.",
    )
    poll_interval_s: Annotated[float, Field(ge=1)] = Field(
        default=15.0,
        description="Least seconds between two questions to Slurm about the queue: one question for all jobs of a "
        "working folder. Large sites may ask for 60.",
    )
    account: str | None = Field(default=None, description="Slurm account that jobs are charged to.")
    partition: str | None = Field(default=None, description="Slurm partition; the site's default where unset.")
    qos: str | None = Field(default=None, description="Slurm quality of service.")
    constraint: str | None = Field(default=None, description="Slurm node features that jobs need.")

    @field_validator("nodes")
    @classmethod
    def _one_local_node(cls, nodes: int, info: ValidationInfo) -> int:
        if nodes > 1 and info.data.get("executor") == "local":
            raise mistake(str(nodes), "1: the executor is `local`, which is this machine")
        return nodes

    @field_validator("cpus_per_task")
    @classmethod
    def _fits_a_node(cls, cpus_per_task: int, info: ValidationInfo) -> int:
        cpus_per_node = info.data.get("cpus_per_node")
        if cpus_per_node is not None and cpus_per_task > cpus_per_node:
            raise mistake(str(cpus_per_task), f"at most `cpus_per_node`, which is {cpus_per_node}")
        return cpus_per_task

    @field_validator("account", "partition", "qos", "constraint")
    @classmethod
    def _for_slurm_only(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("executor") == "local":
            raise mistake(f"{value!r}", "no such key: it is for the executor `slurm` only")
        return value
