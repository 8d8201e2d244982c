import json

import numpy as np
import pytest

from slimline.errors import SlimlineError
from slimline.evaluation.prediction_file import Predictions, write_predictions
from slimline.reporting.answers import read_answers
from slimline.reporting.records import read_history


def epoch(number, loss=1.0, **more):
    return {"kind": "epoch", "epoch": number, "train_loss": loss, "train_accuracy": 0.5, "seconds": 1.0} | more


def history(path, *events):
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_an_epoch_that_was_repeated_after_a_resume_counts_once_with_its_last_figures(tmp_path):
    events = [epoch(0), epoch(1, 0.9), {"kind": "resume", "epoch": 1, "step": 4}, epoch(1, 0.8), epoch(2, 0.7)]
    read = read_history(history(tmp_path / "history.jsonl", *events))
    assert [(e.epoch, e.train_loss) for e in read.epochs] == [(0, 1.0), (1, 0.8), (2, 0.7)]
    assert [r.epoch for r in read.resumes] == [1]


def test_lines_of_other_kinds_are_passed_over(tmp_path):
    read = read_history(history(tmp_path / "history.jsonl", {"kind": "note", "text": "hello"}, epoch(0)))
    assert len(read.epochs) == 1


@pytest.mark.parametrize("line", ['{"kind": "epoch", "epoch": 1', '{"kind": "epoch", "epoch": 0}', "[]"])
def test_a_damaged_line_is_named_with_its_number(tmp_path, line):
    path = history(tmp_path / "history.jsonl", epoch(0))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(SlimlineError) as error:
        read_history(path)
    assert error.value.where == f"{path}, line 2"


def test_a_missing_history_is_a_mistake_of_the_user(tmp_path):
    with pytest.raises(SlimlineError):
        read_history(tmp_path / "history.jsonl")


def predictions(path, logits, labels=(0, 0, 1, 2), ids="abcd"):
    file = Predictions(list(ids), np.array(labels, dtype=np.int64), np.array(logits, dtype=np.float32))
    write_predictions(path, file)
    return path


FIRST = [[2, 1, 0], [0, 1, 0], [0, 3, 1], [1, 1, 0]]  # right, wrong, right, tied
SECOND = [[2, 1, 0], [2, 1, 0], [0, 3, 1], [0, 1, 5]]  # all right


@pytest.fixture
def answers(tmp_path):
    return read_answers([predictions(tmp_path / "0.parquet", FIRST), predictions(tmp_path / "1.parquet", SECOND)])


def test_confusions_are_summed_over_seeds_and_ties_stand_apart(answers):
    assert answers.confusion().tolist() == [[3, 1, 0, 0], [0, 2, 0, 0], [0, 0, 1, 1]]


def test_support_counts_images_not_answers(answers):
    assert answers.support().tolist() == [2, 1, 1]


def test_recall_is_the_mean_over_seeds_with_an_interval_no_narrower_than_one_trial_an_answer(answers):
    recall = answers.recall(0, 0.95)
    assert recall.value == 0.75
    assert 0.0 <= recall.low < 0.75 < recall.high <= 1.0


def test_precision_counts_the_answers_given(answers):
    assert answers.precision(0) == 1.0
    assert answers.precision(1) == pytest.approx(2 / 3)


def test_a_class_without_test_images_or_answers_has_no_figures(tmp_path):
    read = read_answers([predictions(tmp_path / "0.parquet", [[2, 1, 0]] * 4, labels=(0, 0, 1, 1))])
    assert read.recall(2, 0.95) is None
    assert read.precision(2) is None


def test_seeds_that_answered_other_images_are_refused(tmp_path):
    first = predictions(tmp_path / "0.parquet", FIRST)
    second = predictions(tmp_path / "1.parquet", SECOND, ids="abce")
    with pytest.raises(SlimlineError) as error:
        read_answers([first, second])
    assert error.value.where == str(second)
