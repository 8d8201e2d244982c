"""Launching real processes with submitit's local executor; the trainer itself is a stand-in that takes no time."""

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from slimline.config.cluster import ClusterConfig
from slimline.config.train import TrainConfig
from slimline.errors import NotSupportedError, SlimlineError
from slimline.files import read_json, write_json
from slimline.launch.living import living_jobs, wait_for_jobs
from slimline.launch.owner import Owner
from slimline.launch.queue import UnansweredError
from slimline.launch.receipt import SUBMITTING, Receipt
from slimline.launch.resources import Resources
from slimline.launch.run import JOBS, TrainingOutputs, launch
from slimline.launch.starts import STARTS_FILE
from slimline.launch.states import RUNNING, JobState
from slimline.training.settings import RunSettings
from slimline.training.spec import CHECKPOINTS_FOLDER, RESULT_FOLDER, Allocation, TrainingSpec, checkpoint_name

CLUSTER = ClusterConfig(name="local", executor="local", cpus_per_node=2, memory_mb_per_node=4096)
ENTRIES = Path(__file__).parent / "entries"


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ENTRIES), prepend=os.pathsep)
    before = psutil.Process().children(recursive=True)  # other tests' ranks
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    left = [child for child in left if child.status() != psutil.STATUS_ZOMBIE]
    assert not left, [process.cmdline() for process in left]


def spec(entry, ranks=1):
    return TrainingSpec(
        experiment="test", variant="dense", seed=0, entry=f"training_entries:{entry}", recipe=TrainConfig(epochs=1),
        prepared=Path("data"), allocation=Allocation(1, ranks, 1, "cpu", "fp32", 1, 1), inputs={}, code="",
    )  # fmt: skip


def plan(ranks=1):
    return {
        "nodes": 1, "tasks_per_node": ranks, "cpus_per_task": 1, "gpus_per_node": 0, "memory_mb": 500, "time_min": 5,
    }  # fmt: skip


def outputs():
    return TrainingOutputs(*(Path("out") / name for name in ("m.json", "w.safetensors", "h.jsonl", "job.json")))


def run(entry, ranks=1):
    launch(spec(entry, ranks), plan(ranks), CLUSTER, outputs())
    return read_json(Path("out/job.json"))


@pytest.mark.parametrize("ranks", [1, 3])
def test_every_rank_runs_and_the_files_come_back(ranks):
    receipt = run("succeed", ranks)
    assert json.loads(Path("out/h.jsonl").read_text())["world"] == ranks
    assert [attempt["state"] for attempt in receipt["attempts"]] == ["COMPLETED"]
    assert receipt["ranks"] == ranks


def test_a_finished_job_of_the_same_content_is_used_and_a_changed_one_runs_anew():
    first, second = run("succeed"), run("succeed")
    assert first == second
    launch(replace(spec("succeed"), seed=1), plan(), CLUSTER, outputs())
    assert read_json(Path("out/job.json"))["job_ids"] != first["job_ids"]


def test_a_change_of_what_is_logged_repeats_nothing_and_reaches_a_job_that_starts_again():
    with pytest.raises(SlimlineError):
        run("fail_once")
    changed = replace(spec("fail_once"), recipe=TrainConfig(epochs=1, log_every_steps=7))
    launch(changed, plan(), CLUSTER, outputs())
    (folder,) = JOBS.iterdir()
    assert TrainingSpec.read(folder).recipe.log_every_steps == 7
    first = read_json(Path("out/job.json"))
    assert run("fail_once") == first


def test_a_users_mistake_in_a_rank_comes_back_as_it_is():
    with pytest.raises(SlimlineError, match="too wild") as caught:
        run("mistake")
    assert str(caught.value).startswith(
        "The learning rate is too wild.\n  where:    experiment test, variant dense, seed 0, "
    )


def test_what_is_not_supported_comes_back_as_that_with_its_code_and_is_not_tried_again():
    with pytest.raises(NotSupportedError) as caught:
        run("not_supported", ranks=2)
    assert (caught.value.reason, caught.value.code) == ("It cannot be pruned: ZeroDivisionError", "odd")
    assert caught.value.next_step == "leave it out"
    (folder,) = JOBS.iterdir()
    assert [attempt.state for attempt in Receipt(folder).attempts] == ["FAILED"]


