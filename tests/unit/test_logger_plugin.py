import io
import logging
import sys
from types import SimpleNamespace

import pytest
from snakemake.settings.enums import Quietness
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from slimline.status_line import VARIABLE
from snakemake_logger_plugin_slimline import LogHandler, run
from snakemake_logger_plugin_slimline.dry_run import DryRunView
from snakemake_logger_plugin_slimline.run import RunView
from snakemake_logger_plugin_slimline.terminal import Terminal

NOW_S = 1000.0
THREAD, OTHER_THREAD = 1, 2


def fail(record):
    raise AssertionError(f"not shown: {record}")


class TestContract(TestLogHandlerBase):
    """Every event that Snakemake's interface knows, as it sends them."""

    __test__ = True

    @pytest.fixture(autouse=True)
    def handlers(self):
        self.made = []
        yield
        for handler in self.made:
            handler.close()

    def get_log_handler_cls(self):
        def strict(**settings):
            self.made.append(LogHandler(**settings))
            self.made[-1].handleError = fail
            return self.made[-1]

        return strict

    def get_log_handler_settings(self):
        return None


class Screen(io.StringIO):
    def __init__(self, *, tty=False):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


class Watched:
    """A view, and the text that it has shown."""

    def __init__(self, view, *, tty=False, quiet=(), **settings):
        self.screen = Screen(tty=tty)
        mock = MockOutputSettings()
        mock.quiet, mock.printshellcmds, mock.show_failed_logs = set(quiet), False, False
        vars(mock).update(settings)
        self.view = view(Terminal(self.screen), mock, lambda record: record.msg)

    def say(self, msg, event=None, *, at_s=0.0, level=logging.INFO, thread=THREAD, **extra):
        record = logging.LogRecord("snakemake", level, "file.py", 1, msg, (), None)
        record.created, record.thread = NOW_S + at_s, thread
        vars(record).update({"event": event} if event else {}, **extra)
        self.view.show(record)

    def begin(self, **stats):
        self.say("Provided cores: 2", LogEvent.RESOURCES_INFO, cores=2)
        self.say("Job stats:\n…", LogEvent.RUN_INFO, stats=stats | {"total": sum(stats.values())})

    def start(self, job, rule, at_s=0.0, logs=(), *, local=True, reason="Missing output files: x", **wildcards):
        self.say(
            "Rule", LogEvent.JOB_INFO, at_s=at_s, jobid=job, rule_name=rule, wildcards=wildcards, reason=reason,
            log=[str(file) for file in logs], local=local,
        )  # fmt: skip

    def finish(self, job, done, total, at_s):
        self.say("Finished", LogEvent.JOB_FINISHED, at_s=at_s, job_id=job)
        self.say("None", LogEvent.PROGRESS, at_s=at_s, done=done, total=total)

    def error(self, text, thread=THREAD, **extra):
        self.say(text, LogEvent.ERROR, level=logging.ERROR, thread=thread, **extra)

    def fail(self, job, rule, at_s, logs=(), thread=THREAD, message=None, shell=None, **aux):
        self.say(
            "Error", LogEvent.JOB_ERROR, at_s=at_s, level=logging.ERROR, thread=thread, jobid=job, rule_name=rule,
            rule_msg=message, aux=aux, shellcmd=shell, log=[str(file) for file in logs],
        )  # fmt: skip

    def end(self):
        self.view.close()
        return self.screen.getvalue()

    @property
    def text(self):
        return self.screen.getvalue()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")  # taken back afterwards
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(run, "time", SimpleNamespace(time=lambda: NOW_S))
    monkeypatch.setattr("sys.argv", ["/bin/snakemake", "--cores", "2", "--config", "experiment=a b"])


def called_process_error(how):
    return f"RuleException:\nCalledProcessError in file x.smk, line 1:\nCommand 'python x' {how}."


def test_a_run_is_a_line_for_each_job_and_a_summary():
    watched = Watched(RunView)
    watched.begin(train=1, plan_variant=1, all=1)
    watched.start(1, "plan_variant", variant="dense")
    watched.finish(1, 1, 3, at_s=2.04)
    watched.start(2, "train", at_s=3, variant="pruned-int8", seed=0)
    watched.finish(2, 2, 3, at_s=128)
    watched.start(3, "all", at_s=128)
    watched.finish(3, 3, 3, at_s=128)
    assert watched.end() == (
        "3 jobs to run on 2 cores. Details: none are kept\n"
        "\n"
        "[1/3]     plan_variant  dense                      2.0 s\n"
        "[2/3]     train         pruned-int8 seed 0    2 min 05 s\n"
        "[3/3]     all                                      0.0 s\n"
        "\n"
        "3 jobs done in 2 min 08 s.\n"
        "\n"
    )


