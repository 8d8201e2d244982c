"""From the files of every model to metrics.csv and metrics.json."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from comparison_workspace import N_TEST, WRONG, Workspace
from evaluation_fixtures import (
    CLASSES,
    make_experiment,
    make_row,
    write_export,
    write_latency,
)

from slimline.errors import SlimlineError
from slimline.evaluation.compare import format_csv
from slimline.evaluation.prediction_file import read_predictions, write_predictions
from slimline.evaluation.statistics import wilson_interval
from slimline.failed import Failure, mark

# With more training alone, dense would get better.
CONTROL = {("control-5", 0): range(4), ("control-5", 1): range(5, 9)}
CONTRACT_COLUMNS = [
    *("experiment", "variant", "parent", "seed", "n_test", "accuracy", "accuracy_ci_low", "accuracy_ci_high"),
    *("parameters", "size_bytes", "macs", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "batch_size"),
    *("threads", "onnx_parity_max_abs"),
]


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def test_variants_in_order_with_their_place_in_the_tree(workspace):
    metrics = workspace.compare()
    assert [(v.variant, v.parent, v.step) for v in metrics.variants] == [
        ("dense", None, "train"),
        ("pruned", "dense", "prune"),
        ("pruned-int8", "pruned", "quantize"),
    ]
    assert [(row.variant, row.seed) for row in metrics.rows] == list(WRONG)


def test_figures_of_a_variant(workspace):
    dense, pruned, int8 = workspace.compare().variants
    assert (dense.status, dense.accuracy_delta, dense.gate) == ("reference", None, [])
    assert dense.latency_ratio == 1.01  # measured A/A, not set
    assert dense.accuracy_mean == pytest.approx(0.95)
    assert pruned.accuracy_mean == pytest.approx(1 - 11 / 200)
    assert (pruned.accuracy_min, pruned.accuracy_max) == (0.94, 0.95)
    assert pruned.accuracy_delta == pytest.approx(-0.005)
    assert pruned.accuracy_delta_ci_low < -0.005 < pruned.accuracy_delta_ci_high
    assert (pruned.accuracy_delta_min, pruned.accuracy_delta_max) == pytest.approx((-0.01, 0.0))
    assert pruned.prediction_flips == pytest.approx(0.005)
    assert (pruned.size_ratio, pruned.latency_ratio) == pytest.approx((0.5, 0.6))  # the median over seeds
    assert (pruned.status, int8.status) == ("pass", "fail")


def test_figures_of_a_row(workspace):
    row = workspace.compare().rows[2]
    assert (row.variant, row.seed, row.n_test) == ("pruned", 0, N_TEST)
    assert row.accuracy == 0.94
    assert (row.accuracy_ci_low, row.accuracy_ci_high) == pytest.approx(wilson_interval(0.94, N_TEST, 0.95))
    assert row.accuracy_delta == pytest.approx(-0.01)
    assert row.prediction_flips == pytest.approx(0.01)
    assert row.size_ratio == 0.5


def test_the_verdict_follows_from_the_figures(workspace):
    verdict = workspace.compare().verdict
    assert verdict.recommended == "pruned"
    assert verdict.headline == (
        "Ship pruned: 94.5 % accurate; against dense 0.50 points less accurate, 1.67x faster, 2.0x smaller."
    )


def test_ratios_are_gated_where_limits_are_declared(workspace):
    gate = {"accuracy_drop": 0.1, "latency_ratio": 0.5, "size_ratio": 0.5}
    pruned = workspace.compare(experiment=make_experiment(gate=gate)).variants[1]
    assert [(check.criterion, check.status) for check in pruned.gate] == [
        ("accuracy_drop", "pass"),
        ("latency_ratio", "fail"),
        ("size_ratio", "pass"),
    ]
    assert pruned.status == "fail"


def test_an_undecided_loss_says_what_would_settle_it(workspace):
    pruned = workspace.compare(experiment=make_experiment(gate={"accuracy_drop": 0.008})).variants[1]
    (check,) = pruned.gate
    assert check.status == "inconclusive"
    assert check.items_needed > N_TEST


def test_ties_count_as_wrong(workspace):
    workspace.write_predictions(workspace.runs[2].predictions, tied=range(50, 90))
    row = workspace.compare().rows[2]
    assert (row.tied_share, row.accuracy) == (0.2, 0.8)


def test_equal_figures_give_equal_csv_bytes(workspace):
    workspace.compare()
    first = (workspace.folder / "metrics.csv").read_bytes()
    workspace.compare(list(reversed(workspace.runs)))
    assert (workspace.folder / "metrics.csv").read_bytes() == first


def test_csv_columns_begin_as_the_contract_says(workspace):
    workspace.compare()
    with (workspace.folder / "metrics.csv").open(newline="") as file:
        header, dense, *rest = csv.reader(file)
    assert header[: len(CONTRACT_COLUMNS)] == CONTRACT_COLUMNS
    assert dense[:6] == ["tiny", "dense", "", "0", "200", "0.95"]
    assert len(rest) == 5


def test_floats_have_six_digits_and_nothing_is_nothing():
    (_, row) = csv.reader(format_csv([make_row(accuracy=1 / 3, latency_p50_ms=0.1 + 0.2)]).splitlines())
    assert row[5] == "0.333333"
    assert row[11] == "0.3"
    assert row[2] == ""
    assert row[16] == "1.19209e-07"


def test_every_metric_of_the_rows_is_described(workspace):
    described = workspace.compare().metrics
    assert described["accuracy"].ci == "Wilson score, 95 %"
    assert described["accuracy"].higher_is_better
    assert not described["size_bytes"].higher_is_better
    assert set(described) < set(json.loads((workspace.folder / "metrics.json").read_text())["rows"][0])


@pytest.mark.parametrize("change", [lambda runs: runs[:-1], lambda runs: [*runs, runs[0]], lambda runs: [runs[0]] * 6])
def test_a_missing_or_repeated_model_is_refused(workspace, change):
    with pytest.raises(SlimlineError, match="not those of the experiment"):
        workspace.compare(change(workspace.runs))


def test_another_order_of_images_is_refused(workspace):
    workspace.write_predictions(workspace.runs[3].predictions, order=np.arange(N_TEST)[::-1])
    with pytest.raises(SlimlineError, match="not for the images of the test split") as error:
        workspace.compare()
    assert str(workspace.runs[3].predictions) in str(error.value)


def test_other_images_are_refused(workspace):
    path = workspace.runs[3].predictions
    predictions = read_predictions(path)
    write_predictions(path, replace(predictions, sample_ids=["another", *predictions.sample_ids[1:]]))
    with pytest.raises(SlimlineError, match="not for the images of the test split"):
        workspace.compare()


def test_other_labels_are_refused(workspace):
    path = workspace.runs[3].predictions
    predictions = read_predictions(path)
    write_predictions(path, replace(predictions, labels=(predictions.labels + 1) % CLASSES))
    with pytest.raises(SlimlineError, match="not for the images of the test split"):
        workspace.compare()


@pytest.mark.parametrize("kind", ["latency", "export"])
def test_a_file_of_another_model_is_refused(workspace, kind):
    write = {"latency": write_latency, "export": write_export}[kind]
    write(getattr(workspace.runs[1], kind), variant="dense", seed=0)
    with pytest.raises(SlimlineError, match="about another model"):
        workspace.compare()


def test_other_conditions_are_refused(workspace):
    write_latency(workspace.runs[4].latency, variant="pruned-int8", seed=0, threads=4)
    with pytest.raises(SlimlineError, match="same conditions"):
        workspace.compare()


def test_an_export_without_a_figure_is_refused_by_its_key(workspace):
    value = json.loads(workspace.runs[0].export.read_text())
    del value["parity"]["max_abs"]
    workspace.runs[0].export.write_text(json.dumps(value))
    with pytest.raises(SlimlineError) as error:
        workspace.compare()
    assert "parity.max_abs" in str(error.value)


def with_control(**gate):
    evaluation = {"bootstrap_resamples": 1000}
    return make_experiment(evaluation=evaluation, gate={"accuracy_drop": 0.1, **gate})


@pytest.fixture
def controlled(tmp_path):
    return Workspace(tmp_path, WRONG | CONTROL)


def test_a_control_is_a_reference_and_never_recommended(controlled):
    metrics = controlled.compare(experiment=with_control())
    dense, control, pruned, _ = metrics.variants
    assert (control.variant, control.parent, control.step) == ("control-5", "dense", "finetune")
    assert (control.status, control.gate, control.control) == ("reference", [], None)
    assert control.accuracy_mean > pruned.accuracy_mean
    assert control.accuracy_delta == pytest.approx(0.03)
    assert (control.is_control, dense.is_control, pruned.is_control) == (True, False, False)
    assert metrics.verdict.recommended == "pruned"
    reason = "control-5 is dense trained on for as many steps as pruned, pruned-int8 after it: a reference"
    assert any(text.startswith(reason) for text in metrics.verdict.reasons)


def test_every_variant_of_a_chain_is_compared_with_its_control(controlled):
    metrics = controlled.compare(experiment=with_control())
    dense, _, pruned, int8 = metrics.variants
    assert (dense.control, pruned.control, int8.control) == (None, "control-5", "control-5")
    assert pruned.accuracy_delta_control == pytest.approx(-0.035)
    assert pruned.accuracy_delta_control_ci_low < -0.035 < pruned.accuracy_delta_control_ci_high < 0
    assert (pruned.accuracy_delta_control_min, pruned.accuracy_delta_control_max) == pytest.approx((-0.04, -0.03))
    rows = {(row.variant, row.seed): row for row in metrics.rows}
    assert rows["pruned", 0].accuracy_delta_control == pytest.approx(-0.04)
    assert (rows["dense", 0].control, rows["dense", 0].accuracy_delta_control) == (None, None)
    (reason,) = [text for text in metrics.verdict.reasons if text.startswith("pruned passes")]
    assert "against dense trained for as many steps (control-5) 3.50 points less accurate (95 % CI -" in reason


def test_the_gate_can_hold_variants_against_their_control(controlled):
    gate = {"accuracy_drop": 0.03}
    to_dense = controlled.compare(experiment=with_control(**gate)).variants[2]
    metrics = controlled.compare(experiment=with_control(**gate, reference="control"))
    to_control = metrics.variants[2]
    assert [(v.status, v.gate[0].reference) for v in (to_dense, to_control)] == [
        ("pass", "dense"),
        ("fail", "control-5"),
    ]
    assert (to_dense.gate[0].value, to_control.gate[0].value) == pytest.approx((0.005, 0.035))
    assert any(
        "accuracy drop against dense trained for as many steps (control-5) 3.50" in r for r in metrics.verdict.reasons
    )


def test_a_control_that_could_not_be_measured_lets_nothing_pass_against_dense_instead(controlled):
    (lost,) = [run for run in controlled.runs if (run.variant, run.seed) == ("control-5", 1)]
    mark(
        [lost.predictions, lost.latency, lost.export, lost.proof],
        Failure("control-5", 1, "finetune", "diverged", "The loss is not finite."),
    )
    gate = {"accuracy_drop": 0.1}
    against_dense = controlled.compare(experiment=with_control(**gate))
    against_control = controlled.compare(experiment=with_control(**gate, reference="control"))
    checks = [metrics.variants[1].gate[0] for metrics in (against_dense, against_control)]
    assert [(check.status, check.missing_reference) for check in checks] == [
        ("pass", None),
        ("inconclusive", "control-5"),
    ]
    assert (against_dense.verdict.recommended, against_control.verdict.recommended) == ("pruned", "dense")
    assert any("against control-5, which is not there" in reason for reason in against_control.verdict.reasons)


def test_a_variant_without_a_control_is_held_against_dense(workspace):
    """As one that was not trained."""
    variants = {name: {"from": "dense", "quantize": {}} for name in ("pruned", "pruned-int8")}
    gate, evaluation = {"accuracy_drop": 0.1, "reference": "control"}, {"bootstrap_resamples": 1000}
    experiment = make_experiment(variants=variants, gate=gate, evaluation=evaluation)
    assert workspace.compare(experiment=experiment).variants[1].gate[0].reference == "dense"
