"""What a round of the search lets go on: only what is proved, and no slower than what it was made of."""

import numpy as np
import pytest
from evaluation_fixtures import make_latency
from proof_fixtures import write_proof

from slimline.config.compress import CompressConfig, Trial
from slimline.errors import SlimlineError
from slimline.evaluation.latency_record import FloatBaseline
from slimline.evaluation.prediction_file import Predictions, write_predictions
from slimline.evaluation.proof_record import Problem
from slimline.evaluation.record_base import read_record, write_record
from slimline.failed import Failure, mark
from slimline.files import write_json
from slimline.search.records import Round
from slimline.search.steps import judge_round

CONFIG = CompressConfig(prune_ratios=[0.5], student_widths=[], rounds=1, trial_epochs=1, finalists=1)
LABELS = np.arange(10) % 5
MEASURED = ("validation", "latency", "exports", "proofs")


def write_answers(path, n_wrong):
    answers = LABELS.copy()
    answers[:n_wrong] = (answers[:n_wrong] + 1) % 5
    logits = np.eye(5, dtype=np.float32)[answers]
    write_predictions(path, Predictions([str(item) for item in range(len(LABELS))], LABELS, logits))
    return path


class Files:
    """The files of trials that are as they should be, and of dense; tests spoil some."""

    def __init__(self, folder, structures):
        self.folder = folder
        self.trials = [Trial(f"try-{name}-e1", name, name) for name in structures]
        self.paths = {name: [self.path(structure, name) for structure in structures] for name in MEASURED} | {
            "jobs": []
        }
        for trial in self.trials:
            write_answers(self.path(trial.structure, "validation"), 2)
            self.write_latency(trial.structure)
            write_json(self.path(trial.structure, "exports"), {"size_bytes": 250})
            write_proof(self.path(trial.structure, "proofs"), variant=trial.variant)
        self.dense = write_answers(folder / "dense.parquet", 1), folder / "dense.json"
        write_json(self.dense[1], {"size_bytes": 1000})

    def path(self, structure, name):
        return self.folder / f"{structure}-{name}"

    def write_latency(self, structure, own_fp32=None, **changes):
        floats = []
        if own_fp32 is not None:
            floats = [FloatBaseline(variant="x", p50_ms=1.0, drift=0.0, precision="f32", ratio_p50=own_fp32)]
        write_record(self.path(structure, "latency"), make_latency(f"try-{structure}-e1", floats=floats, **changes))

    def judge(self):
        output = self.folder / "round.json"
        judge_round(CONFIG, 1, self.trials, self.paths, *self.dense, output)
        return read_record(output, Round)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path, ["sound", "spoilt"])


def test_figures_are_against_dense_on_the_validation_split(files):
    sound = files.judge().points[0]
    assert (sound.accuracy_drop, sound.size_ratio, sound.latency_ratio) == (pytest.approx(0.1), 0.25, 0.5)
    assert sound.accuracy_drop_se == pytest.approx(0.1), "one image of ten, which dense alone has right"
    assert (sound.usable, sound.problem) == (True, None)


@pytest.mark.parametrize(
    ("latency", "problem"),
    [
        ({"own_fp32": 1.2}, "slower than its own fp32"),
        ({"ratio_parent_p50": 1.2}, "slower than what it was made of"),
        ({"own_fp32": 1.04, "ratio_parent_p50": 1.04}, None),  # within the error of the timing
    ],
)
def test_what_is_slower_than_what_it_was_made_of_does_not_go_on_however_fast_it_is(files, latency, problem):
    files.write_latency("spoilt", ratio_p50=0.1, **latency)
    found = files.judge()
    assert [point.problem for point in found.points] == [None, problem]
    assert found.survivors == ["spoilt" if problem is None else "sound"]


def test_what_is_not_proved_does_not_go_on_however_fast_it_is(files):
    files.write_latency("spoilt", ratio_p50=0.1)
    problem = Problem(code="not-quantized", message="no node that quantizes")
    write_proof(files.path("spoilt", "proofs"), variant="try-spoilt-e1", problems=[problem])
    found = files.judge()
    assert [point.problem for point in found.points] == [None, "no node that quantizes"]
    assert found.survivors == ["sound"]


@pytest.mark.parametrize("name", MEASURED)
def test_what_could_not_be_made_is_named_with_the_reason(files, name):
    mark([files.path("spoilt", name)], Failure("try-spoilt-e1", 0, "prune", "diverged", "The loss is not finite."))
    found = files.judge()
    assert found.failed == {"try-spoilt-e1": "The loss is not finite."}
    assert [point.structure for point in found.points] == found.survivors == ["sound"]


def test_without_dense_there_is_nothing_to_search_from(files):
    mark([files.dense[0]], Failure("dense", 0, "export", "parity", "It computes something else."))
    with pytest.raises(SlimlineError, match="nothing to search from"):
        files.judge()
