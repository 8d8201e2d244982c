"""The daemons of a local cluster: what each is called with."""

from __future__ import annotations

from slimline.localcluster.daemons import Daemon, minimal_environment
from slimline.localcluster.settings import ClusterFolder, ClusterSettings


class Roster:
    """All daemons of a cluster.

    Args:
        folder: where the cluster lies.
        settings: its size.
    """

    def __init__(self, folder: ClusterFolder, settings: ClusterSettings) -> None:
        self._folder = folder
        self.munged = self._daemon(
            "munged",
            "--foreground",
            "--force",  # a folder in a home that its group may write to is good enough here
            f"--key-file={folder.munge_key}",
            f"--socket={folder.munge_socket}",
            f"--pid-file={folder.run}/munged.pid",
            f"--seed-file={folder.state}/munged.seed",
        )
        self.mariadbd = self._daemon(
            "mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={folder.database}",
            f"--socket={folder.mariadb_socket}",
            f"--pid-file={folder.run}/mariadbd.pid",
            "--skip-networking",
            "--innodb-buffer-pool-size=64M",
            "--innodb-lock-wait-timeout=900",  # slurmdbd asks for it
            "--innodb-flush-log-at-trx-commit=0",  # nothing here must survive a power cut
            "--skip-innodb-doublewrite",
        )
        self.slurmdbd = self._daemon("slurmdbd", "-D")
        self.slurmctld = self._daemon("slurmctld", "-D")
        self.nodes = {name: self._daemon("slurmd", "-D", "-N", name, name=name) for name in settings.node_names}
        self.accounting = [self.mariadbd, self.slurmdbd] if settings.accounting else []

    @property
    def all(self) -> list[Daemon]:
        """All of them, in the order in which they need each other."""
        return [self.munged, *self.accounting, self.slurmctld, *self.nodes.values()]

    def _daemon(self, program: str, *arguments: str, name: str | None = None) -> Daemon:
        folder = self._folder
        name = name or program
        return Daemon(
            name=name,
            command=(program, *arguments),
            records=folder.run,
            log=folder.node_log(name),
            writes_log=program.startswith("slurm"),
            directory=folder.state,
            environment=minimal_environment(
                SLURM_CONF=str(folder.slurm_conf), MYSQL_UNIX_PORT=str(folder.mariadb_socket)
            ),
        )