def test_a_failed_rank_ends_its_peers_and_shows_its_own_log():
    with pytest.raises(SlimlineError, match="Rank 1 of the training job failed") as caught:
        run("fail_on_rank_one", ranks=2)
    assert "the disk is gone" in str(caught.value)


def test_a_killed_rank_ends_its_peers_and_is_tried_again_a_few_times():
    with pytest.raises(SlimlineError, match="3 attempts in a row have got no further"):
        run("killed_on_rank_one", ranks=2)
    (folder,) = JOBS.iterdir()
    assert [attempt.state for attempt in Receipt(folder).attempts] == ["FAILED"] * 3


def test_a_rank_that_is_killed_once_costs_one_attempt():
    receipt = run("killed_once")
    assert [attempt["state"] for attempt in receipt["attempts"]][1:] == ["COMPLETED"]
    assert len(receipt["starts"]) == 2


def test_a_job_that_stops_when_it_is_asked_to_is_started_again():
    receipt = run("stop_once")
    assert [attempt["state"] for attempt in receipt["attempts"]] == ["LEFT", "COMPLETED"]
    assert receipt["attempts"][0]["reason"] == "it left when it was asked to"


def test_a_job_at_its_time_limit_gets_time_for_the_rest():
    receipt = run("at_the_time_limit_once")
    first, second = receipt["attempts"]
    assert (first["state"], second["state"]) == ("TIMEOUT", "COMPLETED")
    assert (first["time_min"], second["time_min"]) == (5, 20)  # 1.5 * 10 min of measured training, and 5 around it


def test_after_a_failure_the_next_run_submits_again():
    with pytest.raises(SlimlineError):
        run("fail_once")
    receipt = run("fail_once")
    assert [attempt["state"] for attempt in receipt["attempts"]] == ["FAILED", "COMPLETED"]


def folder_of_succeed():
    folder = JOBS / f"{spec('succeed').name}-{spec('succeed').digest[:16]}"
    folder.mkdir(parents=True)
    return folder


def submitted(executor, job_id="7"):
    """A receipt of the job that an executor was given."""
    receipt = Receipt(folder_of_succeed())
    receipt.intend(Resources.from_plan(plan()), executor)
    receipt.begin(job_id)
    return receipt


def test_a_job_that_is_gone_is_noticed_and_done_again():
    submitted("local", str(2**22 + 1))  # no process can have this id
    receipt = run("succeed")
    assert [attempt["state"] for attempt in receipt["attempts"]] == ["LOST", "COMPLETED"]


def test_a_number_that_is_another_jobs_now_is_not_followed_and_not_ended():
    stranger = launcher()
    (folder,) = JOBS.iterdir()
    (of_stranger,) = Receipt(folder).attempts
    submitted("local", of_stranger.job_id)
    receipt = run("succeed")
    assert [attempt["state"] for attempt in receipt["attempts"]] == ["LOST", "COMPLETED"]
    assert psutil.Process(int(of_stranger.job_id)).is_running()
    write_json(Path("go.json"), {})
    assert stranger.wait(timeout=60) == 0


def elsewhere(monkeypatch, found):
    """As if Slurm could be asked, and had this job."""
    from slimline.launch import run as module

    class Slurm(Interrupted):
        def find(self, folder, since_unix_s):
            return found

        def cancel_command(self, job_id):
            return f"scancel {job_id}"

    own = module.backend_for
    slurm = Slurm("", True)
    monkeypatch.setattr(module, "can_be_asked", lambda executor: True)
    monkeypatch.setattr(module, "backend_for", lambda cluster, executor=None: slurm if executor else own(cluster))


def test_a_job_that_runs_on_slurm_is_not_started_here_as_well(monkeypatch):
    receipt = submitted("slurm")
    elsewhere(monkeypatch, "7")
    with pytest.raises(SlimlineError, match="submitted elsewhere") as caught:
        run("succeed")
    assert "scancel 7" in str(caught.value)
    assert Receipt(receipt._folder).open_attempt.job_id == "7"


