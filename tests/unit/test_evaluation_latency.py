"""Timing in fresh processes. No test asserts a duration: only counts, order, arithmetic and failures."""

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from evaluation_fixtures import SHAPE, write_model

from slimline.config.evaluation import LatencyConfig
from slimline.cpu import cpu_name
from slimline.errors import SlimlineError
from slimline.evaluation import latency
from slimline.evaluation.latency import References, Times, measure_latency, read_image_shape, runs_within
from slimline.evaluation.latency_record import LatencyRecord
from slimline.evaluation.latency_worker import serve, time_runs
from slimline.evaluation.record_base import read_record
from slimline.models.openvino_session import has_bf16
from slimline.models.target import Target

SETTINGS = LatencyConfig(batch_size=2, threads=1, warmup_runs=2, timed_runs=105)


def test_a_tiny_model_is_timed(tmp_path):
    model, dense = write_model(tmp_path / "m.onnx"), write_model(tmp_path / "dense.onnx")
    measure_latency(model, References(dense), SETTINGS, SHAPE, tmp_path / "latency.json", "int8", 3)
    record = read_record(tmp_path / "latency.json", LatencyRecord)
    assert (record.variant, record.seed, record.batch_size, record.threads) == ("int8", 3, 2, 1)
    assert (record.warmup_runs, record.timed_runs) == (2, 105)
    assert (record.runtime, record.provider) == ("onnxruntime", "CPUExecutionProvider")
    assert 0 < record.p50_ms <= record.p95_ms <= record.p99_ms
    assert record.baseline.variant == "dense"
    assert record.ratio_p50 > 0
    assert record.device == cpu_name()


def test_a_model_that_cannot_run_is_named(tmp_path):
    dense = write_model(tmp_path / "dense.onnx")
    broken = write_model(tmp_path / "broken.onnx", shape=(1, 9, 9))
    with pytest.raises(SlimlineError, match="cannot be timed") as error:
        measure_latency(broken, References(dense), SETTINGS, SHAPE, tmp_path / "latency.json", "int8", 0)
    assert "broken.onnx" in str(error.value)
    assert not (tmp_path / "latency.json").exists()


