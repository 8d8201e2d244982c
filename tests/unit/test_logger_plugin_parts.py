import os
import subprocess
import sys
from pathlib import Path

import pytest

from slimline.errors import SlimlineError
from slimline.rule import run_rule
from slimline.status_line import VARIABLE
from snakemake_logger_plugin_slimline import command_line
from snakemake_logger_plugin_slimline.logs import ended_with_a_screen, last_progress, tail
from snakemake_logger_plugin_slimline.words import LIBRARY_WORDS, duration, reason_words, reasons_text, wildcards_text

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (9.44, "9.4 s"), (59.94, "59.9 s"), (59.95, "1 min 00 s"), (60, "1 min 00 s"),
        (125.4, "2 min 05 s"), (3599.6, "1 h 00 min"), (3725, "1 h 02 min"), (90000, "25 h 00 min"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_durations_without_decimals():
    assert [duration(s, decimals=0) for s in (0.4, 9.6, 59.4, 59.6)] == ["0 s", "10 s", "59 s", "1 min 00 s"]


def test_wildcards_are_said_with_their_name_but_for_the_variant():
    assert wildcards_text({"variant": "pruned-int8", "seed": "0"}) == "pruned-int8 seed 0"
    assert (wildcards_text({}), wildcards_text(None)) == ("", "")


def params(before, now):
    return (
        "Params have changed since last execution: Union of exclusive params before and now across all output: "
        f"before: {before} now: {now} "
    )


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Missing output files: a, b; Input files updated by another job: c", ["output is missing"]),
        ("Input files updated by another job: c", ["follows from other jobs"]),
        (
            "Updated input files: a; Code has changed since last execution",
            ["the script of the rule has changed", "an input is newer than the output"],
        ),
        (params("'0123456789abcdef'", "'0123456789abcde0'"), [LIBRARY_WORDS]),
        (
            params("'0123456789abcdef'", "'0123456789abcde0'") + "; Updated input files: a",
            [LIBRARY_WORDS, "an input is newer than the output"],
        ),
        (params("0.5", "0.6"), ["settings have changed"]),
        (params("'0123456789abcdef',0.5", "'0123456789abcde0',0.6"), ["settings have changed"]),
        ("Something that nobody knows: a, b", ["Something that nobody knows"]),
    ],
)  # fmt: skip
def test_reasons_in_words(reason, words):
    assert reason_words(reason) == words


def test_reasons_that_hold_for_some_jobs_are_counted():
    assert reasons_text(["Forced execution", "Forced execution"]) == "forced, or left unfinished by the last run"
    mixed = reasons_text(["Missing output files: a", "Missing output files: b", "Code has changed"])
    assert mixed == "output is missing (2 of 3), the script of the rule has changed (1 of 3)"


def mistake():
    raise SlimlineError("A file is missing.", where="there", next_step="look for it")


def accident():
    raise ZeroDivisionError


@pytest.fixture
def log_of(tmp_path):
    """Runs work as a rule does, in a process of its own; returns the log and what came on standard error."""

    def run(work, **environment):
        log = tmp_path / "rule.log"
        code = (
            "from pathlib import Path; from test_logger_plugin_parts import *; "
            f"run_rule({work.__name__}, rule='work', log_file=Path({str(log)!r}))"
        )
        paths = os.pathsep.join([str(SCRIPTS), str(Path(__file__).parent)])
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True,
            env=os.environ | {"PYTHONPATH": paths} | environment,
        )  # fmt: skip
        return log, result.stderr.decode()

    return run


def test_a_log_tells_whether_the_user_has_seen_the_error(log_of, tmp_path):
    log, shown = log_of(mistake)
    assert "A file is missing." in shown
    assert ended_with_a_screen(log)
    assert not ended_with_a_screen(log_of(accident)[0])
    (tmp_path / "cut.log").write_text("2026-01-02 03:04:05,678 INFO half of the wo")
    assert not ended_with_a_screen(tmp_path / "cut.log")
    assert not ended_with_a_screen(tmp_path / "no.log")


@pytest.mark.parametrize("work", [mistake, accident])
def test_an_error_of_a_rule_takes_the_place_of_the_status_line(log_of, work):
    assert log_of(work, **{VARIABLE: "1"})[1].startswith("\r\033[K")


def test_ctrl_c_ends_a_rule_silently(tmp_path, capsys):
    def work():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        run_rule(work, rule="work", log_file=tmp_path / "rule.log")
    assert end.value.code == 130
    assert capsys.readouterr().err == ""


def test_the_end_of_a_log_is_shown_as_plain_text(tmp_path):
    log = tmp_path / "rule.log"
    log.write_bytes("".join(f"{n}\n" for n in range(100_000)).encode() + b"tab\there \x1b[31m\xff\r\n")
    assert tail(log, 2) == ["99999", "tab here  [31m\N{REPLACEMENT CHARACTER}"]
    assert len(tail(log, None)) == 100_001
    assert tail(tmp_path / "no.log", 2) == []


