"""How a step that cannot be done is handed on through files, and what is not taken for one."""

import errno
import logging
from types import SimpleNamespace

import pytest

from slimline.errors import NotSupportedError, SlimlineError
from slimline.failed import Failure, failure_in, library_limits, mark
from slimline.files import write_json
from slimline.model_rule import run_model_rule

FAILURE = Failure("pruned", 0, "prune", "not-supported", "it cannot be pruned")


@pytest.fixture(autouse=True)
def quiet_logging():
    """A rule sets up logging for its process, which here is that of the tests."""
    yield
    logging.captureWarnings(False)


class Rule:
    """What Snakemake hands to the script of a rule."""

    def __init__(self, folder, variant="pruned", rule="prune", inputs=()):
        self.rule, self.wildcards = rule, SimpleNamespace(variant=variant, seed="0")
        self.input, self.log = [str(path) for path in inputs], [str(folder / "log.txt")]
        self.outputs = [folder / variant / name for name in ("model.json", "weights.safetensors")]
        self.output = [str(path) for path in self.outputs]

    def run(self, work):
        run_model_rule(work, self)
        return [failure_in(path) for path in self.outputs]


def raise_(error):
    raise error


def cannot():
    raise NotSupportedError("It cannot be pruned.", got="ZeroDivisionError: division by zero\nmore")


def test_what_was_marked_is_read_back(tmp_path):
    mark([tmp_path / "a.onnx", tmp_path / "b.json"], FAILURE)
    assert failure_in(tmp_path / "a.onnx") == failure_in(tmp_path / "b.json") == FAILURE


def test_other_files_folders_and_absent_ones_are_no_failures(tmp_path):
    write_json(tmp_path / "model.json", {"format": 1})
    (tmp_path / "empty").touch()
    for path in (tmp_path / "model.json", tmp_path / "empty", tmp_path, tmp_path / "absent"):
        assert failure_in(path) is None


def test_a_step_that_cannot_be_done_marks_all_outputs_and_says_so(tmp_path, capsys):
    marks = Rule(tmp_path).run(cannot)
    assert (
        marks
        == [Failure("pruned", 0, "prune", "not-supported", "It cannot be pruned: ZeroDivisionError: division by zero")]
        * 2
    )
    said = capsys.readouterr().err
    assert "prune (variant pruned, seed 0) cannot be done; the other variants go on." in said
    assert "division by zero" in said


def test_outputs_that_were_half_made_are_marked_as_well(tmp_path):
    rule = Rule(tmp_path)

    def half():
        write_json(rule.outputs[0], {"format": 1})
        cannot()

    assert None not in rule.run(half)


def test_the_next_rule_of_the_model_hands_the_failure_on_without_working(tmp_path):
    marks = Rule(tmp_path).run(cannot)
    export = Rule(tmp_path / "next", rule="export", inputs=Rule(tmp_path).outputs)
    assert export.run(pytest.fail) == marks


def test_a_child_says_that_its_parent_failed_and_why(tmp_path):
    mark([tmp_path / "model.onnx"], FAILURE)
    child = Rule(tmp_path, variant="pruned-int8", rule="quantize", inputs=[tmp_path / "model.onnx"])
    inherited = child.run(pytest.fail)[0]
    assert (inherited.variant, inherited.code) == ("pruned-int8", "parent-failed")
    assert inherited.reason == "its parent pruned failed: it cannot be pruned"


def test_the_dense_model_has_to_be_there(tmp_path):
    rule = Rule(tmp_path, variant="dense", rule="export")
    with pytest.raises(SystemExit) as stopped:
        rule.run(cannot)
    assert stopped.value.code == 1
    assert not any(path.exists() for path in rule.outputs)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (SlimlineError("A mistake."), SystemExit),
        (TypeError("a fault of ours"), TypeError),
        (OSError(errno.ENOSPC, "No space left on device"), OSError),
    ],
)
def test_other_errors_stay_errors(tmp_path, error, raised):
    rule = Rule(tmp_path)
    with pytest.raises(raised):
        rule.run(lambda: raise_(error))
    assert not any(path.exists() for path in rule.outputs)


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOSPC, "No space left on device"),
        OutOfMemoryError("CUDA"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        KeyboardInterrupt(),
        SlimlineError("A mistake."),
    ],
    ids=repr,
)
def test_what_the_machine_or_the_user_did_is_not_a_limit_of_a_library(error):
    with pytest.raises(type(error)) as raised, library_limits("It cannot.", where="a model", next_step="leave it"):
        raise error
    assert raised.value is error


def test_what_a_library_raises_is_named_in_one_line():
    with (
        pytest.raises(NotSupportedError) as raised,
        library_limits("It cannot.", where="a model", next_step="leave it"),
    ):
        raise ZeroDivisionError("division by zero\nand a dump of the graph")
    assert raised.value.reason == "It cannot: ZeroDivisionError: division by zero"