def test_the_header_tells_the_limit_of_a_cluster():
    watched = Watched(RunView)
    watched.say("Provided remote nodes: 100", LogEvent.RESOURCES_INFO, nodes=100)
    watched.say("Job stats", LogEvent.RUN_INFO, stats={"train": 1, "total": 1})
    assert watched.text.startswith("1 job to run, at most 100 at a time. Details: ")


def test_nothing_to_do_is_said_in_snakemakes_words():
    watched = Watched(RunView)
    watched.say("Building DAG of jobs...")
    watched.say("Nothing to be done (all requested files are present and up to date).")
    assert watched.end() == "Nothing to be done (all requested files are present and up to date).\n"


@pytest.mark.parametrize("view", [RunView, DryRunView])
@pytest.mark.parametrize("quiet", [(), (Quietness.ALL,), (Quietness.RULES, Quietness.PROGRESS)])
def test_warnings_and_errors_are_always_shown(view, quiet):
    watched = Watched(view, quiet=quiet)
    watched.say("Using shell: of a warning", level=logging.WARNING)
    watched.error("LockException:\nError: Directory cannot be locked. … --unlock argument.", exception="LockException")
    assert "Using shell: of a warning\n" in watched.end()
    assert "--unlock" in watched.text


@pytest.mark.parametrize(("kind", "with_traceback"), [(WorkflowError, False), (RuntimeError, True)])
def test_an_error_that_is_worded_for_users_has_no_traceback(kind, with_traceback):
    watched = Watched(RunView)
    watched.view._text_of = logging.Formatter().format
    try:
        raise kind("The given account nope appears to be invalid")
    except kind as error:
        watched.say(f"Exception in run_job: {error}", level=logging.ERROR, exc_info=sys.exc_info())
    shown = watched.screen.getvalue()
    assert "account nope appears to be invalid" in shown
    assert ("Traceback" in shown) is with_traceback


def test_unknown_information_is_shown_unless_all_is_to_be_quiet():
    loud, quiet = Watched(RunView), Watched(RunView, quiet={Quietness.ALL})
    for watched in (loud, quiet):
        watched.say("Job 7 has been submitted with SLURM jobid 12.")
    assert (loud.end(), quiet.end()) == ("Job 7 has been submitted with SLURM jobid 12.\n", "")


@pytest.mark.parametrize("quiet", [Quietness.RULES, Quietness.PROGRESS, Quietness.ALL])
def test_a_quiet_run_still_tells_its_failures(quiet):
    watched = Watched(RunView, quiet={quiet})
    watched.begin(train=2)
    watched.start(1, "train", seed=0)
    watched.start(2, "train", seed=1)
    if quiet is not Quietness.PROGRESS:  # then Snakemake does not say it
        watched.finish(1, 1, 2, at_s=1)
    watched.fail(2, "train", at_s=1)
    assert "[1/2]" not in watched.end()
    assert "[failed]  train" in watched.text
    summary = "\n1 failed, after" if quiet is Quietness.PROGRESS else "1 of 2 jobs done, 1 failed, after"
    assert summary in watched.text


def test_shell_commands_are_shown_on_demand():
    loud, quiet = Watched(RunView, printshellcmds=True), Watched(RunView)
    for watched in (loud, quiet):
        watched.say("Shell command: None", LogEvent.SHELLCMD, shellcmd=None)
        watched.say("Shell command: echo", LogEvent.SHELLCMD, shellcmd="echo")
        watched.say("None", LogEvent.SHELLCMD, cmd="python x.py")
    assert (loud.end(), quiet.end()) == ("echo\npython x.py\n", "")


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "train.log"
    file.write_text("\n".join(f"line {n}" for n in range(50)) + "\n")
    return file


def test_a_failed_job_is_one_block_with_the_end_of_its_log_and_the_way_on(log):
    watched = Watched(RunView)
    watched.begin(train=3)
    watched.start(1, "train", logs=[log], variant="dense", seed=0)
    watched.error(called_process_error("returned non-zero exit status 3"))
    watched.fail(1, "train", at_s=2, logs=[log], shell="false")
    lines = watched.end().split("\n")[2:]
    assert lines[:4] == [
        "[failed]  train  dense seed 0               2.0 s",
        "  exit:     status 3",
        "  shell:    false",
        f"  log:      {log}, its last 40 lines:",
    ]
    assert lines[4:44] == [f"            line {n}" for n in range(10, 50)]
    assert lines[44:] == [
        "",
        "0 of 3 jobs done, 1 failed, 2 left, after 0.0 s.",
        f"  failed:   train dense seed 0, see {log}",
        "  resume:   snakemake --cores 2 --config 'experiment=a b'",
        "  details:  none are kept",
        "",
    ]