def test_a_job_that_slurm_has_no_more_is_started_here(monkeypatch):
    submitted("slurm")
    elsewhere(monkeypatch, None)
    receipt = run("succeed")
    assert [(a["executor"], a["state"]) for a in receipt["attempts"]] == [("slurm", "LOST"), ("local", "COMPLETED")]


def test_where_slurm_cannot_be_asked_its_job_may_live(monkeypatch):
    from slimline.launch import run as module

    submitted("slurm")
    monkeypatch.setattr(module, "can_be_asked", lambda executor: False)
    with pytest.raises(SlimlineError, match="scancel 7"):
        run("succeed")


def test_a_torn_line_of_starts_keeps_no_job_from_its_end():
    (folder_of_succeed() / STARTS_FILE).write_text('{"job_id": "3", "started')
    assert len(run("succeed")["starts"]) == 1


def test_gpus_that_the_user_hides_stay_hidden(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5,3")
    launch(spec("succeed"), plan() | {"gpus_per_node": 1}, CLUSTER, outputs())
    assert read_json(Path("out/job.json"))["devices"] == "GPU-5,3"


def test_a_job_whose_id_was_never_written_down_is_found():
    process = launcher()
    process.kill()
    process.wait(timeout=60)
    (folder,) = JOBS.iterdir()
    receipt = Receipt(folder)
    job_id, receipt.attempts[0].job_id, receipt.attempts[0].state = receipt.attempts[0].job_id, "", SUBMITTING
    receipt._write()
    second = subprocess.Popen([sys.executable, "-c", LAUNCHER])
    while not Receipt(folder).attempts[0].job_id:
        assert second.poll() is None
    write_json(Path("go.json"), {})
    assert second.wait(timeout=60) == 0
    assert read_json(Path("out/job.json"))["job_ids"] == [job_id]


def test_the_job_is_remembered_before_anything_waits(monkeypatch):
    from slimline.launch import run as module

    def look(self, job_id):
        (folder,) = JOBS.iterdir()
        assert [(a.job_id, a.state) for a in Receipt(folder).attempts] == [(job_id, RUNNING)]
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Watch, "follow", look)
    with pytest.raises(KeyboardInterrupt):
        run("wait_for_ever")


@pytest.mark.parametrize("mode", [None, 0o755])
def test_only_the_user_can_write_where_the_pickles_lie(mode):
    folder = JOBS / f"{spec('succeed').name}-{spec('succeed').digest[:16]}"
    if mode is not None:
        folder.mkdir(parents=True)
        folder.chmod(mode)
    run("succeed")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


class Interrupted:
    """A backend whose controller may be away, and which notes what is asked of it."""

    def __init__(self, moment, answers):
        self.moment, self.answers, self.asked = moment, answers, []

    def _at(self, moment):
        if moment == self.moment:
            raise KeyboardInterrupt

    def submit(self, folder, name, resources, after=None):
        self._at("submit")
        return "7"

    def find(self, folder, since_unix_s):
        return "7"

    def joins(self, folder, job_id):
        pass

    def look(self, job_id):
        self._at("look")
        return JobState("STALLED")

    def cancel(self, job_id):
        self.asked.append(f"cancel {job_id}")
        if self.asked.count(f"cancel {job_id}") == 1:
            self._at("cancel")
        return self.answers

    def withdraw(self, folder):
        self.asked.append("withdraw")
        return self.answers


