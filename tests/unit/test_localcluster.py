"""The local Slurm, as far as it can be tested without one."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from slimline.errors import SlimlineError
from slimline.files import read_json, write_json
from slimline.localcluster import host
from slimline.localcluster.__main__ import main
from slimline.localcluster.cluster import LocalCluster
from slimline.localcluster.config_text import gres_conf, slurm_conf
from slimline.localcluster.daemons import Daemon, minimal_environment, stop_daemons
from slimline.localcluster.settings import ClusterFolder, ClusterSettings


@pytest.fixture
def tmp_path():
    """A folder with a short path, as Unix sockets want it; pytest's own grow long."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


HOSTS = "127.0.0.1 localhost\n192.0.2.7 machine\n"


def test_the_hosts_file_gets_one_line_and_loses_it_again(tmp_path):
    file, folder = tmp_path / "hosts", tmp_path / "cluster"
    file.write_text(HOSTS)
    for _ in range(2):
        host.add_hosts(["node1", "node2"], folder, file)
    assert file.read_text() == f"127.0.0.1 node1 node2 # slimline local Slurm in {folder}\n{HOSTS}"
    host.remove_hosts(tmp_path / "other", file)
    assert "node1" in file.read_text()
    host.remove_hosts(folder, file)
    assert file.read_text() == HOSTS


def test_the_link_is_ours_alone(tmp_path):
    link, conf, other = tmp_path / "etc/slurm.conf", tmp_path / "slurm.conf", tmp_path / "other.conf"
    conf.touch()
    host.link_conf(conf, link)
    host.link_conf(conf, link)
    assert link.readlink() == conf
    with pytest.raises(SlimlineError, match="has a Slurm already"):
        host.link_conf(other, link)
    host.unlink_conf(other, link)
    assert link.is_symlink()
    conf.unlink()
    host.link_conf(other, link)  # the first cluster's folder is gone
    assert link.readlink() == other
    host.unlink_conf(other, link)
    assert not link.is_symlink()


def test_a_cluster_that_the_machine_belongs_to_is_left_alone(tmp_path):
    link = tmp_path / "slurm.conf"
    link.write_text("ClusterName=work\n")
    with pytest.raises(SlimlineError, match="has a Slurm already"):
        host.link_conf(tmp_path / "ours", link)
    host.unlink_conf(tmp_path / "ours", link)
    assert link.read_text() == "ClusterName=work\n"


@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 0\n"])
def test_services_are_held_back_while_packages_are_installed_and_not_after(tmp_path, before):
    policy = tmp_path / "policy-rc.d"
    if before:
        policy.write_text(before)
    with contextlib.suppress(RuntimeError), host.services_held_back(policy):
        assert policy.read_text() == host.POLICY_TEXT
        assert policy.stat().st_mode & 0o111
        raise RuntimeError
    assert [path.read_text() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_after_an_installation_that_was_killed_the_policy_of_the_machine_comes_back(tmp_path):
    policy = tmp_path / "policy-rc.d"
    policy.write_text(host.POLICY_TEXT)
    policy.with_name("policy-rc.d.before-slimline").write_text("theirs")
    with host.services_held_back(policy):
        pass
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_where_it_cannot_run_it_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(host, "why_not", lambda: "you are not root")
    assert main(["--folder", str(tmp_path / "new"), "up"]) == 1
    assert "you are not root" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["a b", "x" * 90])
def test_a_folder_that_sockets_cannot_lie_in_is_refused(tmp_path, name):
    with pytest.raises(SlimlineError, match="cannot hold a local Slurm"):
        ClusterFolder.at(tmp_path / name)


def test_settings_are_remembered(tmp_path):
    folder, settings = ClusterFolder.at(tmp_path), ClusterSettings(nodes=2, accounting=False)
    assert folder.read_settings() is None
    folder.write_settings(settings)
    assert folder.read_settings() == settings


def test_the_configuration_has_every_node_once_on_a_port_of_its_own(tmp_path):
    folder, settings = ClusterFolder.at(tmp_path), ClusterSettings(nodes=3, gpus_per_node=1)
    text = slurm_conf(settings, folder, "machine", "127.0.1.1", cgroups=False)
    nodes = re.findall(r"^NodeName=(\w+) NodeHostname=machine NodeAddr=127.0.1.1 Port=(\d+)", text, re.MULTILINE)
    assert [name for name, _ in nodes] == ["node1", "node2", "node3"]
    assert len({port for _, port in nodes}) == 3
    assert "OverMemoryKill" in text
    assert "slurmdbd" in text
    assert gres_conf(settings, folder) == f"Name=gpu File={folder.run}/gpu0\n"


def test_control_groups_and_accounting_are_used_where_they_are_there(tmp_path):
    settings = ClusterSettings(accounting=False)
    text = slurm_conf(settings, ClusterFolder.at(tmp_path), "machine", "127.0.0.1", cgroups=True)
    assert "TaskPlugin=task/cgroup" in text
    assert "OverMemoryKill" not in text
    assert "slurmdbd" not in text


def daemon(folder, *command):
    return Daemon(
        name="d", command=(sys.executable, "-c", *command), records=folder, log=folder / "d.log", writes_log=False,
        directory=folder, environment=minimal_environment(),
    )  # fmt: skip


def test_a_daemon_is_started_once_found_again_and_stopped(tmp_path):
    first = daemon(tmp_path, "import time; time.sleep(600)")
    first.start()
    again = daemon(tmp_path, "a command that is not run")
    again.start()
    assert again.process == first.process is not None
    stop_daemons([again])
    assert first.process is None


def test_a_daemon_that_ends_too_early_shows_its_log(tmp_path):
    broken = daemon(tmp_path, "print('port in use')")
    broken.start()
    with pytest.raises(SlimlineError, match="d ended") as caught:
        broken.wait(lambda: "no answer")
    assert "port in use" in str(caught.value)
    assert "no answer" in str(caught.value)


def test_a_stranger_with_the_same_number_is_not_taken_for_a_daemon(tmp_path):
    ours = daemon(tmp_path, "import time; time.sleep(600)")
    ours.start()
    record = tmp_path / "d.json"
    process = ours.process
    write_json(record, read_json(record) | {"pid": os.getpid()})
    assert ours.process is None
    process.kill()
    process.wait()


def test_a_clock_that_is_set_makes_no_daemon_a_stranger(tmp_path, monkeypatch):
    ours = daemon(tmp_path, "import time; time.sleep(600)")
    ours.start()
    with monkeypatch.context() as patch:
        patch.setattr(psutil.Process, "create_time", lambda self: 0.0)
        assert ours.process is not None
    stop_daemons([ours])


def test_a_command_that_hangs_has_failed(tmp_path, monkeypatch):
    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    answer = LocalCluster(ClusterFolder.at(tmp_path), ClusterSettings()).command("scontrol", "ping")
    assert answer.returncode != 0
    assert "no answer within 60 s" in answer.stderr
