from dataclasses import replace

import pytest
from html_tree import parse_html
from report_fixture import SCENARIOS, write_experiment

from slimline.reporting.inputs import pair_files, read_evidence
from slimline.reporting.records import Attempt, Job, Plan
from slimline.reporting.sections.cost import cpu_hours, memory_share, time_share, unfinished, waiting_seconds
from slimline.reporting.sections.notices import collect_notices


@pytest.fixture(scope="module")
def notices(tmp_path_factory):
    """Notices of every scenario as (severity, subject, message)."""
    found = {}
    for name, scenario in SCENARIOS.items():
        evidence = read_evidence(write_experiment(tmp_path_factory.mktemp(name), scenario))
        found[name] = [(n.severity, n.subject, n.message) for n in collect_notices(evidence)]
    return found


def has(notices, severity, subject, words):
    return any(n[0] == severity and n[1] == subject and words in n[2].replace("\u00a0", " ") for n in notices)


@pytest.mark.parametrize(
    ("severity", "subject", "words"),
    [
        ("error", "int8-chance", "Not shown to be better than always answering the most frequent class"),
        (
            "error",
            "int8-chance",
            "Not what it is said to be (not-quantized): seed 0: the file is said to be int8 and has no",
        ),
        ("error", "int8", "quantized-logits"),
        ("warning", "int8", "the time of dense, which it was made of: never recommended"),
        ("warning", "int8", "no one largest logit"),
        ("warning", "pruned", "Fails the gate on accuracy drop."),
        ("warning", "int8", "Fails the gate on accuracy drop and latency ratio."),
        ("warning", "latency", "changed by up to +16 %"),
        ("warning", "training", "Up to 96 % of the planned memory"),
        ("warning", "provenance", "Files differ from the commit"),
        ("info", "pruned", "80 % of its weights are zero: smaller only when compressed"),
        ("info", "training", "6 attempts ended as lost"),
        ("info", "training", "dense seed 0 (4, then 1)"),
        ("info", "latency", "up to 1.6 cores busy with it"),
        ("info", "portability", "Weights of 8 bits: int8."),
    ],
)
def test_what_went_wrong_is_said(notices, severity, subject, words):
    assert has(notices["failing"], severity, subject, words)


def test_variants_that_do_not_exist_are_errors(notices):
    assert has(notices["unmade"], "error", "pruned", "Failed: The model convnet cannot be pruned this way")


@pytest.mark.parametrize(
    ("severity", "subject", "words"),
    [
        ("info", "data: leakage", "training copies were left out"),
        ("warning", "data: corrupt", "cannot be read"),
        ("warning", "seeds", "1 seed per variant"),
        ("info", "provenance", "No git repository"),
    ],
)
def test_what_the_audit_found_and_what_is_unknown_is_said(notices, severity, subject, words):
    assert has(notices["alone"], severity, subject, words)


def test_a_sound_run_has_nothing_to_say_but_of_its_gate(notices):
    assert {subject for _, subject, _ in notices["five"]} <= {"pruned", "int8", "pruned-int8", "student"}
    assert all("nconclusive" in message or "gate" in message for _, _, message in notices["five"])


def test_slower_than_dense_of_which_it_was_made_is_said_once(notices):
    of_dense = [message for _, subject, message in notices["failing"] if subject == "int8" and "of dense" in message]
    assert len(of_dense) == 1


def test_slower_than_dense_alone_is_said_too(tmp_path):
    evidence = read_evidence(write_experiment(tmp_path, SCENARIOS["five"]))
    slow = {"latency_ratio": 1.2}
    variants = [
        record.model_copy(update=slow if record.parent == "pruned" else {}) for record in evidence.metrics.variants
    ]
    metrics = evidence.metrics.model_copy(update={"variants": variants})
    found = [(n.severity, n.subject, n.message) for n in collect_notices(replace(evidence, metrics=metrics))]
    assert has(found, "warning", "pruned-int8", "the time of dense: compressed, but not faster")


def test_errors_come_first(notices):
    order = [["error", "warning", "info"].index(severity) for severity, _, _ in notices["failing"]]
    assert order == sorted(order)


def test_notices_are_plain_text(notices):
    for message in (n[2] for found in notices.values() for n in found):
        assert not parse_html(message.replace("<", "&lt;")).all("b", "script")


def job(**changes):
    values = {
        "ranks": 2,
        "threads_per_rank": 3,
        "precision": "fp32",
        "device": "cpu",
        "seconds": 600.0,
        "peak_memory_mb": 400.0,
        "planned": {"memory_mb": 1000, "time_min": 20},
    }
    return Job.model_validate(values | changes)


def attempt(state, minutes):
    return Attempt(
        state=state, started_utc="2025-06-01T10:00:00+00:00", ended_utc=f"2025-06-01T10:{minutes:02d}:00+00:00"
    )


def plan(tasks_per_node):
    return Plan(
        variant="dense",
        parallelism="ddp",
        nodes=1,
        tasks_per_node=tasks_per_node,
        cpus_per_task=3,
        gpus_per_node=0,
        micro_batch=1,
        accumulation=1,
        precision="fp32",
        memory_mb=1000,
        time_min=20,
        cost_cpu_h=1.0,
        cost_gpu_h=0.0,
        seeds=[0],
    )


def test_cpu_hours_are_cores_times_training_and_count_lost_attempts_from_submission():
    assert cpu_hours(job()) == pytest.approx(1.0)
    lost = [attempt("LOST", 5), attempt("COMPLETED", 12)]
    assert cpu_hours(job(attempts=lost)) == pytest.approx(1.5)
    assert [a.state for a in unfinished(job(attempts=lost))] == ["LOST"]


def test_waiting_is_what_is_not_training():
    assert waiting_seconds(job(attempts=[attempt("COMPLETED", 12)])) == pytest.approx(120.0)
    assert waiting_seconds(job()) is None
    assert waiting_seconds(job(attempts=[Attempt(state="COMPLETED")])) is None


def test_memory_counts_all_ranks_of_a_node():
    assert memory_share(job(), plan(2)) == pytest.approx(0.8)
    assert memory_share(job(), plan(1)) == pytest.approx(0.4)
    assert memory_share(job(device="cuda"), plan(2)) is None
    assert memory_share(job(planned={}), plan(2)) is None


def test_time_is_held_against_the_limit():
    assert time_share(job()) == pytest.approx(0.5)
    assert time_share(job(planned={})) is None


def test_files_are_paired_by_variant_and_seed_and_quantized_ones_have_no_history():
    runs = pair_files(
        [("dense", 0), ("int8", 0)],
        ["d.parquet", "i.parquet"],
        ["d.json", "i.json"],
        ["de.json", "ie.json"],
        ["dp.json", "ip.json"],
        [("dense", 0)],
        ["history.jsonl"],
        ["job.json"],
    )
    assert [(run.variant, run.history is not None, run.job is not None) for run in runs] == [
        ("dense", True, True),
        ("int8", False, False),
    ]
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        pair_files([("dense", 0)], [], [], [], [], [], [], [])
