"""What a change makes run again: the steps that depend on it, and no others."""

import json

import pytest

pytestmark = pytest.mark.pipeline

SEEDS = 3


def edit(clone, file):
    path = clone.folder / file
    path.write_text(path.read_text() + "\n# a change\n")


@pytest.mark.parametrize(
    ("file", "first", "untouched"),
    [
        (
            "scripts/slimline/evaluation/latency.py",
            {"latency"},
            {"train", "predict", "export", "quantize", "plan_variant"},
        ),
        ("scripts/slimline/compression/quantize.py", {"quantize"}, {"train", "prune", "export", "preprocess"}),
        ("scripts/slimline/compression/prune.py", {"prune"}, {"train", "distil", "preprocess"}),
        ("scripts/slimline/reporting/page.py", {"report"}, {"compare", "predict", "latency", "train"}),
        ("scripts/slimline/training/loop.py", {"train", "prune", "distil"}, {"preprocess", "audit"}),
        ("scripts/report.py", {"report"}, {"compare", "predict"}),
    ],
)
def test_a_change_of_the_library_runs_the_steps_that_use_it_and_what_follows(finished_copy, file, first, untouched):
    edit(finished_copy, file)
    jobs = finished_copy.jobs()
    assert first <= jobs.keys()
    assert not untouched & jobs.keys(), jobs


@pytest.mark.parametrize("file", ["workflow/rules/common.smk", "environment.yml", "requirements.lock"])
def test_a_comment_elsewhere_runs_nothing(finished_copy, file):
    edit(finished_copy, file)
    (finished_copy.folder / "README.md").write_text("a comment\n")
    assert finished_copy.jobs() == {}


def test_a_changed_key_runs_what_it_concerns(finished_copy):
    path = finished_copy.folder / "config/config.yaml"
    content = path.read_text()
    path.write_text(content.replace("ratio: 0.5, epochs: 10", "ratio: 0.5, epochs: 11"))
    jobs = finished_copy.jobs()
    assert jobs["prune"] == SEEDS
    assert not {"train", "distil", "preprocess"} & jobs.keys()
    path.write_text(content.replace("accuracy_drop: 0.02", "accuracy_drop: 0.03"))
    assert finished_copy.jobs() == {"compare": 1, "report": 1, "all": 1}


def test_a_new_variant_leaves_the_others_alone(finished_copy):
    path = finished_copy.folder / "config/config.yaml"
    extra = "variants:\n  lean:\n    from: dense\n    prune: {ratio: 0.75, epochs: 1}\n"
    path.write_text(path.read_text().replace("variants:\n", extra, 1))
    jobs = finished_copy.jobs()
    assert (jobs["prune"], jobs["export"], jobs["predict"], jobs["latency"]) == (SEEDS, SEEDS, SEEDS, SEEDS)
    assert not {"train", "distil", "quantize", "preprocess"} & jobs.keys()


def test_a_new_seed_trains_itself_alone(finished_copy):
    path = finished_copy.folder / "config/config.yaml"
    path.write_text(path.read_text().replace("seeds: [0, 1, 2]", "seeds: [0, 1, 2, 3]"))
    jobs = finished_copy.jobs()
    assert (jobs["train"], jobs["prune"], jobs["distil"], jobs["export"], jobs["quantize"]) == (1, 1, 1, 3, 2)
    assert not {"plan_variant", "preprocess"} & jobs.keys()


def test_a_config_on_the_command_line_replaces_the_default(clone, tiny):
    jobs = clone.jobs(*clone.write_config("tiny", **tiny))
    assert jobs["train"] == jobs["prune"] == 1
    assert not {"distil", "quantize"} & jobs.keys()


def test_targets_besides_all(clone):
    assert clone.jobs("plan") == {"download": 1, "audit": 1, "preprocess": 1, "plan_variant": 3, "plan": 1}
    int8 = clone.jobs("int8")
    assert (int8["train"], int8["quantize"], int8["int8"]) == (SEEDS, SEEDS, 1)
    assert not {"prune", "distil", "report"} & int8.keys()
    assert clone.jobs("report")["report"] == 1


def test_another_target_does_not_end_with_the_verdict_of_a_run_before(clone):
    report = clone.folder / "results/digits/report.html"
    report.parent.mkdir(parents=True)
    report.write_text("of another config")
    output = clone.snakemake("download", "--cores", 1).stdout
    assert "1 job done" in output
    assert "Report:" not in output


def test_the_slurm_profile_resolves_from_a_fresh_clone(clone):
    output = clone.snakemake("--dry-run", "--profile", "slurm").stdout
    assert "cluster slurm (slurm)" in output
    assert "executor slurm" in output


def test_a_value_on_the_command_line_does_not_move_training_to_the_login_node(clone):
    refused = clone.snakemake("--dry-run", "--profile", "slurm", "--config", "experiment=again", check=False)
    assert refused.returncode == 1
    assert "add `cluster=slurm` to --config" in refused.stdout
    assert "Traceback" not in refused.stdout
    meant = clone.snakemake("--dry-run", "--profile", "slurm", "--config", "experiment=again", "cluster=slurm").stdout
    assert "cluster slurm (slurm)" in meant


def test_a_number_of_jobs_beside_cores_sends_nothing_to_a_cluster(clone):
    both = clone.snakemake("--dry-run", "--cores", 4, "--jobs", 4).stdout
    assert "cluster local (local), other rules to executor local" in both


def test_the_command_of_the_report_repeats_values_from_the_command_line(clone, tiny):
    config = clone.write_config("tiny", **tiny)
    clone.snakemake("--cores", 2, *config, "--config", "dataset={name: digits}", "experiment=again")
    metrics = json.loads((clone.folder / "results/again/metrics.json").read_text())
    command = 'snakemake --cores all --configfile tiny.yaml --config \'dataset={"name": "digits"}\' experiment=again'
    assert metrics["provenance"]["command"] == command


def test_lint_is_clean(clone):
    assert "Congratulations" in clone.snakemake("--lint").stdout
