"""What a local cluster is made of and where its files lie."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from slimline.errors import SlimlineError
from slimline.files import read_json, write_json

DEFAULT_FOLDER = Path(".slimline/slurm")
CLUSTER_NAME = "slimline-local"
# Longest path that Linux takes for a Unix socket, without the closing zero byte.
SOCKET_PATH_BYTES = 107


@dataclass(frozen=True)
class ClusterSettings:
    """Size of a local cluster; the defaults are those of `config/clusters/slurm.yaml`.

    Nodes, CPUs, memory and GPUs are virtual: there can be more of them than the machine has.

    Args:
        nodes: number of virtual nodes.
        cpus_per_node: CPUs that Slurm gives to jobs on each.
        memory_mb_per_node: memory in MB that Slurm gives to jobs on each.
        gpus_per_node: GPUs that Slurm gives to jobs on each; files stand in for them.
        accounting: whether there is a slurmdbd, and with it `sacct`.
    """

    nodes: int = 4
    cpus_per_node: int = 4
    memory_mb_per_node: int = 8000
    gpus_per_node: int = 2
    accounting: bool = True

    @property
    def node_names(self) -> list[str]:
        """Names of the nodes, `node1` and so on."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    @property
    def summary(self) -> str:
        """One line for people."""
        accounts = "with" if self.accounting else "without"
        return (
            f"{self.nodes} nodes with {self.cpus_per_node} CPUs, {self.memory_mb_per_node} MB and "
            f"{self.gpus_per_node} stand-in GPUs each, {accounts} accounting"
        )


@dataclass(frozen=True)
class ClusterFolder:
    """The one folder that everything of a local cluster lies in.

    Args:
        path: absolute path.
    """

    path: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """The folder at `path`, which need not exist.

        Raises:
            SlimlineError: the path does not suit Slurm.
        """
        folder = cls(path.resolve())
        plain = re.fullmatch(r"[\w./-]+", str(folder.path), re.ASCII)
        if not plain or len(bytes(folder.longest_socket)) > SOCKET_PATH_BYTES:
            raise SlimlineError(
                "This folder cannot hold a local Slurm.",
                where=str(folder.path),
                expected="a short path of letters, digits, dots, dashes and underscores: Unix sockets lie in it",
                next_step="choose another one with --folder",
            )
        return folder

    @property
    def settings(self) -> Path:
        """What was started, as JSON; it also marks the folder as ours."""
        return self.path / "cluster.json"

    @property
    def conf(self) -> Path:
        """Folder of the configuration files."""
        return self.path / "etc"

    @property
    def slurm_conf(self) -> Path:
        """The file that every Slurm command reads."""
        return self.conf / "slurm.conf"

    @property
    def logs(self) -> Path:
        """One log for each daemon."""
        return self.path / "log"

    def node_log(self, node: str) -> Path:
        """The log of a node and of the job steps on it."""
        return self.logs / f"{node}.log"

    @property
    def run(self) -> Path:
        """Records of processes, and sockets."""
        return self.path / "run"

    @property
    def state(self) -> Path:
        """What the daemons remember: the queue, the database."""
        return self.path / "state"

    @property
    def database(self) -> Path:
        """Where the database keeps its tables."""
        return self.state / "mariadb"

    @property
    def munge_key(self) -> Path:
        """The secret by which the daemons know each other."""
        return self.conf / "munge.key"

    @property
    def munge_socket(self) -> Path:
        """Where munged answers."""
        return self.run / "munge.socket"

    @property
    def mariadb_socket(self) -> Path:
        """Where the database answers."""
        return self.run / "mariadb.socket"

    @property
    def longest_socket(self) -> Path:
        """The longest name of a Unix socket: that of a job's batch step on a node."""
        return self.state / "node99" / "node99_99999.4294967291"

    def read_settings(self) -> ClusterSettings | None:
        """The settings of the cluster that was started here last; None where there was none."""
        return ClusterSettings(**read_json(self.settings)) if self.settings.exists() else None

    def write_settings(self, settings: ClusterSettings) -> None:
        """Notes what is about to be started."""
        content: dict[str, Any] = asdict(settings)
        write_json(self.settings, content)
