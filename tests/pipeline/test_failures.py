"""What users do wrong, and what happens to them."""

import os
import signal
import subprocess

import pandas as pd
import pytest

from slimline.failed import Failure, mark

pytestmark = pytest.mark.pipeline

MOST_S_TO_END = 120


@pytest.mark.parametrize("arguments", [("--configfile", "bad.yaml"), ()], ids=["given", "default"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "got:      an empty file"),
        (b"- a\n- b\n", "got:      a list"),
        (b"experiment: x\n  dataset: [\n", "(line 2, column 10)"),
        (b"experiment: \xff\n", "The file is not UTF-8 text."),
        (None, "The file does not exist."),
        (b"experiment: digits\ndatasets: {name: digits}\n", "unknown key; did you mean `dataset`?"),
        (b"experiment: digits\ndataset: {name: digits}\nmodel: {name: resnt18}\ntrain: {epochs: 0}\n", "resnet18"),
    ],
    ids=["empty", "list", "not-yaml", "not-utf-8", "missing", "unknown-key", "wrong-values"],
)
def test_a_bad_config_is_one_clear_screen(clone, content, expected, arguments):
    file = clone.folder / (arguments[1] if arguments else "config/config.yaml")
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content)
    result = clone.snakemake("--dry-run", *arguments, check=False)
    assert result.returncode == 1
    assert expected in result.stdout
    assert f"where:    {file.relative_to(clone.folder)}" in result.stdout or "Nothing was run" in result.stdout
    assert "Traceback" not in result.stdout
    assert "WorkflowError" not in result.stdout
    assert "slimline: experiment" not in result.stdout


def test_a_mistake_that_shows_only_in_a_rule_is_one_clear_screen(clone, tiny):
    config = clone.write_config("missing", **(tiny | {"dataset": {"name": "cifar10"}}))
    result = clone.snakemake("--cores", 1, *config, check=False, SLIMLINE_MIRROR=str(clone.folder / "nowhere"))
    assert result.returncode != 0
    assert "slimline: download (cifar10) stopped." in result.stdout
    assert "cifar-10-binary.tar.gz" in result.stdout
    assert "Traceback" not in result.stdout


def test_a_step_that_cannot_be_done_is_a_row_with_its_reason_and_the_rest_is_made(clone, tiny):
    """With no more channels than the multiple that they are rounded to, there is nothing to prune."""
    variants = {
        "unmade": {"from": "dense", "prune": {"ratio": 0.01, "round_to": 64, "epochs": 1}},
        "unmade-int8": {"from": "unmade", "quantize": {}},
        "int8": {"from": "dense", "quantize": {}},
    }
    config = clone.write_config("tiny", **(tiny | {"variants": variants}))
    result = clone.snakemake("--cores", 2, *config)
    assert "slimline: prune (variant unmade, seed 0) cannot be done; the other variants go on." in result.stdout
    assert "unmade-int8 failed: its parent unmade failed: The model convnet cannot" in " ".join(result.stdout.split())
    metrics = pd.read_csv(clone.folder / "results/tiny/metrics.csv").set_index("variant")
    assert list(metrics.index) == ["dense", "unmade", "unmade-int8", "int8"]
    assert metrics.loc[["dense", "int8"], "accuracy"].notna().all()
    assert metrics.loc[["unmade", "unmade-int8"], ["accuracy", "latency_p50_ms", "size_bytes"]].isna().all(axis=None)
    assert "no channel was to go: the ratio is too small" in metrics.loc["unmade", "artifact_status"]
    assert metrics.loc["int8", "integer_operators"] > 0
    report = (clone.folder / "results/tiny/report.html").read_text(encoding="utf-8")
    assert "no channel was to go: the ratio is too small" in report
    assert clone.jobs("--cores", 1, *config) == {}


def test_a_training_that_diverges_is_a_row_with_its_reason_and_the_rest_is_made(clone, tiny):
    recipe = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.001, "seeds": [0]}
    variants = {"wild": {"from": "dense", "finetune": {"epochs": 1, "learning_rate": 100}}}
    changes = {"model": {"name": "squeezenet1_1"}, "train": recipe, "variants": variants}
    result = clone.snakemake("--cores", 2, *clone.write_config("tiny", **(tiny | changes)))
    assert "slimline: finetune (variant wild, seed 0) cannot be done; the other variants go on." in result.stdout
    metrics = pd.read_csv(clone.folder / "results/tiny/metrics.csv").set_index("variant")
    assert "gradient is not a finite number any more" in metrics.loc["wild", "artifact_status"]
    assert metrics["accuracy"].notna().to_dict() == {"dense": True, "wild": False}


def test_nothing_is_made_of_a_file_that_cannot_be_used(finished_copy):
    proof = finished_copy.folder / "results/digits/pruned/seed-0/proof.json"
    mark([proof], Failure("pruned", 0, "prove", "crashed", "the runtime dies of the file"))
    jobs = finished_copy.jobs()
    assert jobs["quantize"] == 1
    finished_copy.snakemake("--cores", 2)
    metrics = pd.read_csv(finished_copy.folder / "results/digits/metrics.csv").set_index(["variant", "seed"])
    status = metrics["artifact_status"]
    assert status["pruned", 0] == "failed: the runtime dies of the file"
    assert status["pruned-int8", 0] == "failed: its parent pruned failed: the runtime dies of the file"
    assert metrics.loc[[("pruned", 0), ("pruned-int8", 0)], ["accuracy", "latency_p50_ms"]].isna().all(axis=None)
    assert metrics.loc[[("pruned", 1), ("pruned-int8", 1), ("student", 0)], "accuracy"].notna().all()


@pytest.mark.parametrize(("when", "number"), [("rule train:", signal.SIGINT), ("rule export:", signal.SIGTERM)])
def test_interrupted_anywhere_and_run_again_the_accuracies_are_the_same(clone, tiny, reference, when, number):
    config = clone.write_config("tiny", **tiny)
    with subprocess.Popen(
        clone.command("--cores", 2, "--verbose", *config),  # verbose: it says when a rule starts
        cwd=clone.folder, env=clone.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if when in line:
                os.killpg(process.pid, number)
                break
        try:
            process.communicate(timeout=MOST_S_TO_END)
        except subprocess.TimeoutExpired:
            # An interrupt in the middle of a line of Snakemake's log leaves that locked (Python's logging): it then
            # waits for its own threads until it is interrupted again, as users do.
            os.killpg(process.pid, signal.SIGINT)
            process.communicate()
    assert process.returncode != 0
    clone.snakemake("--unlock", *config)
    clone.snakemake("--cores", 2, *config)
    assert accuracies(clone).equals(reference)


@pytest.fixture(scope="module")
def reference(unbroken):
    return accuracies(unbroken)


def accuracies(clone):
    metrics = pd.read_csv(clone.folder / "results/tiny/metrics.csv")
    return metrics[["variant", "seed", "n_test", "accuracy", "accuracy_ci_low", "accuracy_ci_high"]]
