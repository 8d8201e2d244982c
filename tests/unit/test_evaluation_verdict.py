"""The verdict on a terminal."""

import io
import re

import pytest
from evaluation_fixtures import make_check, make_dense, make_metrics, make_variant
from proof_fixtures import make_failed

from slimline.evaluation.proof_record import Problem
from slimline.evaluation.record_base import write_record
from slimline.evaluation.verdict import main, render, wants_colour

METRICS = make_metrics(
    [
        make_dense(),
        make_variant("int8"),
        make_variant("pruned", "inconclusive", accuracy_delta=0.0),
        make_variant("a-name-that-is-much-too-long-for-the-table", "fail"),
    ],
    headline="Ship int8: 95.0 % accurate; against dense 0.20 points less accurate, 2.0x faster, 4.0x smaller.",
)


def test_the_page():
    assert render(METRICS, colour=False) == (
        "Ship int8: 95.0 % accurate; against dense 0.20 points less accurate, 2.0x\n"
        "faster, 4.0x smaller.\n"
        "\n"
        "  variant            accuracy    95 % CI  delta     size       p50  gate\n"
        "  dense                 95.00  94.0-96.0          248 kB  0.200 ms  reference\n"
        "> int8                  95.00  94.0-96.0  -0.20  62.1 kB  0.100 ms  pass\n"
        "  pruned                95.00  94.0-96.0   0.00  62.1 kB  0.100 ms  inconclusive\n"
        "  a-name-that-is-much-too-long-for-the-table\n"
        "                        95.00  94.0-96.0  -0.20  62.1 kB  0.100 ms  fail\n"
    )


def test_what_the_gate_holds_against_a_control_is_told_so():
    against_control = make_check("fail").model_copy(update={"reference": "control-3"})
    metrics = make_metrics(
        [
            make_dense(),
            make_variant("int8"),
            make_variant("pruned", "fail", control="control-3", accuracy_delta_control=-0.0054, gate=[against_control]),
            make_variant("tuned", control="control-3", accuracy_delta_control=-0.0054),  # the gate looks at dense
        ]
    )
    lines = render(metrics, colour=False).splitlines()
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("  variant")) :]
    assert table == [
        "  variant  accuracy    95 % CI   delta     size       p50  gate",
        "  dense       95.00  94.0-96.0           248 kB  0.200 ms  reference",
        "> int8        95.00  94.0-96.0  -0.20   62.1 kB  0.100 ms  pass",
        "  pruned      95.00  94.0-96.0  -0.54*  62.1 kB  0.100 ms  fail",
        "  tuned       95.00  94.0-96.0  -0.20   62.1 kB  0.100 ms  pass",
        "  * against its control: dense, trained on for as many steps",
    ]


def test_it_fits_a_plain_terminal():
    text = render(METRICS, colour=False)
    assert text.isascii()
    assert "\033" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_columns_are_aligned_and_the_choice_is_marked():
    lines = render(METRICS, colour=False).splitlines()
    (heading,) = [line for line in lines if line.startswith("  variant")]
    rows = [line for line in lines if re.search(r"\d-\d", line)]
    assert len(rows) == 4
    for row, status in zip(rows, ["reference", "pass", "inconclusive", "fail"], strict=True):
        assert row.index(status) == heading.index("gate")
    assert [row[0] for row in rows] == [" ", ">", " ", " "]


def test_what_may_not_ship_is_told_by_one_word_and_what_does_not_exist_by_its_reason():
    reason = "failed: The model convnet cannot be pruned this way: nothing was removed at ratio 0.01"
    metrics = make_metrics(
        [
            make_dense(),
            make_variant("int8", artifact_status="slower than its own fp32", latency_ratio_parent=1.3),
            make_variant("coarse", "fail", problems=[Problem(code="quantized-logits", message="classes tie")]),
        ],
        recommended="dense",
        failed=[make_failed(artifact_status=reason)],
    )
    text = render(metrics, colour=False)
    assert [line.split()[-1] for line in text.splitlines() if "94.0-96.0" in line] == ["reference", "slower", "failed"]
    assert text.endswith(
        "  unmade failed: The model convnet cannot be pruned this way: nothing was\n    removed at ratio 0.01\n"
    )
    assert "\033[33mslower\033[0m" in render(metrics, colour=True)


def test_colour_changes_nothing_but_colour():
    plain, coloured = (render(METRICS, colour=colour) for colour in (False, True))
    assert re.sub(r"\033\[[0-9;]*m", "", coloured) == plain
    assert "\033[32mpass\033[0m" in coloured


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_is_for_terminals_that_want_it(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())


def test_the_command_prints_it(tmp_path, capsys):
    write_record(tmp_path / "metrics.json", METRICS)
    assert main([str(tmp_path / "metrics.json")]) == 0
    assert capsys.readouterr() == (render(METRICS, colour=False), "")


@pytest.mark.parametrize("content", [None, "{}", "not JSON"])
def test_a_file_that_is_not_metrics_ends_with_one_message(tmp_path, capsys, content):
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_text(content)
    assert main([str(path)]) == 1
    output, message = capsys.readouterr()
    assert output == ""
    assert str(path) in message
