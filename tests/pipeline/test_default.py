"""The embedded default, as a new user gets it."""

import json
import zipfile

import pandas as pd
import pytest

pytestmark = pytest.mark.pipeline

SEEDS = 3

COLUMNS = [
    "experiment", "variant", "parent", "seed", "n_test", "accuracy",
    "accuracy_ci_low", "accuracy_ci_high", "parameters", "size_bytes", "macs", "latency_p50_ms",
    "latency_p95_ms", "latency_p99_ms", "batch_size", "threads", "onnx_parity_max_abs",
]  # fmt: skip


@pytest.fixture(scope="module")
def metrics(finished):
    return pd.read_csv(finished.folder / "results/digits/metrics.csv")


def test_one_row_per_variant_and_seed_with_the_promised_columns(metrics):
    assert list(metrics.columns[: len(COLUMNS)]) == COLUMNS
    assert metrics[COLUMNS].drop(columns="parent").notna().all().all()
    pairs = set(zip(metrics.variant, metrics.seed, strict=True))
    assert pairs == {(v, s) for v in ("dense", "pruned", "int8", "pruned-int8", "student") for s in (0, 1, 2)}
    assert len(metrics) == 15


def test_the_figures_are_as_good_as_promised(metrics):
    accuracy = metrics.groupby("variant").accuracy.mean()
    assert accuracy["dense"] >= 0.98
    assert abs(accuracy["int8"] - accuracy["dense"]) <= 0.005
    size_bytes = metrics.groupby("variant").size_bytes.max()
    assert (size_bytes.drop("dense") < size_bytes["dense"]).all()
    in_float = metrics[~metrics.variant.str.contains("int8")]
    assert (in_float.onnx_parity_max_abs <= 1e-4).all()
    assert ((metrics.accuracy_ci_low <= metrics.accuracy) & (metrics.accuracy <= metrics.accuracy_ci_high)).all()
    assert (
        (metrics.latency_p50_ms <= metrics.latency_p95_ms) & (metrics.latency_p95_ms <= metrics.latency_p99_ms)
    ).all()


def test_sizes_are_those_of_the_files_that_ship(finished, metrics):
    for row in metrics.itertuples():
        path = finished.folder / f"results/digits/{row.variant}/seed-{row.seed}/model.onnx"
        assert path.stat().st_size == row.size_bytes


def test_it_ends_with_the_verdict_and_the_path_of_the_report(finished):
    end = (finished.folder / "first-run.txt").read_text()
    verdict = json.loads((finished.folder / "results/digits/metrics.json").read_text())["verdict"]
    assert " ".join(verdict["headline"].split()) in " ".join(end.split())
    assert "Report: results/digits/report.html" in end


def test_run_again_it_does_nothing_and_says_so(finished):
    result = finished.snakemake("--cores", 4)
    assert "Nothing to be done" in result.stdout
    assert finished.jobs() == {}


def test_every_rule_has_a_log_and_a_benchmark(finished):
    results, data = finished.folder / "results/digits", finished.folder / "data/digits"
    trained, quantized, all_rows = 3 * SEEDS, 2 * SEEDS, 5 * SEEDS
    jobs = 3 + trained + trained + quantized + 3 * all_rows + 3  # plans, training, export, ..., plan, compare, report
    assert len(list(results.glob("logs/**/*.log"))) == jobs
    assert len(list(results.glob("benchmarks/**/*.tsv"))) == jobs
    assert {path.stem for path in data.glob("**/*.log")} == {"download", "audit", "preprocess"}
    assert {path.stem for path in data.glob("**/*.tsv")} == {"download", "audit", "preprocess"}


def test_snakemakes_own_report_carries_ours(finished):
    finished.snakemake("--report", "all.zip")
    with zipfile.ZipFile(finished.folder / "all.zip") as archive:
        ours = (finished.folder / "results/digits/report.html").read_bytes()
        assert any(archive.read(name) == ours for name in archive.namelist() if name.endswith(".html"))


def test_nothing_is_left_half_written(finished):
    assert [path for path in finished.folder.rglob("*.tmp*") if ".snakemake" not in path.parts] == []
