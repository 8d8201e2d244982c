"""What a local cluster needs of the machine, and the places outside its folder that it touches."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slimline.errors import SlimlineError

PACKAGES = ("slurm-wlm", "munge")
ACCOUNTING_PACKAGES = ("slurmdbd", "mariadb-server")
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# slimline: no service starts while packages are installed\nexit 101\n"

HOSTS = Path("/etc/hosts")
HOSTS_MARK = "# slimline local Slurm in"
LOOPBACK = "127.0.0.1"

# Jobs find the cluster only here: Snakemake's Slurm plugin takes SLURM_CONF out of their environment.
SITE_CONF = Path("/etc/slurm/slurm.conf")

CGROUPS = Path("/sys/fs/cgroup")
MEMORY_CGROUPS = CGROUPS / "memory"


def why_not() -> str | None:
    """Why a local Slurm cannot run here; None where it can."""
    if not Path("/etc/debian_version").exists() or shutil.which("apt-get") is None:
        return "this is not Debian or a relative of it"
    return None if os.geteuid() == 0 else "you are not root"


def require_host() -> None:
    """Raises where a local Slurm cannot run.

    Raises:
        SlimlineError: not root, or not Debian.
    """
    reason = why_not()
    if reason is not None:
        raise SlimlineError(
            "A local Slurm cannot run here.",
            got=reason,
            expected="root on Debian: Slurm's daemons come from its packages and start jobs of any user",
            next_step="run `make slurm-up` as root of a machine, virtual machine or container of yours",
        )


def missing_packages(accounting: bool) -> list[str]:
    """The Debian packages that a cluster needs and that are not installed."""
    wanted = (*PACKAGES, *(ACCOUNTING_PACKAGES if accounting else ()))
    return [package for package in wanted if not _is_installed(package)]


def _is_installed(package: str) -> bool:
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(command, capture_output=True, text=True).stdout == "installed"


def install_packages(packages: Sequence[str]) -> None:
    """Installs Debian packages without starting their services.

    Raises:
        SlimlineError: apt-get failed.
    """
    with services_held_back(POLICY):
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *packages)


def _apt_get(*arguments: str) -> None:
    command = ["apt-get", "--quiet", *arguments]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise SlimlineError(
            "Debian's packages could not be installed.",
            where=" ".join(command),
            got="\n    ".join(["its last lines", *result.stdout.strip().splitlines()[-10:]]),
            next_step="mend what apt-get says and run the command again",
        )


@contextmanager
def services_held_back(policy: Path) -> Iterator[None]:
    """Denies packages the start of services, as policy-rc.d is for; a policy that was there comes back.

    Also after a run that was killed: what lies aside then is the machine's own policy.
    """
    aside = policy.with_name(f"{policy.name}.before-slimline")
    if policy.exists() and policy.read_text(errors="replace") != POLICY_TEXT:
        policy.rename(aside)
    policy.write_text(POLICY_TEXT)
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
        if aside.exists():
            aside.rename(policy)


def loopback_address() -> str | None:
    """The loopback address that this machine's name has; None when it leads elsewhere or nowhere."""
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return None
    return address if address.startswith("127.") else None


def add_hosts(names: Sequence[str], folder: Path, file: Path = HOSTS) -> None:
    """Lets `names` resolve to this machine, in one line at the top of the hosts file, marked with `folder`."""
    _write_hosts(file, [f"{LOOPBACK} {' '.join(names)} {HOSTS_MARK} {folder}\n", *_unmarked(file, HOSTS_MARK)])


def remove_hosts(folder: Path, file: Path = HOSTS) -> None:
    """Takes the line that is marked with `folder` away."""
    mark = f"{HOSTS_MARK} {folder}\n"
    if mark in file.read_text():
        _write_hosts(file, _unmarked(file, mark))


def _unmarked(file: Path, mark: str) -> list[str]:
    return [line for line in file.read_text().splitlines(keepends=True) if mark not in line]


def _write_hosts(file: Path, lines: list[str]) -> None:
    # In place: in a container the file is a mount, which cannot be replaced.
    file.write_text("".join(lines))


def link_conf(conf: Path, link: Path = SITE_CONF) -> None:
    """Makes `conf` the configuration that Slurm's commands find.

    Raises:
        SlimlineError: the machine has another one.
    """
    leads_nowhere = link.is_symlink() and not link.exists()
    if leads_nowhere or _leads_to(link, conf):
        link.unlink()
    if link.is_symlink() or link.exists():
        raise SlimlineError(
            "This machine has a Slurm already.",
            where=str(link),
            got=f"a link to {link.readlink()}" if link.is_symlink() else "a file",
            next_step="if it belongs to a local Slurm in another folder, run `make slurm-down` there",
        )
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(conf)


def unlink_conf(conf: Path, link: Path = SITE_CONF) -> None:
    """Takes the link away, if it leads to `conf`."""
    if _leads_to(link, conf):
        link.unlink()


def _leads_to(link: Path, conf: Path) -> bool:
    return link.is_symlink() and link.readlink() == conf


def has_memory_cgroups() -> bool:
    """Whether the kernel can hold jobs to their memory: control groups of version 1 that we may write to."""
    return (MEMORY_CGROUPS / "memory.limit_in_bytes").exists() and os.access(MEMORY_CGROUPS, os.W_OK)


def remove_memory_cgroups(nodes: Collection[str]) -> None:
    """Removes the control groups that the daemons of `nodes` made, which hold no process any more."""
    for node in nodes:
        root = MEMORY_CGROUPS / f"slurm_{node}"
        for folder in (*sorted(root.rglob("*/"), reverse=True), root):
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()
