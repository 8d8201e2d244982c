"""What the verdict recommends, and that it says why."""

import pytest
from evaluation_fixtures import make_check, make_dense, make_row, make_variant
from proof_fixtures import make_failed

from slimline.evaluation.decision import decide
from slimline.evaluation.findings import Aim, Findings
from slimline.evaluation.proof_record import Problem


def verdict(*variants, dense=None, rows=None, majority_share=0.1, failed=(), aim=None):
    measured = [dense or make_dense(), *variants]
    return decide(Findings(measured, rows or [make_row()], majority_share, 0.95, list(failed), aim or Aim()))


def test_the_fastest_that_passed_is_recommended():
    decided = verdict(
        make_variant("pruned", latency_ratio=0.6),
        make_variant("int8", latency_ratio=0.3),
        make_variant("quick", "fail", latency_ratio=0.1),
        make_variant("maybe", "inconclusive", latency_ratio=0.2),
    )
    assert decided.recommended == "int8"
    assert decided.headline == (
        "Ship int8: 95.0 % accurate; against dense 0.20 points less accurate, 3.3x faster, 4.0x smaller."
    )


def test_a_worst_seed_is_held_against_what_the_gate_looks_at():
    check = make_check(reference="control-5")
    against_dense, against_control = (
        verdict(
            make_variant(
                gate=[check], control="control-5", accuracy_delta_min=to_dense, accuracy_delta_control_min=to_control
            )
        )
        for to_dense, to_control in ((-0.02, 0.0), (0.0, -0.02))
    )
    assert not any("its worst seed loses" in reason for reason in against_dense.reasons)
    assert any("its worst seed loses 2.00 points" in reason for reason in against_control.reasons)


def test_controls_are_no_candidates_however_good_they_are():
    control = make_variant(
        "control-5", "reference", step="finetune", accuracy_mean=0.99, accuracy_delta=0.04, latency_ratio=0.1
    )
    decided = verdict(control, make_variant("int8", latency_ratio=0.9, control="control-5"))
    assert decided.recommended == "int8"
    assert verdict(control).headline == "Ship dense: 95.0 % accurate; no compressed variant was asked for."


def test_of_variants_whose_speed_cannot_be_told_apart_the_more_accurate_ships():
    decided = verdict(
        make_variant("quick", latency_ratio=0.300, accuracy_mean=0.95),
        make_variant("good", latency_ratio=0.312, accuracy_mean=0.96, size_ratio=0.9),
        make_variant("slow", latency_ratio=0.330, accuracy_mean=0.99),
    )
    assert decided.recommended == "good"


def test_what_dense_timed_against_itself_comes_out_by_tells_nothing_apart():
    quick, good = (
        make_variant("quick", latency_ratio=0.70),
        make_variant("good", latency_ratio=0.78, accuracy_mean=0.96),
    )
    assert verdict(quick, good, rows=[make_row(latency_ratio=1.10)]).recommended == "quick"
    assert verdict(quick, good, rows=[make_row(latency_ratio=1.01), make_row(latency_ratio=0.86)]).recommended == "good"
    noisy = verdict(quick, rows=[make_row(latency_ratio=1.5)])
    assert noisy.headline.startswith("Ship quick for its size alone: ")


def test_equally_fast_and_accurate_variants_are_told_apart_by_size():
    decided = verdict(
        make_variant("large", latency_ratio=0.301, size_ratio=0.5), make_variant("small", latency_ratio=0.304)
    )
    assert decided.recommended == "small"


def test_a_variant_that_is_slower_is_recommended_for_its_size_and_it_says_so():
    decided = verdict(make_variant(parent="large", latency_ratio=1.3, latency_ratio_parent=0.9, size_ratio=0.25))
    assert decided.recommended == "int8"
    assert decided.headline.startswith("Ship int8 for its size alone: ")
    assert "1.30x slower" in decided.headline
    assert "1.30x slower, not faster: recommended for its size alone" in decided.reasons[0]


@pytest.mark.parametrize("ratio", [0.96, 1.0, 1.04])
def test_what_is_as_fast_within_the_error_of_the_timing_is_not_faster(ratio):
    assert verdict(make_variant("sparse", latency_ratio=ratio, size_ratio=1.0)).recommended == "dense"
    smaller = verdict(make_variant("smaller", latency_ratio=ratio, size_ratio=0.5))
    assert smaller.headline.startswith("Ship smaller for its size alone: ")
    assert "within the error of the timing: recommended for its size alone" in smaller.reasons[0]


def test_a_search_for_size_ends_with_the_smallest():
    variants = [make_variant("quick", latency_ratio=0.2, size_ratio=0.5), make_variant("small", latency_ratio=0.6)]
    decided = verdict(*variants, aim=Aim("size"))
    assert decided.recommended == "small"
    assert "It is the smallest that may be recommended." in decided.reasons[1]
    assert verdict(*variants).recommended == "quick"