def test_a_model_that_cannot_be_loaded_is_named(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    dense = write_model(tmp_path / "d.onnx")
    with pytest.raises(SlimlineError, match="cannot be read") as error:
        measure_latency(tmp_path / "broken.onnx", References(dense), SETTINGS, SHAPE, tmp_path / "l.json", "int8", 0)
    assert "broken.onnx" in str(error.value)


def test_a_process_that_dies_is_reported_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(latency.sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").write_text("#!/bin/sh\necho 'Illegal instruction' >&2\nexit 132\n")
    (tmp_path / "python").chmod(0o700)
    model = write_model(tmp_path / "m.onnx")
    with pytest.raises(SlimlineError, match="died") as error:
        measure_latency(model, References(model), SETTINGS, SHAPE, tmp_path / "latency.json", "int8", 0)
    assert "exit code 132: Illegal instruction" in str(error.value)


def rounds_of(*walls_ms):
    return [Times(np.full(5, wall_ms), np.full(5, wall_ms)) for wall_ms in walls_ms]


class FakeWorker:
    """Answers like a worker, from given wall times, and notes when it was asked."""

    def __init__(self, name, journal, wall_ms):
        self.name, self.journal, self.wall_ms = name, journal, iter(wall_ms)

    def time(self, timed, *, untimed=latency.SETTLING_RUNS, settle_ms=latency.SETTLE_MS):
        self.journal.append((self.name, untimed, settle_ms, timed))
        return Times(np.full(timed, next(self.wall_ms)), np.full(timed, 0.5))


def test_turns_begin_and_end_with_the_baseline():
    journal = []
    artifact = FakeWorker("artifact", journal, [1.0] * 26)
    baseline = FakeWorker("baseline", journal, [2.0] * 27)
    artifact_rounds, (baseline_rounds,) = latency._take_turns(artifact, [baseline], SETTINGS)
    assert journal[:2] == [("baseline", 1, 0, 1), ("artifact", 1, 0, 1)]  # two warm-ups each, the second one timed
    turns = journal[2:]
    assert [name for name, *_ in turns] == ["baseline", "artifact"] * 25 + ["baseline"]
    assert {turn[1:3] for turn in turns} == {(latency.SETTLING_RUNS, latency.SETTLE_MS)}
    assert sum(len(times.wall_ms) for times in artifact_rounds) == 105
    assert len(baseline_rounds) == 26


def test_a_parent_that_is_another_than_dense_takes_turns_too():
    journal = []
    workers = [FakeWorker(name, journal, [1.0] * 27) for name in ("artifact", "dense", "pruned")]
    _, references = latency._take_turns(workers[0], workers[1:], SETTINGS)
    turns = [name for name, *_ in journal[3:]]
    assert turns == ["dense", "pruned", *["artifact", "dense", "pruned"] * 25]
    assert [len(rounds) for rounds in references] == [26, 26]


def test_a_variant_is_timed_against_its_own_parent(tmp_path):
    paths = [write_model(tmp_path / f"{name}.onnx") for name in ("m", "dense", "pruned")]
    references = References(paths[1], "pruned", paths[2])
    measure_latency(paths[0], references, SETTINGS, SHAPE, tmp_path / "latency.json", "pruned-int8", 0)
    record = read_record(tmp_path / "latency.json", LatencyRecord)
    assert (record.baseline.variant, record.parent.variant) == ("dense", "pruned")
    assert record.ratio_parent_p50 > 0


def for_openvino(path):
    model = onnx.load(path)
    Target("openvino").write(model)
    onnx.save(model, path)
    return path


def test_a_quantized_file_is_timed_against_float_in_its_own_runtime(tmp_path):
    model, dense = for_openvino(write_model(tmp_path / "m.onnx")), write_model(tmp_path / "dense.onnx")
    references = References(dense, "dense", dense, "int8")
    measure_latency(model, references, SETTINGS, SHAPE, tmp_path / "latency.json", "int8", 0)
    record = read_record(tmp_path / "latency.json", LatencyRecord)
    assert (record.runtime, record.precision, record.provider) == ("openvino", "f32", "CPU")
    assert [each.precision for each in record.floats] == ["f32", *(["bf16"] if has_bf16() else [])]
    assert record.ratio_float_p50 == max(each.ratio_p50 for each in record.floats) > 0
    assert record.ratio_p50 == record.ratio_parent_p50  # both are against dense in ONNX Runtime


def test_where_the_parent_is_in_that_runtime_it_is_timed_once(tmp_path, monkeypatch):
    opened = []
    original = latency.Worker.__init__

    def noted(self, onnx, target, *others):
        opened.append((onnx, target))
        original(self, onnx, target, *others)

    monkeypatch.setattr(latency.Worker, "__init__", noted)
    model, dense = (write_model(tmp_path / name) for name in ("m.onnx", "dense.onnx"))
    references = References(dense, "dense", dense, "int8")
    measure_latency(model, references, SETTINGS, SHAPE, tmp_path / "latency.json", "int8", 0)
    record = read_record(tmp_path / "latency.json", LatencyRecord)
    assert opened == [(model, Target()), (dense, Target())]
    assert [each.precision for each in record.floats] == ["f32"]
    assert record.ratio_float_p50 == record.ratio_parent_p50


@pytest.mark.parametrize(
    ("dtype", "target", "precisions"),
    [
        (None, Target(), []),
        ("int8", Target(), ["f32"]),
        ("int8", Target("openvino"), ["f32", "bf16"]),
        ("bf16", Target("openvino", "bf16"), ["f32"]),
    ],
)
def test_the_floats_of_an_artifact_are_those_that_it_is_not(monkeypatch, dtype, target, precisions):
    monkeypatch.setattr(latency, "_has_bf16", lambda: True)
    floats = References(Path("d"), "dense", Path("d"), dtype).floats(target)
    assert [each.precision for each in floats] == precisions
    assert {each.runtime for each in floats} <= {target.runtime}


def test_where_the_parent_is_dense_it_is_timed_once(tmp_path):
    references = References(tmp_path / "dense.onnx", "dense", tmp_path / "dense.onnx")
    assert list(references.by_name) == ["dense"]


def test_long_runs_are_made_less_often():
    journal = []
    slow = [20_000.0] * 27
    rounds, _ = latency._take_turns(
        FakeWorker("artifact", journal, slow), [FakeWorker("baseline", journal, slow)], LatencyConfig()
    )
    assert sum(len(times.wall_ms) for times in rounds) == latency.FEWEST_RUNS


@pytest.mark.parametrize(("run_s", "runs"), [(0.0001, 1000), (0.06, 1000), (0.12, 500), (0.6, 100), (5.0, 100)])
def test_the_budget_bounds_the_runs(run_s, runs):
    assert runs_within(60.0, run_s, 1000) == runs


def test_drift_is_the_last_round_against_the_first():
    baseline = latency._summarise("dense", rounds_of(2.0, 9.0, 2.0, 2.0, 2.5))
    assert baseline.p50_ms == 2.0
    assert baseline.drift == pytest.approx(0.25)


def test_the_ratio_is_that_of_neighbouring_rounds():
    """The machine is four times slower in the second half, where the artifact has its one odd round as well."""
    baseline = rounds_of(1.0, 1.0, 1.0, 4.0, 4.0, 4.0)
    artifact = rounds_of(0.5, 0.5, 1.0, 2.0, 9.0)
    assert latency._ratio(artifact, baseline) == pytest.approx(0.5)


def test_the_worker_answers_each_request(tmp_path):
    target = {"runtime": "onnxruntime", "precision": "f32"}
    conditions = {"onnx": str(write_model(tmp_path / "m.onnx")), "target": target, "threads": 1, "seed": 0}
    conditions["shape"] = [2, *SHAPE]
    answers = io.StringIO()
    requests = ['{"timed": 3, "untimed": 0, "settle_ms": 0}', '{"timed": 0, "untimed": 2, "settle_ms": 0.01}']
    serve(conditions, requests, answers)
    opened, first, second = map(json.loads, answers.getvalue().splitlines())
    assert opened["provider"] == "CPUExecutionProvider"
    assert [len(first["wall_ns"]), len(first["cpu_ns"])] == [3, 3]
    assert all(wall_ns > 0 for wall_ns in first["wall_ns"])
    assert second == {"wall_ns": [], "cpu_ns": []}


class CountingSession:
    def __init__(self):
        self.runs = 0

    def run(self, images):
        self.runs += 1


def test_untimed_runs_come_on_top_of_the_timed():
    session = CountingSession()
    times = time_runs(session, np.zeros((1, *SHAPE), dtype=np.uint8), timed=5, untimed=7, settle_ms=0)
    assert (len(times["wall_ns"]), session.runs) == (5, 12)


def test_settling_takes_as_many_runs_as_fit_in_its_time():
    session = CountingSession()
    time_runs(session, np.zeros((1, *SHAPE), dtype=np.uint8), timed=0, untimed=1, settle_ms=2)
    assert session.runs > 1


def test_the_image_shape_is_that_of_the_prepared_data(tmp_path):
    (tmp_path / "stats.json").write_text('{"channels": 3, "height": 32, "width": 24}')
    assert read_image_shape(tmp_path / "stats.json") == (3, 32, 24)


@pytest.mark.parametrize(
    ("content", "name"),
    [("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Another\n", "Some CPU @ 3 GHz"), ("", None)],
)
def test_the_processor_is_named_from_cpuinfo(tmp_path, content, name):
    (tmp_path / "cpuinfo").write_text(content)
    found = cpu_name(tmp_path / "cpuinfo")
    assert found == name if name else found
