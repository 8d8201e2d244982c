"""The local Slurm itself."""

import time
from pathlib import Path

import psutil
import pytest
from conftest import until

from slimline.files import read_json
from slimline.localcluster import host
from slimline.localcluster.jobs import job_processes

pytestmark = pytest.mark.slurm

NODES = ["node1", "node2", "node3", "node4"]
# Gets the signal that it asked for, says so, and ends well once it is started again.
PREEMPTIBLE = """
echo "start ${SLURM_RESTART_COUNT:-0}"
[ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && exit 0
srun bash -c 'trap "echo asked to stop >> asked; exit 0" USR2; echo > running; while true; do sleep 0.2; done'
sleep 300
"""


def pids(slurm):
    return {path.name: path.read_text() for path in slurm.folder.run.glob("*.json")}


def processes_of(folder):
    """Processes that have to do with a folder: by command line, working directory or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(str(folder) in word for word in words):
            found.append(process.cmdline())
    return found


def test_up_again_changes_nothing(slurm):
    before = pids(slurm)
    assert before.keys() == {f"{name}.json" for name in ("munged", "mariadbd", "slurmdbd", "slurmctld", *NODES)}
    assert "is up already" in slurm.run("up").stdout
    assert pids(slurm) == before


def test_up_starts_what_has_died(slurm, workplace):
    before = pids(slurm)
    for name in ("munged", "node3"):
        psutil.Process(read_json(slurm.folder.run / f"{name}.json")["pid"]).kill()
    assert "do not run: munged, node3" in slurm.run("status").stdout
    slurm.run("up")
    after = pids(slurm)
    assert {name for name in after if after[name] != before[name]} == {"munged.json", "node3.json"}
    slurm.wait_for(slurm.submit("srun true", "--nodes=4", folder=workplace), "COMPLETED")


def test_up_in_another_size_is_refused(slurm):
    result = slurm.run("up", "--nodes", "2", check=False)
    assert result.returncode == 1
    assert "make slurm-down" in result.stdout
    assert "up: 4 nodes" in slurm.run("status").stdout


def test_a_second_cluster_is_refused_and_leaves_the_first_alone(slurm, tmp_path):
    hosts = host.HOSTS.read_text()
    for command in ("up", "down"):
        result = type(slurm)(slurm.folder.at(tmp_path)).run(command, check=False)
        assert (result.returncode == 1) == (command == "up")
        assert ("This machine has a Slurm already" in result.stdout) == (command == "up")
    assert host.HOSTS.read_text() == hosts
    assert host.SITE_CONF.readlink() == slurm.folder.slurm_conf


def test_four_nodes_in_two_partitions_are_ready(slurm):
    rows = slurm.command("sinfo", "--noheader", "--format=%P %D %T %c %m %G").splitlines()
    assert sorted(rows) == ["batch* 4 idle 4 8000 gpu:2", "urgent 4 idle 4 8000 gpu:2"]


def test_daemons_listen_on_loopback_only(slurm):
    daemons = {read_json(slurm.folder.run / name)["pid"] for name in pids(slurm)}
    listening = [c for c in psutil.net_connections("inet") if c.pid in daemons and c.status == psutil.CONN_LISTEN]
    assert len(listening) == 6  # slurmctld, slurmdbd and four nodes
    assert all(connection.laddr.ip.startswith("127.") for connection in listening)


def test_a_job_of_two_nodes_with_two_tasks_each_runs(clean, workplace):
    job = clean.submit(
        'srun --cpus-per-task=2 bash -c "echo $(hostname) \\$SLURM_PROCID \\$SLURMD_NODENAME"',
        *("--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=2", "--mem=200M"), folder=workplace,
    )  # fmt: skip
    clean.wait_for(job, "COMPLETED")
    lines = [line.split()[1:] for line in (workplace / f"{job}.out").read_text().splitlines()]
    assert sorted(lines) == [["0", "node1"], ["1", "node1"], ["2", "node2"], ["3", "node2"]]
    granted = [("billing=8,cpu=8,mem=400M,node=2",)]
    until(lambda: clean.sacct(job, "alloctres") == granted, 30, lambda: clean.sacct(job, "alloctres"))


def test_a_job_gets_the_stand_in_gpus_that_it_asks_for(clean, workplace):
    job = clean.submit("echo $CUDA_VISIBLE_DEVICES", "--gpus-per-node=2", folder=workplace)
    clean.wait_for(job, "COMPLETED")
    assert (workplace / f"{job}.out").read_text() == "0,1\n"


def test_a_job_over_its_memory_is_killed_for_it(clean, workplace):
    hungry = "python3 -c 'import time; held = bytearray(400 << 20); time.sleep(60)'"
    job = clean.submit(hungry, "--mem=100M", folder=workplace)
    clean.wait_for(job, "OUT_OF_MEMORY" if host.has_memory_cgroups() else "FAILED")
    assert int(clean.sacct(job, "elapsedraw")[0][0]) < 60


def test_a_job_over_its_time_is_ended(clean, workplace):
    job = clean.submit("sleep 600", "--time=5", folder=workplace)
    clean.wait_for(job, "RUNNING")
    # A limit is a minute at least; its end can be drawn nearer. Slurm looks every 30 seconds.
    clean.command("scontrol", "update", f"jobid={job}", "endtime=now+2")
    clean.wait_for(job, "TIMEOUT")


def test_an_urgent_job_takes_the_place_of_another_which_runs_again(clean, workplace):
    whole = ("--nodes=4", "--ntasks-per-node=1", "--cpus-per-task=4", "--mem=100M")
    patient = clean.submit(PREEMPTIBLE, *whole, "--open-mode=append", "--signal=USR2@90", folder=workplace)
    until((workplace / "running").exists, 60, "the job does not start")
    urgent = clean.submit("true", "--partition=urgent", *whole, folder=workplace)
    clean.wait_for(urgent, "COMPLETED")
    clean.wait_for(patient, "COMPLETED")
    assert clean.states(patient) == ["PREEMPTED", "COMPLETED"]
    assert (workplace / f"{patient}.out").read_text().splitlines()[-1] == "start 1"
    assert "asked to stop" in (workplace / "asked").read_text()


def test_a_killed_node_takes_its_job_along_and_comes_back(clean, workplace):
    script = 'echo $$ $SLURMD_NODENAME > "run-${SLURM_RESTART_COUNT:-0}"; [ "$SLURM_RESTART_COUNT" ] || sleep 600'
    job = clean.submit(script, folder=workplace)
    until((workplace / "run-0").exists, 60, "the job does not start")
    pid, node = (workplace / "run-0").read_text().split()
    clean.run("kill-node", node)
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    clean.run("down-node", node)
    clean.wait_for(job, "COMPLETED")
    assert clean.states(job) == ["NODE_FAIL", "COMPLETED"]
    clean.run("resume-node", node)
    assert clean.command("sinfo", "--noheader", f"--nodes={node}", "--format=%T").split()[0] == "idle"


def test_jobs_outlive_the_controller(clean, workplace):
    job = clean.submit("echo > running; while [ ! -e go ]; do sleep 0.2; done", folder=workplace)
    until((workplace / "running").exists, 60, "the job does not start")
    # A controller that is killed forgets what it has not written down yet.
    changed_s = time.time()
    clean.command("scontrol", "update", f"jobid={job}", "comment=changed")
    memory = clean.folder.state / "slurmctld/job_state"
    until(lambda: memory.exists() and memory.stat().st_mtime > changed_s, 30, "the controller does not save")
    clean.run("kill-controller")
    assert "slurmctld" in clean.run("status").stdout
    (workplace / "go").touch()
    clean.run("start-controller")
    clean.wait_for(job, "COMPLETED")
    assert clean.states(job) == ["COMPLETED"]


def test_a_wrong_node_is_named(slurm):
    result = slurm.run("kill-node", "node9", check=False)
    assert result.returncode == 1
    assert "node1, node2, node3, node4" in result.stdout


def test_down_leaves_no_process_and_nothing_outside_its_folder(slurm, workplace):
    detached = "setsid --fork bash -c 'echo $$ > detached; exec sleep 600'; srun bash -c 'echo > running; sleep 600'"
    slurm.submit(detached, folder=workplace)
    until((workplace / "running").exists, 60, "the job does not start")
    assert job_processes(slurm.folder, NODES)
    stray = psutil.Process(int((workplace / "detached").read_text()))
    slurm.run("down")
    try:
        assert not stray.is_running() or stray.status() == psutil.STATUS_ZOMBIE
        assert processes_of(slurm.folder.path) == []
        assert str(slurm.folder.path) not in host.HOSTS.read_text()
        assert not host.SITE_CONF.is_symlink()
        assert list(Path("/sys/fs/cgroup").glob("*/slurm_node*")) == []
        assert "is down" in slurm.run("status").stdout
        assert slurm.run("down").returncode == 0
    finally:
        slurm.run("up")


def test_without_accounting_it_works_too(slurm, workplace):
    slurm.run("down")
    try:
        slurm.run("up", "--nodes", "1", "--gpus-per-node", "0", "--slurmdbd", "no")
        assert not {"mariadbd.json", "slurmdbd.json"} & pids(slurm).keys()
        job = slurm.submit("true", folder=workplace)
        until(lambda: "JobState=COMPLETED" in slurm.command("scontrol", "show", "job", job), 60, "the job does not end")
    finally:
        slurm.run("down")
        slurm.run("up")
