"""`python -m slimline.localcluster up|down|status|…`: a real Slurm on this machine."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from slimline.errors import SlimlineError
from slimline.localcluster import host
from slimline.localcluster.cluster import LocalCluster
from slimline.localcluster.settings import DEFAULT_FOLDER, ClusterFolder, ClusterSettings

NODE_COMMANDS = {
    "kill-node": (LocalCluster.kill_node, "kill a node with its jobs, as a power cut would"),
    "down-node": (LocalCluster.set_node_down, "tell Slurm that a node has failed"),
    "resume-node": (LocalCluster.resume_node, "bring a node back"),
}
CONTROLLER_COMMANDS = {
    "kill-controller": (LocalCluster.kill_controller, "kill slurmctld"),
    "start-controller": (LocalCluster.start_controller, "start slurmctld again"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        host.require_host()
        folder = ClusterFolder.at(options.folder)
        folder.path.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.path / "lock"):
            _run(options, folder)
    except SlimlineError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _run(options: argparse.Namespace, folder: ClusterFolder) -> None:
    cluster = LocalCluster(folder, folder.read_settings() or ClusterSettings())
    if options.command == "up":
        _up(cluster, _settings(options))
    elif options.command == "down":
        cluster.down()
        _say("The local Slurm is down.")
    elif options.command == "status":
        _status(cluster)
    elif options.command in NODE_COMMANDS:
        NODE_COMMANDS[options.command][0](cluster, _node(options.node, cluster))
    else:
        CONTROLLER_COMMANDS[options.command][0](cluster)


def _up(cluster: LocalCluster, settings: ClusterSettings) -> None:
    if cluster.is_running and cluster.settings != settings:
        raise SlimlineError(
            "A local Slurm of another size is up.",
            where=str(cluster.folder.path),
            got=cluster.settings.summary,
            expected=settings.summary,
            next_step="make slurm-down",
        )
    if cluster.is_running and not cluster.missing:
        _say(f"A local Slurm is up already: {settings.summary}.")
        return
    missing = host.missing_packages(settings.accounting)
    if missing:
        _say(f"Installing Debian's packages {', '.join(missing)} (once) ...")
        host.install_packages(missing)
    started_s = time.monotonic()
    LocalCluster(cluster.folder, settings).up()
    _say(f"A local Slurm is up after {time.monotonic() - started_s:.0f} s: {settings.summary}.")
    _say("Try: sinfo; snakemake --profile slurm. End it with: make slurm-down")


def _status(cluster: LocalCluster) -> None:
    if not cluster.is_running:
        _say("The local Slurm is down.")
        return
    _say(f"A local Slurm is up: {cluster.settings.summary}.")
    if cluster.missing:
        _say(f"These do not run: {', '.join(cluster.missing)}. `make slurm-up` starts them.")
    if {"munged", "slurmctld"} & set(cluster.missing):
        return  # the commands below would try for minutes
    for command in ("sinfo", "squeue"):
        result = cluster.command(command)
        _say((result.stdout + result.stderr).rstrip())


def _node(name: str, cluster: LocalCluster) -> str:
    if name not in cluster.settings.node_names:
        raise SlimlineError("There is no such node.", got=name, expected=", ".join(cluster.settings.node_names))
    return name


def _settings(options: argparse.Namespace) -> ClusterSettings:
    return ClusterSettings(
        nodes=options.nodes,
        cpus_per_node=options.cpus_per_node,
        memory_mb_per_node=options.memory_mb_per_node,
        gpus_per_node=options.gpus_per_node,
        accounting=options.slurmdbd == "yes",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m slimline.localcluster", description=__doc__)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where everything of it lies")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it, or what is missing of it")
    defaults = ClusterSettings()
    for name, least in (("nodes", 1), ("cpus_per_node", 1), ("memory_mb_per_node", 512), ("gpus_per_node", 0)):
        option = f"--{name.replace('_', '-')}"
        up.add_argument(option, type=_at_least(least), default=getattr(defaults, name), help="%(default)s")
    up.add_argument("--slurmdbd", choices=("yes", "no"), default="yes", help="whether there is accounting (sacct)")
    commands.add_parser("down", help="end it with all of its jobs")
    commands.add_parser("status", help="whether it is up, its nodes and its queue")
    for name, (_, text) in NODE_COMMANDS.items():
        commands.add_parser(name, help=text).add_argument("node")
    for name, (_, text) in CONTROLLER_COMMANDS.items():
        commands.add_parser(name, help=text)
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"at least {least}, not {value}")
        return value

    return number


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