def test_all_of_the_log_is_shown_on_demand(log):
    watched = Watched(RunView, show_failed_logs=True)
    watched.begin(train=1)
    watched.start(1, "train", logs=[log])
    watched.fail(1, "train", at_s=2, logs=[log])
    assert "line 0\n" in watched.end()


def test_a_log_that_was_not_written_is_told(tmp_path):
    watched = Watched(RunView)
    watched.begin(train=1)
    watched.start(1, "train", logs=[tmp_path / "no.log"])
    watched.fail(1, "train", at_s=2, logs=[tmp_path / "no.log"])
    assert f"  log:      {tmp_path / 'no.log'} (not written)\n" in watched.end()


SCREEN = "2026-01-02 03:04:05,678 INFO start\n2026-01-02 03:04:05,678 ERROR A file is missing.\n  where:    here\n"


@pytest.mark.parametrize("local", [True, False])
def test_a_screen_that_the_user_has_seen_is_not_repeated(tmp_path, local):
    log = tmp_path / "download.log"
    log.write_text(SCREEN)
    watched = Watched(RunView)
    watched.begin(download=1)
    watched.start(1, "download", logs=[log], local=local)
    watched.fail(1, "download", at_s=1, logs=[log], message="See the log of the cluster.", external_jobid="17")
    assert ("A file is missing." in watched.end()) is not local  # on another machine, nobody has seen it
    assert "  message:  See the log of the cluster.\n  external_jobid: 17\n" in watched.text


def test_causes_belong_to_the_jobs_of_their_thread():
    watched = Watched(RunView)
    watched.begin(train=2)
    watched.start(1, "train", seed=0)
    watched.start(2, "train", seed=1)
    watched.error(called_process_error("returned non-zero exit status 3"))
    watched.error(called_process_error("died with <Signals.SIGKILL: 9>"), thread=OTHER_THREAD)
    watched.fail(2, "train", at_s=1, thread=OTHER_THREAD)
    watched.fail(1, "train", at_s=1)
    blocks = watched.end().split("[failed]")[1:]
    assert "seed 1" in blocks[0]
    assert "  exit:     killed by SIGKILL, as the system does when memory runs out\n" in blocks[0]
    assert "seed 0" in blocks[1]
    assert "  exit:     status 3\n" in blocks[1]


def test_a_cause_that_belongs_to_no_job_is_shown_at_the_end():
    watched = Watched(RunView)
    watched.error(called_process_error("returned non-zero exit status 3"))
    assert "CalledProcessError" in watched.end()


def test_a_job_found_wanting_after_its_end_counts_as_failed():
    watched = Watched(RunView)
    watched.begin(train=1)
    watched.start(1, "train", variant="dense")
    watched.error("MissingOutputException in rule train: …", exception="MissingOutputException")
    watched.error("Exiting because a job execution failed. Look above for error messages")
    assert "MissingOutputException in rule train" in watched.end()
    assert "0 of 1 job done, 1 failed, after" in watched.text
    assert "  failed:   train dense\n" in watched.text
    assert "Exiting" not in watched.text


def test_a_job_that_succeeds_when_tried_again_has_not_failed():
    watched = Watched(RunView)
    watched.begin(train=1)
    watched.start(1, "train")
    watched.fail(1, "train", at_s=1)
    watched.say("Trying to restart job 1.")
    watched.start(1, "train", at_s=2)
    watched.finish(1, 1, 1, at_s=3)
    assert watched.end().endswith("train                             1.0 s\n\n1 job done in 3.0 s.\n\n")


@pytest.mark.parametrize("how", ["died with <Signals.SIGINT: 2>", "returned non-zero exit status 130"])
def test_a_run_that_the_user_stops_has_no_failures(how):
    watched = Watched(RunView)
    watched.begin(train=2)
    watched.start(1, "train")
    watched.say("Terminating processes on user request, this might take some time.")
    watched.error(called_process_error(how))
    watched.fail(1, "train", at_s=1)
    watched.error("WorkflowError:\nAt least one job did not complete successfully.")
    assert "fail" not in watched.end()
    assert "Error" not in watched.text
    assert "\nStopped: 0 of 2 jobs done, 2 left, after" in watched.text
    assert "  resume:   snakemake" in watched.text


def test_a_run_without_a_terminal_gives_a_sign_of_life_ever_less_often():
    watched = Watched(RunView)
    watched.begin(train=1)
    watched.start(1, "train", variant="dense", seed=0)
    before = watched.text
    seconds = []
    for second in range(7200):
        shown = len(watched.text)
        watched.view.tick(NOW_S + second)
        seconds += [second] if len(watched.text) > shown else []
    assert seconds == [60, 180, 420, 900, 1860, 3660, 5460]
    assert watched.text.removeprefix(before).startswith("running   train dense seed 0 (1 min 00 s)\n")
    watched.end()