def test_progress_is_the_last_line_that_counts(tmp_path):
    log = tmp_path / "rule.log"
    log.write_text("2026-01-02 03:04:05,678 INFO epoch 3 of 40\n2026-01-02 03:04:06,678 INFO saved\nepoch 4 of 40\n")
    assert last_progress(log) == "epoch 3 of 40"
    with log.open("a") as file:
        file.write("2026-01-01 10:00:09,000 INFO dense seed 0: job 7 is PENDING, Resources\n")
    assert last_progress(log) == "dense seed 0: job 7 is PENDING, Resources"
    assert last_progress(tmp_path / "no.log") == ""


@pytest.fixture
def workflow(tmp_path, monkeypatch):
    """A folder with a workflow of one rule and a profile; options are parsed anew."""
    (tmp_path / "Snakefile").write_text(
        'rule train:\n    output: "model-{variant}.txt"\n    shell: "echo working; touch {output}"\n'
    )
    (tmp_path / "profiles/default").mkdir(parents=True)
    (tmp_path / "profiles/default/config.yaml").write_text("logger: slimline\nconfigfile: [good.yaml]\n")
    (tmp_path / "good.yaml").write_text("a: 1\n")
    monkeypatch.chdir(tmp_path)
    command_line.options.cache_clear()
    yield tmp_path
    command_line.options.cache_clear()


def test_options_are_those_of_the_command_line_and_the_profiles(workflow, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["snakemake", "--cores", "3", "--executor", "slurm"])
    options = command_line.options()
    assert (options.cores, options.executor, options.configfile) == (3, "slurm", [Path("good.yaml")])
    assert capsys.readouterr().err == ""  # Snakemake itself names the profiles


def test_there_are_no_options_where_snakemake_is_a_library(workflow, monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--option-of-the-program"])
    assert vars(command_line.options()) == {}
    command_line.check_config_files()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["snakemake", "a b"], "snakemake 'a b'"),
        (["/x/snakemake/__main__.py", "-n"], "python -m snakemake -n"),
    ],
)
def test_the_command_to_go_on_with(monkeypatch, arguments, shown):
    monkeypatch.setattr("sys.argv", arguments)
    assert command_line.resume_command() == shown


@pytest.mark.parametrize("broken", ["given", "in the profile"])
def test_a_config_file_that_cannot_be_read_is_one_screen(workflow, monkeypatch, capsys, broken):
    arguments = ["--configfile", "bad.yaml"] if broken == "given" else []
    (workflow / ("bad.yaml" if broken == "given" else "good.yaml")).write_text("- a\n")
    monkeypatch.setattr("sys.argv", ["snakemake", *arguments])
    with pytest.raises(SystemExit) as end:
        command_line.check_config_files()
    assert end.value.code == 1
    assert "got:      a list" in capsys.readouterr().err


def test_a_target_after_the_config_file_is_named(workflow, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["snakemake", "--configfile", "good.yaml", "results/a/report.html"])
    with pytest.raises(SystemExit) as end:
        command_line.check_config_files()
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "A target stands where a config file is expected." in said
    assert "snakemake results/a/report.html --cores 4 --configfile good.yaml" in said


def snakemake(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
    )  # fmt: skip


def test_snakemake_finds_the_plugin_and_says_what_it_expects(workflow):
    result = snakemake(workflow, "--cores", "1", "model-dense.txt")
    (log,) = (workflow / ".snakemake/log").iterdir()
    lines = result.stderr.splitlines()
    assert lines[1:3] == [f"1 job to run on 1 core. Details: {log.relative_to(workflow)}", ""]
    assert lines[3].startswith("[1/1]     train  dense   ")
    assert lines[4:] == ["", lines[5], ""]
    assert lines[5].startswith("1 job done in ")
    assert result.stdout == "working\n"
    assert "reason: Missing output files: model-dense.txt" in log.read_text()  # the details are not lost

    again = snakemake(workflow, "--cores", "1", "model-dense.txt")
    assert again.stderr.splitlines()[1:] == ["Nothing to be done (all requested files are present and up to date)."]


def test_a_dry_run_goes_to_standard_output_and_the_graph_stays_clean(workflow):
    result = snakemake(workflow, "--dry-run", "model-dense.txt")
    assert result.stdout.splitlines()[:5] == [
        "Job stats:", "job      count", "-----  -------", "train        1", "total        1",
    ]  # fmt: skip
    assert "  train  output is missing" in result.stdout
    assert "\x1b" not in result.stdout
    assert snakemake(workflow, "--dag", "dot", "model-dense.txt").stdout.startswith("digraph")


def test_who_asks_for_everything_gets_snakemakes_own_text(workflow):
    result = snakemake(workflow, "--cores", "1", "--verbose", "model-dense.txt")
    assert "localrule train:\n    output: model-dense.txt" in result.stderr
    assert "1 of 1 steps (100%) done" in result.stderr
    assert "job to run" not in result.stderr


def test_errors_of_snakemake_are_shown(workflow):
    result = snakemake(workflow, "--cores", "1", "nothing.txt")
    assert result.returncode == 1
    assert "MissingRuleException" in result.stderr


def test_a_reader_that_goes_away_is_no_error(workflow):
    command = f"{sys.executable} -m snakemake --dry-run model-dense.txt | head -1"
    result = subprocess.run(
        command, shell=True, cwd=workflow, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}
    )
    assert result.stdout == "Job stats:\n"
    assert "Error" not in result.stderr