def test_a_search_for_size_does_not_end_with_what_is_only_faster():
    quick = make_variant("quick", latency_ratio=0.2, size_ratio=1.2)
    decided = verdict(quick, aim=Aim("size", 0.01))
    assert decided.headline == (
        "Ship dense: no variant that passed can be recommended, because not smaller than dense (quick)."
    )
    assert decided.reasons[0].endswith("It cannot be recommended: it is not smaller than dense.")
    assert verdict(quick).recommended == "quick"


def test_a_search_that_found_nothing_says_so():
    assert verdict(aim=Aim("latency", 0.01)).headline == (
        "Ship dense: 95.0 % accurate; the search found nothing of use."
    )


def test_what_loses_more_than_the_search_was_allowed_is_not_recommended():
    near, far = make_check(value=0.005), make_check(value=0.008)
    variants = [
        make_variant("near", gate=[near], latency_ratio=0.5),
        make_variant("far", gate=[far], latency_ratio=0.2),
    ]
    decided = verdict(*variants, aim=Aim(accuracy_drop=0.005))
    assert decided.recommended == "near"
    assert "it loses more than the 0.50 points that `compress` allows" in decided.reasons[1]
    assert verdict(*variants).recommended == "far"
    alone = verdict(variants[1], aim=Aim(accuracy_drop=0.005))
    assert alone.headline == (
        "Ship dense: no variant that passed can be recommended, because 0.80 points lost against dense, more than the "
        "0.50 points that `compress` allows (far)."
    )


def test_a_variant_that_is_neither_faster_nor_smaller_is_not_recommended():
    decided = verdict(make_variant(latency_ratio=1.3, size_ratio=1.0))
    assert decided.recommended == "dense"
    assert decided.headline == (
        "Ship dense: no variant that passed can be recommended, because neither faster nor smaller than dense (int8)."
    )


PROBLEM = Problem(code="runs-in-float", message="it runs in float")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"latency_ratio_fp32": 1.3, "artifact_status": "slower than its own fp32"},
            "int8 passes: accuracy drop 0.20 points (95 % CI 0.10 to 0.80, limit 1.00). "
            "It cannot be recommended: 1.30x slower than its own fp32, dense in ONNX Runtime, timed in turns.",
        ),
        (
            {"step": "prune", "latency_ratio_parent": 1.3},
            "It cannot be recommended: 1.30x slower than dense, timed in turns.",
        ),
        (
            {"status": "fail", "artifact_status": "failed: it runs in float", "problems": [PROBLEM]},
            "int8 failed its proof, so it cannot be recommended: it runs in float.",
        ),
    ],
    ids=["slower than its fp32", "slower than its parent", "failed"],
)
def test_what_is_not_what_it_is_said_to_be_is_not_recommended_however_fast_it_is(changes, words):
    decided = verdict(make_variant(**{"latency_ratio": 0.1} | changes), make_variant("pruned", latency_ratio=0.6))
    assert decided.recommended == "pruned"
    assert words in decided.reasons[0]


def test_variants_that_do_not_exist_are_named_with_the_reason():
    decided = verdict(failed=[make_failed(failed_seeds=[1])])
    assert decided.headline == "Ship dense: no variant passed, because there is no such model (unmade)."
    assert decided.reasons == ["unmade failed: convnet cannot be pruned this way (seed 1)."]


def test_causes_of_what_may_not_ship_are_in_the_headline():
    decided = verdict(
        make_variant("int8", latency_ratio_parent=1.2, artifact_status="slower than its own fp32"),
        make_variant("student", step="distil", latency_ratio_parent=1.2),
        make_variant("coarse", "fail", artifact_status="failed: it runs in float", problems=[PROBLEM]),
    )
    assert decided.headline == (
        "Ship dense: no variant that passed can be recommended, because slower than its own fp32 (int8) and slower "
        "than its parent (student) and the proof failed (coarse)."
    )


def test_nothing_ships_when_dense_itself_failed_its_proof():
    dense = make_dense(artifact_status="failed: classes tie", problems=[PROBLEM])
    decided = verdict(make_variant(), dense=dense)
    assert decided.recommended is None
    assert decided.headline == "Ship nothing: dense failed: classes tie."


def test_dense_ships_when_nothing_passed_and_the_headline_says_why():
    latency = make_check("fail", criterion="latency_ratio", value=0.8, limit=0.5, ci_low=None, ci_high=None)
    decided = verdict(
        make_variant("pruned", "fail", gate=[make_check("fail"), latency]),
        make_variant("int8", "fail", gate=[make_check("pass"), latency]),
        make_variant("student", "inconclusive"),
    )
    assert decided.recommended == "dense"
    assert decided.headline == (
        "Ship dense: no variant passed, because accuracy and latency failed (pruned) and latency failed (int8) "
        "and accuracy was inconclusive (student)."
    )


def test_without_variants_dense_ships():
    assert verdict().headline == "Ship dense: 95.0 % accurate; no compressed variant was asked for."


def test_nothing_ships_when_dense_only_guesses():
    decided = verdict(make_variant(), dense=make_dense(accuracy_ci_low=0.2), majority_share=0.25)
    assert decided.recommended is None
    assert decided.headline.startswith("Ship nothing")