def test_without_a_terminal_there_is_no_control_character(log):
    watched = Watched(RunView)
    watched.begin(train=2)
    watched.start(1, "train", logs=[log])
    watched.say("careful", level=logging.WARNING)
    watched.finish(1, 1, 2, at_s=1)
    watched.start(2, "train", logs=[log])
    watched.fail(2, "train", at_s=2, logs=[log])
    assert watched.end().replace("\n", "").isprintable()


def test_on_a_terminal_the_last_line_tells_what_runs_and_how_far_it_is(tmp_path):
    log = tmp_path / "train.log"
    log.write_text(
        "2026-01-02 03:04:05,678 INFO dense seed 0: epoch 3 of 40, step 1\n2026-01-02 03:04:06,678 INFO other\n"
    )
    watched = Watched(RunView, tty=True)
    watched.begin(train=1, audit=1)
    watched.start(1, "train", logs=[log], variant="dense", seed=0)
    watched.view.tick(NOW_S + 5)
    assert watched.text.endswith("\r\033[K\033[2mrunning   train dense seed 0 (5 s): epoch 3 of 40, step 1\033[0m\r")
    watched.start(2, "audit", at_s=6)
    assert watched.text.endswith("\033[2mrunning   train dense seed 0 (6 s, epoch 3 of 40), audit (0 s)\033[0m\r")
    watched.finish(1, 1, 2, at_s=7)
    watched.finish(2, 2, 2, at_s=8)
    assert watched.end().endswith("\r\033[K\n\033[32m2 jobs done in 8.0 s.\033[0m\n\n")


def test_of_many_jobs_the_status_reads_the_logs_of_a_few(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        run, "last_progress", lambda file: read.append(file.name) or f"dense seed {file.stem}: epoch 1 of 2"
    )
    watched = Watched(RunView, tty=True)
    watched.begin(train=100)
    for seed in range(100):
        watched.start(seed, "train", logs=[tmp_path / f"{seed}.log"], variant="dense", seed=seed)
    read.clear()
    watched.view.tick(NOW_S + 5)
    assert read == ["0.log", "1.log", "2.log", "3.log"]
    assert "train dense seed 0 (5 s, epoch 1 of 2), train dense seed 1 (5 s, ..." in watched.text


def test_lines_come_above_the_status_and_a_status_is_one_row():
    screen = Screen(tty=True)
    terminal = Terminal(screen, nocolor=True)
    terminal.status("x" * 100)
    terminal.line("line")
    terminal.status("x" * 100)
    terminal.status("")
    row = "x" * 76 + "...\r"
    assert screen.getvalue() == f"{row}\r\033[Kline\n{row}\r\033[K"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_switched_off(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    screen = Screen(tty=True)
    Terminal(screen).line("text", "red")
    assert screen.getvalue() == "text\n"
    monkeypatch.undo()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    Terminal(screen).line("text", "red")
    assert screen.getvalue() == "text\n\033[31mtext\033[0m\n"


def test_a_dry_run_is_the_job_table_and_the_reasons():
    watched = Watched(DryRunView)
    table = "Job stats:\njob      count\n-----  -------\ntrain        2\ncompare      1\ntotal        3\n"
    stats = {"train": 2, "compare": 1, "total": 3}
    watched.say(table, LogEvent.RUN_INFO, stats=stats)
    watched.start(1, "compare", reason="Input files updated by another job: a, b")
    watched.start(2, "train", reason="Missing output files: a; Input files updated by another job: b")
    watched.start(3, "train", reason="Code has changed since last execution")
    watched.say(table, LogEvent.RUN_INFO, stats=stats)
    watched.say("Reasons:\n    (check individual jobs above for details)")
    watched.say("Some jobs were triggered by provenance information, see …")
    watched.say("This was a dry-run (flag -n). The order of jobs does not reflect the order of execution.")
    assert watched.end() == (
        f"{table}\n"
        "Reasons:\n"
        "  train       output is missing (1 of 2), the script of the rule has changed (1 of 2)\n"
        "  the others  follow from these\n"
        "\n"
        "This was a dry run: nothing was made or changed. Each job with its files: --verbose\n"
    )


@pytest.mark.parametrize("quiet", [Quietness.RULES, Quietness.REASON])
def test_a_quiet_dry_run_is_the_job_table(quiet):
    watched = Watched(DryRunView, quiet={quiet})
    watched.say("Job stats:\ntotal 1\n", LogEvent.RUN_INFO, stats={"total": 1})
    watched.start(1, "train")
    watched.say("This was a dry-run (flag -n).")
    assert watched.end().startswith("Job stats:\ntotal 1\n\nThis was a dry run")
