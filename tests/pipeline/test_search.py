"""The target search, by real Snakemake: rounds, choice, confirmation, and nothing twice."""

import json

import pytest
import yaml
from pipeline.clones import TINY, clone_into

from slimline.search.records import Search

pytestmark = pytest.mark.pipeline

# So large that its share that is pruned away tells by far on a busy machine too, or nothing would go on.
MODEL = {"name": "convnet", "width": 4.0}
COMPRESS = {
    "accuracy_drop": 0.02,
    "prune_ratios": [0.7],
    "student_widths": [0.35],
    "epochs": 3,
    "trial_epochs": 2,
    "rounds": 2,
    "finalists": 1,
}
SETTINGS = {
    "dataset": {"name": "digits", "validation": 0.2},
    "variants": {},
    "gate": {"accuracy_drop": COMPRESS["accuracy_drop"]},
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A finished search, and the arguments that made it."""
    clone = clone_into(tmp_path_factory.mktemp("search") / "clone")
    train = TINY["train"] | {"seeds": [0, 1]}
    content = TINY | SETTINGS | {"train": train, "model": MODEL}
    config = clone.write_config("found", **content, compress=COMPRESS)
    output = clone.snakemake("--cores", 2, *config).stdout
    assert "a search over 2 structures" in output
    return clone, config


def results(clone):
    return clone.folder / "results/found"


def search_of(clone):
    return Search.model_validate(json.loads((results(clone) / "search.json").read_text()))


def test_a_search_ends_with_variants_that_are_compared(searched):
    clone, _ = searched
    search = search_of(clone)
    assert [found.epochs for found in search.rounds] == [1, 2]
    structures = [{point.structure for point in found.points} - {"dense"} for found in search.rounds]
    assert structures[0] == {"prune-70", "student-35"}
    assert structures[1] == set(search.rounds[0].survivors)
    assert len(structures[1]) == 1
    metrics = json.loads((results(clone) / "metrics.json").read_text())
    compared = {variant["variant"] for variant in metrics["variants"]}
    assert set(search.finalists) <= compared
    assert {name for name in compared if name.startswith("try-")} == set()
    assert {(row["variant"], row["seed"]) for row in metrics["rows"]} >= {
        (search.finalists[0], 0),
        (search.finalists[0], 1),
    }
    assert metrics["provenance"]["config"]["compress"]["rounds"] == 2


def test_the_test_split_has_no_part_in_what_is_chosen(searched):
    clone, _ = searched
    assert not list(results(clone).glob("try-*/seed-*/predictions.parquet"))
    assert list(results(clone).glob("try-*/seed-0/validation.parquet"))
    assert not list(results(clone).glob("try-*/seed-1"))


def test_a_trial_does_not_wait_for_all_cores_to_be_timed(searched):
    clone, _ = searched
    assert list(results(clone).glob("try-*/seed-0/trial_latency.json"))
    assert not list(results(clone).glob("try-*/seed-*/latency.json"))
    for variant in search_of(clone).finalists:  # these are timed alone
        assert (results(clone) / variant / "seed-0/latency.json").exists()


def test_what_a_search_waits_for_comes_before_what_does_not_wait_for_it(clone, tiny):
    changes = SETTINGS | {"train": tiny["train"] | {"seeds": [1, 0]}}
    quick = COMPRESS | {"student_widths": [], "trial_epochs": 1, "rounds": 1}
    config = clone.write_config("found", **tiny | changes, compress=quick)
    other, plan = "results/found/dense/seed-0/job.json", "results/found/search/plan.json"
    trial = "results/found/try-prune-70-e1/seed-1/job.json"
    clone.snakemake("--cores", 1, other, plan, trial, *config)
    ended_ns = {file: (clone.folder / file).stat().st_mtime_ns for file in (other, plan, trial)}
    assert max(ended_ns, key=ended_ns.__getitem__) == other


def test_the_report_says_how_the_variants_were_found(searched):
    clone, _ = searched
    page = (results(clone) / "report.html").read_text()
    for trial in search_of(clone).rounds[0].points:
        assert trial.variant in page
    assert 'id="search"' in page
    chosen = next(name for name in search_of(clone).finalists if name.startswith(("prune", "student")))
    how = "70 % of channels pruned, 3 epochs of tuning" if "prune" in chosen else "distilled into 0.35 of its width"
    assert f"{chosen.removesuffix('-int8')} from dense: {how}" in page.replace("\N{NO-BREAK SPACE}", " ")
    assert "--configfile found.yaml" in page


def test_a_finished_search_is_not_repeated(searched):
    clone, config = searched
    assert clone.jobs(*config) == {}


def test_one_more_ratio_trains_what_is_new_alone(searched, tmp_path):
    finished, config = searched
    clone = finished.copy(tmp_path / "clone")
    path = clone.folder / "found.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | {"compress": COMPRESS | {"prune_ratios": [0.5, 0.7]}}))
    assert clone.jobs(*config)["search_plan"] == 1
    clone.snakemake("--cores", 1, "results/found/search/plan.json", *config)  # the trials are known behind it
    jobs = clone.jobs(*config)
    assert jobs["prune"] == 1
    assert not {"train", "distil"} & jobs.keys()


def test_what_may_be_chosen_is_planned_before_anything_is_trained(clone, tiny):
    config = clone.write_config("found", **tiny | SETTINGS, compress=COMPRESS)
    jobs = clone.jobs("plan", *config)
    assert jobs["plan_variant"] == 1 + 2
    assert "train" not in jobs


def test_what_is_compared_whatever_is_found_does_not_wait_for_the_search(clone, tiny):
    """Dense of the second seed, and the control that all networks share, fill the cores that trials leave free."""
    changes = SETTINGS | {"train": tiny["train"] | {"seeds": [0, 1]}, "evaluation": {"control": True}}
    pruned = COMPRESS | {"prune_ratios": [0.5, 0.7], "student_widths": []}
    jobs = clone.jobs(*clone.write_config("found", **tiny | changes, compress=pruned))
    assert (jobs["train"], jobs["finetune"]) == (2, 2)
    assert not {"prune", "search_round"} & jobs.keys()  # known once the search has its plan
    one = pruned | {"prune_ratios": [0.5]}  # which may still fail
    jobs = clone.jobs(*clone.write_config("found", **tiny | changes, compress=one))
    assert (jobs["train"], jobs["finetune"]) == (2, 2)
    assert "prune" not in jobs
    both = COMPRESS | {"student_widths": [0.35]}  # networks of unequal budgets, so of unequal controls
    jobs = clone.jobs(*clone.write_config("found", **tiny | changes, compress=both))
    assert jobs["train"] == 2
    assert "finetune" not in jobs
