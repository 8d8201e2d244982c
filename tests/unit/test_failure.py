"""The screen for a training job that has failed."""

from pathlib import Path

import pytest

from slimline.config.train import TrainConfig
from slimline.errors import SlimlineError
from slimline.launch.failure import failure_screen, kept_screen
from slimline.launch.states import JobState
from slimline.launch.watch import Ending
from slimline.training.spec import Allocation, TrainingSpec

SPEC = TrainingSpec(
    experiment="digits", variant="student", seed=3, entry="module:function", recipe=TrainConfig(epochs=1),
    prepared=Path("data"), allocation=Allocation(1, 4, 1, "cpu", "fp32", 1, 1), inputs={}, code="",
)  # fmt: skip
COMMAND = "snakemake --profile slurm"
WHO = "experiment digits, variant student, seed 3, job 7, FAILED, exit code 1"


@pytest.fixture
def folder(tmp_path):
    """Logs of four ranks of 100 lines each, in each of two attempts."""
    (tmp_path / "submitit").mkdir()
    for job in (6, 7):
        for rank in range(4):
            lines = "".join(f"job {job} rank {rank} line {n}\n" for n in range(100))
            (tmp_path / f"submitit/{job}_{rank}_log.out").write_text(lines)
    return tmp_path


def screen(folder, failure, why=None):
    return str(
        failure_screen(SPEC, folder, "7", Ending(JobState("FAILED", exit_code="1"), failure=failure), why, COMMAND)
    )


def failure(kind, rank=2, text="the disk is gone"):
    return {"rank": rank, "kind": kind, "text": text, "traceback": "", "failed_unix_s": 0.0}


def lines_shown(text):
    return [line.strip() for line in text.splitlines() if " line " in line]


@pytest.mark.parametrize("kind", ["error", "mistake"])
def test_it_says_who_failed_where_and_how_to_go_on(folder, kind):
    shown = screen(folder, failure(kind))
    assert WHO in shown
    assert COMMAND in shown
    assert str(folder / "submitit") in shown
    assert lines_shown(shown) == [f"job 7 rank 2 line {n}" for n in range(60, 100)]


def test_an_error_names_its_rank(folder):
    assert screen(folder, failure("error")).startswith("Rank 2 of the training job failed.\n")


def test_a_mistake_keeps_the_words_that_say_what_to_mend(folder):
    mistake = SlimlineError("The loss is not finite.", where="epoch 3", next_step="lower train.learning_rate")
    shown = screen(folder, failure("mistake", text=str(mistake)))
    assert shown.startswith(str(mistake))


def test_what_is_not_tried_again_says_why(folder):
    shown = screen(folder, None, "3 attempts in a row have got no further")
    assert shown.startswith("The training job ended without a result: 3 attempts in a row have got no further.\n")
    assert lines_shown(shown) == [f"job 7 rank 0 line {n}" for n in range(60, 100)]


def test_where_peers_complain_the_silent_rank_is_shown(folder):
    for rank in (0, 2, 3):
        (folder / f"failure-rank-{rank}.json").touch()
    assert lines_shown(screen(folder, failure("peer", rank=0)))[-1] == "job 7 rank 1 line 99"


def test_without_a_log_it_says_so(tmp_path):
    assert "(no log was written)" in screen(tmp_path, failure("error"))


@pytest.mark.parametrize(
    ("state", "remedy"),
    [(JobState("PENDING", "JobHeldUser"), "scontrol release 7"), (JobState("PENDING", "X"), "show job 7")],
)
def test_a_job_that_stays_in_the_queue_says_what_can_be_done(state, remedy):
    shown = str(kept_screen(SPEC, "7", state, "it is kept back, for 7 days now", COMMAND))
    assert "it is kept back, for 7 days now." in shown
    assert "job 7" in shown
    assert str(state) in shown
    assert remedy in shown
    assert COMMAND in shown