def test_a_variant_that_may_only_guess_is_not_recommended():
    decided = verdict(make_variant("pruned", accuracy_ci_low=0.89), majority_share=0.9)
    assert decided.recommended == "dense"
    assert "not shown to be better than always answering the most frequent class (pruned)" in decided.headline
    assert any("most frequent class (90.0 %)" in reason for reason in decided.reasons)


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({"items_needed": 4000, "seeds_needed": 9}, "about 4,000 test images (now 1,000) or 9 seeds (now 3)", "alone"),
        ({"items_needed": 4000}, "4,000 test images (now 1,000) would", " or "),
        ({"items_needed": 4000}, "more seeds alone would not", "9 seeds"),
        ({"items_needed": None}, "no number of test images is sure to settle it", "about"),
    ],
)
def test_inconclusive_says_what_would_settle_it(changes, said, unsaid):
    (reason,) = verdict(make_variant(status="inconclusive", gate=[make_check("inconclusive", **changes)])).reasons
    assert said in reason
    assert unsaid not in reason


def test_what_the_gate_asks_for_and_is_not_there_is_named():
    check = make_check("inconclusive", items_needed=None, missing_reference="control-5")
    (reason,) = verdict(make_variant(status="inconclusive", gate=[check])).reasons
    assert reason.endswith("but the gate asks for the loss against control-5, which is not there.")


def test_a_control_whose_proof_failed_or_that_nothing_is_left_for_says_so():
    control = make_variant("control-5", "reference", problems=[PROBLEM], artifact_status="failed: it runs in float")
    decided = verdict(control, make_variant("pruned", latency_ratio=0.5))
    assert decided.recommended == "pruned"
    assert "control-5, a control, failed its proof, so that nothing is held against it: it runs in float." in (
        decided.reasons
    )
    alone = verdict(make_variant("control-5", "reference"), failed=[make_failed()])
    assert any(reason.startswith("control-5 is dense trained on: a reference") for reason in alone.reasons)


def test_a_value_is_told_from_a_limit_that_it_is_beyond():
    gate = [
        make_check("fail", value=0.01004, ci_low=0.001, ci_high=0.02),
        make_check("fail", criterion="size_ratio", value=0.50004, limit=0.5, ci_low=None, ci_high=None),
    ]
    (reason,) = verdict(make_variant(status="fail", gate=gate)).reasons
    assert "accuracy drop 1.004 points (95 % CI 0.100 to 2.000, limit 1.000)" in reason
    assert "size ratio 0.50004, over the limit 0.5" in reason


def test_a_seed_beyond_the_limit_is_named():
    decided = verdict(make_variant(accuracy_delta_min=-0.018))
    assert any("its worst seed loses 1.80 points" in reason for reason in decided.reasons)
    assert not any("worst seed" in reason for reason in verdict(make_variant(accuracy_delta_min=-0.01)).reasons)


@pytest.mark.parametrize(("ratio", "told"), [(1.1, True), (0.98, True), (0.9, False), (None, False)])
def test_a_speed_that_is_not_that_of_the_numbers_is_named(ratio, told):
    """int8 that is fast by its runtime, in which bf16 is as fast."""
    changes = {"latency_ratio": 0.3, "latency_ratio_fp32": 0.6, "latency_ratio_float": ratio, "runtime": "openvino"}
    reasons = verdict(make_variant(**changes)).reasons
    assert any("int8 is no faster than dense in float in OpenVINO" in reason for reason in reasons) == told


def test_ties_are_named():
    decided = verdict(make_variant(tied_share=0.167))
    assert any("int8: 16.70 % of the test images have no single largest logit" in reason for reason in decided.reasons)


def test_an_unquiet_machine_is_named():
    rows = [make_row(latency_drift=0.02), make_row(variant="int8", seed=2, latency_drift=-0.3)]
    (remark,) = [reason for reason in verdict(make_variant(), rows=rows).reasons if "not quiet" in reason]
    assert "1 of 2 timings" in remark
    assert "int8, seed 2 (-30 %)" in remark


def test_an_error_of_the_timing_itself_is_named():
    rows = [
        make_row(latency_ratio=1.01),
        make_row(seed=1, latency_ratio=0.8),
        make_row(variant="int8", parent="dense", latency_ratio=3.0),
    ]
    remarks = verdict(make_variant(), rows=rows).reasons
    assert any("Dense timed against itself came out 1.25x faster" in remark for remark in remarks)
    assert not any("against itself" in remark for remark in verdict(make_variant()).reasons)


def test_different_processors_are_named():
    rows = [make_row(device="CPU A"), make_row(device="CPU B")]
    assert any("CPU A, CPU B" in reason for reason in verdict(make_variant(), rows=rows).reasons)


def test_not_tested_names_the_conditions():
    text = " ".join(verdict(make_variant()).not_tested)
    assert "Test CPU, 1 thread, batch 1" in text
    assert "corruptions" in text
    assert "there is one seed" in " ".join(verdict(make_variant(), dense=make_dense(n_seeds=1)).not_tested)
