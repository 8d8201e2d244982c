"""A local cluster: up, down, and the accidents that tests want to happen in between."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
from functools import partial
from pathlib import Path

from slimline.errors import SlimlineError
from slimline.files import write_bytes, write_text
from slimline.localcluster import host
from slimline.localcluster.config_text import cgroup_conf, gpu_files, gres_conf, slurm_conf, slurmdbd_conf
from slimline.localcluster.daemons import stop_daemons
from slimline.localcluster.jobs import end_jobs
from slimline.localcluster.roster import Roster
from slimline.localcluster.settings import CLUSTER_NAME, ClusterFolder, ClusterSettings

COMMAND_TIMEOUT_S = 60
TIMED_OUT = 124  # the exit code of timeout(1)
MUNGE_KEY_BYTES = 128
ACCOUNT = "local"
# User ids that Debian gives to people.
PEOPLE = range(1000, 60000)
READY_STATES = {"idle", "mixed", "allocated"}


class LocalCluster:
    """The cluster of a folder.

    Args:
        folder: everything of it lies there.
        settings: its size.
    """

    def __init__(self, folder: ClusterFolder, settings: ClusterSettings) -> None:
        self.folder, self.settings = folder, settings
        self.roster = Roster(folder, settings)

    @property
    def is_running(self) -> bool:
        """Whether any daemon runs."""
        return any(daemon.process for daemon in self.roster.all)

    @property
    def missing(self) -> list[str]:
        """Names of the daemons that do not run."""
        return [daemon.name for daemon in self.roster.all if daemon.process is None]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of Slurm's against this cluster; one that hangs has failed, and says so."""
        environment = os.environ | {"SLURM_CONF": str(self.folder.slurm_conf)}
        try:
            return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(arguments, TIMED_OUT, "", f"no answer within {COMMAND_TIMEOUT_S} s")

    def up(self) -> None:
        """Starts the daemons that do not run; when none does, with an empty queue and an empty database.

        Raises:
            SlimlineError: the machine has another Slurm, or a daemon does not start.
        """
        fresh = not self.is_running
        if fresh:
            _let_go_of_a_dead_cluster()
            host.link_conf(self.folder.slurm_conf)
        try:
            if fresh:
                self._prepare()
            self._start(fresh)
        except BaseException:
            if fresh:
                self.down()
            raise

    def down(self) -> None:
        """Ends every process of the cluster, jobs' too, and takes back what lies outside its folder; logs stay."""
        nodes = self.roster.nodes
        stop_daemons([self.roster.slurmctld, *nodes.values()])
        end_jobs(self.folder, nodes)
        stop_daemons([self.roster.slurmdbd])
        stop_daemons([self.roster.mariadbd, self.roster.munged])
        host.remove_memory_cgroups(nodes)
        host.remove_hosts(self.folder.path)
        host.unlink_conf(self.folder.slurm_conf)

    def kill_node(self, name: str) -> None:
        """Kills all processes of a node at once, as a power cut would; Slurm finds out after SlurmdTimeout."""
        stop_daemons([self.roster.nodes[name]], grace_s=0)
        end_jobs(self.folder, [name])

    def set_node_down(self, name: str) -> None:
        """Tells Slurm that a node has failed: its jobs are queued again."""
        self._must("scontrol", "update", f"nodename={name}", "state=down", "reason=test")

    def resume_node(self, name: str) -> None:
        """Starts a node that was killed, takes it back into service, and waits until it is ready."""
        node = self.roster.nodes[name]
        node.start()
        # Refused where the node has come back by itself; that it is back is what counts.
        self.command("scontrol", "update", f"nodename={name}", "state=resume")
        node.wait(partial(self._unready_node, name))

    def kill_controller(self) -> None:
        """Kills slurmctld, as an accident would: jobs go on, and what it has not saved yet (5 s at most) is lost."""
        stop_daemons([self.roster.slurmctld], grace_s=0)

    def start_controller(self) -> None:
        """Starts slurmctld with what it remembers, and waits until it knows its nodes again."""
        self._start_controller()
        self.roster.slurmctld.wait(self._unknown_nodes)

    def _prepare(self) -> None:
        """Empties the folder and writes the configuration into it."""
        folder, this_host = self.folder, socket.gethostname()
        for path in (folder.conf, folder.run, folder.state, folder.logs):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        folder.write_settings(self.settings)
        address = host.loopback_address()
        host.add_hosts([*([] if address else [this_host]), *self.settings.node_names], folder.path)
        self._write_conf(this_host, address or host.LOOPBACK)

    def _write_conf(self, this_host: str, address: str) -> None:
        folder, settings, cgroups = self.folder, self.settings, host.has_memory_cgroups()
        write_text(folder.slurm_conf, slurm_conf(settings, folder, this_host, address, cgroups=cgroups))
        write_text(folder.conf / "cgroup.conf", cgroup_conf(host.CGROUPS))
        write_text(folder.conf / "gres.conf", gres_conf(settings, folder))
        for gpu in gpu_files(settings, folder):
            gpu.symlink_to(os.devnull)  # slurmd wants a device
        dbd_conf = folder.conf / "slurmdbd.conf"
        write_text(dbd_conf, slurmdbd_conf(folder, this_host, address))
        write_bytes(folder.munge_key, secrets.token_bytes(MUNGE_KEY_BYTES))
        for secret in (dbd_conf, folder.munge_key):
            secret.chmod(0o600)

    def _start(self, fresh: bool) -> None:
        roster = self.roster
        roster.munged.start()
        if self.settings.accounting:
            self._create_database()
            roster.mariadbd.start()
            roster.mariadbd.wait(lambda: _absent(self.folder.mariadb_socket))
        roster.munged.wait(lambda: _absent(self.folder.munge_socket))
        if self.settings.accounting:
            roster.slurmdbd.start()
            roster.slurmdbd.wait(lambda: self._refusal("sacctmgr", "--noheader", "list", "cluster"))
            if fresh:
                self._open_account()
        self._start_controller()
        for node in roster.nodes.values():
            node.start()
        if not fresh:
            # Otherwise minutes may pass until it asks nodes again that have been silent.
            self._must("scontrol", "reconfigure")
        for name, node in roster.nodes.items():
            node.wait(partial(self._silent_node, name))

    def _start_controller(self) -> None:
        self.roster.slurmctld.start()
        self.roster.slurmctld.wait(lambda: self._refusal("scontrol", "ping"))

    def _create_database(self) -> None:
        """Makes an empty database, unless there is one; root of this machine is its only user."""
        if not self.folder.database.exists():
            self._must(
                "mariadb-install-db",
                "--no-defaults",
                "--user=root",
                f"--datadir={self.folder.database}",
                "--auth-root-authentication-method=socket",
                "--skip-test-db",
            )

    def _open_account(self) -> None:
        """Gives root and every person who has a login one account, which their jobs are charged to by default."""
        people = [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid in PEOPLE or entry.pw_uid == 0]
        for what in (["cluster", CLUSTER_NAME], ["account", ACCOUNT], ["user", ",".join(people), f"account={ACCOUNT}"]):
            self._must("sacctmgr", "--immediate", "--quiet", "add", *what)

    def _unknown_nodes(self) -> str | None:
        answer = self.command("sinfo", "--noheader", "--format=%T %N")
        return answer.stdout + answer.stderr if answer.returncode or "unknown" in answer.stdout else None

    def _silent_node(self, name: str) -> str | None:
        """What is wrong with a node that has not reported to the controller; an asterisk says that it does not."""
        state = self._node_state(name)
        return f"node {name} is {state}" if not state or state.startswith("unknown") or state.endswith("*") else None

    def _unready_node(self, name: str) -> str | None:
        state = self._node_state(name)
        return None if state in READY_STATES else f"node {name} is {state}"

    def _node_state(self, name: str) -> str:
        """State of a node as sinfo names it, such as `idle` or `down*`."""
        return self.command("sinfo", "--noheader", f"--nodes={name}", "--format=%T").stdout.partition("\n")[0]

    def _refusal(self, *arguments: str) -> str | None:
        """What a command says that fails; None when it succeeds."""
        result = self.command(*arguments)
        return None if result.returncode == 0 else (result.stdout + result.stderr).strip()

    def _must(self, *arguments: str) -> None:
        refusal = self._refusal(*arguments)
        if refusal is not None:
            raise SlimlineError("A command of the local Slurm failed.", where=" ".join(arguments), got=refusal)


def _let_go_of_a_dead_cluster() -> None:
    """Takes away the link to a local cluster in another folder that went down with its machine."""
    if not host.SITE_CONF.is_symlink():
        return
    conf = host.SITE_CONF.readlink()
    folder = ClusterFolder(conf.parent.parent)
    settings = folder.read_settings()
    if settings is not None and folder.slurm_conf == conf and not LocalCluster(folder, settings).is_running:
        host.unlink_conf(conf)


def _absent(path: Path) -> str | None:
    return None if path.exists() else f"there is no {path}"