MOMENTS = ["submit", "begin", "look", "cancel"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("answers", [True, False])
def test_wherever_an_interrupt_comes_the_job_is_taken_back_or_remembered(monkeypatch, moment, answers):
    from slimline.launch import run as module

    backend = Interrupted(moment, answers)
    monkeypatch.setattr(module, "backend_for", lambda cluster: backend)
    if moment == "begin":  # between the submission and the note of its id
        monkeypatch.setattr(Receipt, "begin", lambda *_: backend._at("begin"))
    with pytest.raises(KeyboardInterrupt):
        run("succeed")
    assert backend.asked[-1] == ("withdraw" if moment in ("submit", "begin") else "cancel 7")
    (folder,) = JOBS.iterdir()
    attempts = [(attempt.job_id, attempt.state) for attempt in Receipt(folder).attempts]
    if moment in ("submit", "begin"):
        assert attempts == ([] if answers else [("", SUBMITTING)])
    else:
        assert attempts == [("7", "CANCELLED" if answers else RUNNING)]


def test_a_request_of_which_nothing_is_known_is_remembered_and_looked_for(monkeypatch):
    from slimline.launch import run as module

    class Silent(Interrupted):
        def submit(self, folder, name, resources, after=None):
            raise UnansweredError("Slurm has not answered.")

    monkeypatch.setattr(module, "backend_for", lambda cluster: Silent("", True))
    with pytest.raises(UnansweredError):
        run("succeed")
    (folder,) = JOBS.iterdir()
    assert [attempt.state for attempt in Receipt(folder).attempts] == [SUBMITTING]
    monkeypatch.setattr(module, "backend_for", lambda cluster: Interrupted("look", False))
    with pytest.raises(KeyboardInterrupt):
        run("succeed")
    assert [attempt.job_id for attempt in Receipt(folder).attempts] == ["7"]


@pytest.mark.parametrize("state", ["STALLED", "LOST"])
def test_an_attempt_that_may_live_still_is_waited_for_and_cancelled_again(monkeypatch, state):
    from slimline.launch import run as module

    class Twice(Interrupted):
        def submit(self, folder, name, resources, after=None):
            self.asked.append(f"after {after}")
            return str(7 + len(Receipt(folder).attempts))

        def look(self, job_id):
            if job_id != "8":
                raise KeyboardInterrupt
            return JobState(state)

    backend = Twice("", True)
    monkeypatch.setattr(module, "backend_for", lambda cluster: backend)
    with pytest.raises(KeyboardInterrupt):
        run("succeed")
    assert backend.asked == ["after None", "cancel 8", "after 8", "cancel 8", "cancel 9"]


LAUNCHER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_launch
test_launch.run("wait_for_ever", ranks=2)
"""


def launcher():
    """A process that launches a job of two ranks, once both are up."""
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER], start_new_session=True)
    while len(list(Path().glob("up-*"))) < 2:
        assert process.poll() is None
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_no_process_behind(number):
    process = launcher()
    ranks = [psutil.Process(int(path.read_text())) for path in Path().glob("up-*")]
    os.killpg(process.pid, number)
    assert process.wait(timeout=60) != 0
    _, alive = psutil.wait_procs(ranks, timeout=60)
    assert not alive


def ranks_of_a_dead_controller():
    """The launcher and its job are killed, but for the ranks."""
    process = launcher()
    process.kill()
    process.wait(timeout=60)
    ranks = [psutil.Process(int(path.read_text())) for path in Path().glob("up-*")]
    (folder,) = JOBS.iterdir()
    controller = psutil.Process(int(Receipt(folder).attempts[0].job_id))
    controller.kill()
    psutil.wait_procs([controller], timeout=60)
    assert len(ranks) == 2
    assert all(rank.is_running() for rank in ranks)
    return folder, controller.pid, ranks


def test_a_stopwatch_waits_for_jobs_that_a_killed_run_has_left(tmp_path_factory, monkeypatch):
    process = launcher()
    process.kill()
    process.wait(timeout=60)
    said = []

    def end_them(why):
        said.append(why)
        for of_job in living_jobs().values():
            for each in of_job:
                each.kill()

    with monkeypatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        wait_for_jobs(end_them)
    assert not said, "jobs of another working folder are none of its business"
    (folder,) = JOBS.iterdir()
    pids = sorted(each.pid for each in living_jobs()[folder.name])
    assert len(pids) == 3, "the controller and two ranks"
    wait_for_jobs(end_them)
    assert len(said) == 1
    assert folder.name in said[0]
    assert f"kill {' '.join(map(str, pids))}" in said[0]
    assert not living_jobs()


@pytest.mark.parametrize("known", [True, False], ids=["by its id", "by its folder"])
def test_ranks_whose_controller_died_are_ended_before_others_start(known):
    folder, _, ranks = ranks_of_a_dead_controller()
    if not known:
        receipt = Receipt(folder)
        receipt.attempts[0].job_id, receipt.attempts[0].state = "", SUBMITTING
        receipt._write()
    for path in Path().glob("up-*"):
        path.unlink()
    second = launcher()
    assert not any(rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE for rank in ranks)
    write_json(Path("go.json"), {})
    assert second.wait(timeout=60) == 0
    assert [attempt.state for attempt in Receipt(folder).attempts] == ["LOST", "COMPLETED"]


def test_ranks_whose_controller_died_are_named_to_who_wants_to_train_otherwise():
    _, _, ranks = ranks_of_a_dead_controller()
    with pytest.raises(SlimlineError, match="still runs") as caught:
        run("wait_for_ever", ranks=1)
    assert all(str(rank.pid) in str(caught.value) for rank in ranks)
    for rank in ranks:
        rank.kill()


def test_who_waits_for_another_run_leaves_with_its_snakemake(monkeypatch):
    folder = JOBS / f"{spec('succeed').name}-{spec('succeed').digest[:16]}"
    folder.mkdir(parents=True)
    monkeypatch.setattr(Owner, "is_gone", True)
    with FileLock(folder / "lock"), pytest.raises(SystemExit):
        run("succeed")
    assert Receipt(folder).attempts == []


def test_who_waits_for_another_run_that_shows_no_sign_of_life_says_so_at_last(monkeypatch):
    from slimline.launch import lock as module

    folder = JOBS / f"{spec('succeed').name}-{spec('succeed').digest[:16]}"
    folder.mkdir(parents=True)
    monkeypatch.setattr(module, "LOCK_SILENT_LIMIT_S", -1.0)
    with FileLock(folder / "lock"), pytest.raises(SlimlineError, match="no sign of life"):
        run("succeed")


def test_nothing_is_submitted_when_snakemake_is_gone(monkeypatch):
    monkeypatch.setattr(Owner, "is_gone", True)
    with pytest.raises(SystemExit):
        run("succeed")
    (folder,) = JOBS.iterdir()
    assert Receipt(folder).attempts == []


def test_a_killed_launcher_leaves_the_job_running_and_the_next_one_joins_it():
    process = launcher()
    process.kill()
    process.wait(timeout=60)
    (folder,) = JOBS.iterdir()
    job_id = Receipt(folder).attempts[0].job_id
    second = subprocess.Popen([sys.executable, "-c", LAUNCHER])
    write_json(Path("go.json"), {})  # now the ranks may end
    assert second.wait(timeout=60) == 0
    assert (folder / RESULT_FOLDER).exists()
    assert read_json(Path("out/job.json"))["job_ids"] == [job_id]


def test_a_job_of_the_same_lineage_that_lives_is_neither_taken_from_nor_left_behind():
    process = launcher()
    process.kill()
    process.wait(timeout=60)
    (folder,) = JOBS.iterdir()
    job_id = Receipt(folder).attempts[0].job_id
    with pytest.raises(SlimlineError, match="still runs") as caught:
        run("wait_for_ever", ranks=1)
    assert f"kill {job_id}, wait until it is gone" in str(caught.value)
    assert "2 ranks (ddp, threads each: 1), newest checkpoint: no checkpoint yet" in str(caught.value)
    second = subprocess.Popen([sys.executable, "-c", LAUNCHER])
    write_json(Path("go.json"), {})
    assert second.wait(timeout=60) == 0


def test_a_job_is_told_of_the_unfinished_ones_of_its_lineage_until_one_has_finished():
    with pytest.raises(SlimlineError):
        run("succeed_alone", ranks=2)
    (other,) = JOBS.iterdir()
    (other / CHECKPOINTS_FOLDER / checkpoint_name(3, 7)).mkdir(parents=True)
    (attempt,) = run("succeed_alone", ranks=1)["attempts"]
    assert attempt["earlier"] == [other.name]
    (folder,) = set(JOBS.iterdir()) - {other}
    assert RunSettings.read(folder).earlier == [str(other)]
    with pytest.raises(SlimlineError):
        run("succeed_alone", ranks=3)
    (folder,) = set(JOBS.iterdir()) - {other, folder}
    assert RunSettings.read(folder).earlier == []
