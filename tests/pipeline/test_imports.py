"""Rules that do not compute with torch do not import it: they start fast and run where it is missing."""

import pytest

pytestmark = pytest.mark.pipeline


@pytest.fixture
def poison(tmp_path):
    """A folder for the import path in which torch and torchvision refuse to be imported."""
    folder = tmp_path / "poison"
    for name in ("torch", "torchvision"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('torch was imported')\n")
    return folder


def test_they_run_where_torch_cannot_be_imported(finished_copy, poison):
    path = f"{poison}:{finished_copy.folder / 'scripts'}"
    data = [f"data/digits/{name}" for name in ("download.json", "audit.json")]
    (stats,) = finished_copy.folder.glob("data/digits/prepared-*/stats.json")
    targets = [*data, stats.relative_to(finished_copy.folder)]
    forced = ["--forcerun", "download", "audit", "preprocess"]
    finished_copy.snakemake(*targets, *forced, "--cores", 2, PYTHONPATH=path)

    finished_copy.snakemake("--touch", "--cores", 1)  # the data are the same, only newer
    results = finished_copy.folder / "results/digits"
    for pattern in ("int8/seed-0/*", "*/seed-0/predictions.parquet", "*/seed-0/latency.json"):
        for file in results.glob(pattern):
            file.unlink()
    for name in ("plan.json", "metrics.csv", "metrics.json", "report.html"):
        (results / name).unlink()
    jobs = finished_copy.jobs()
    assert set(jobs) == {"quantize", "prove", "plan", "predict", "latency", "compare", "report", "all"}
    finished_copy.snakemake("--cores", 2, PYTHONPATH=path)
    assert (results / "report.html").exists()


def test_the_poison_works(finished_copy, poison):
    path = f"{poison}:{finished_copy.folder / 'scripts'}"
    (finished_copy.folder / "results/digits/dense/seed-0/export.json").unlink()
    result = finished_copy.snakemake(
        "results/digits/dense/seed-0/export.json", "--cores", 1, check=False, PYTHONPATH=path
    )
    assert result.returncode != 0
    assert "torch was imported" in result.stdout
