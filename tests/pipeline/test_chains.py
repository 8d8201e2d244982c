"""Chains of steps and their controls: what a dry run makes, and that shared parents are made once."""

import pytest
import yaml

pytestmark = pytest.mark.pipeline

CHAIN = {
    "student": {"from": "dense", "distil": {"width": 0.5, "epochs": 3}},
    "pruned": {"from": "student", "prune": {"ratio": 0.5, "epochs": 1}},
    "tuned": {"from": "pruned", "finetune": {"epochs": 1}},
    "tuned-int8": {"from": "tuned", "quantize": {}},
    "pruned-int8": {"from": "pruned", "quantize": {}},
}


def chain(tiny, variants=CHAIN, **changes):
    train = tiny["train"] | {"seeds": [0, 1]}
    return tiny | {"train": train, "variants": variants} | changes


def test_each_shared_parent_is_made_once_per_seed(clone, tiny):
    config = clone.write_config("chain", **chain(tiny))
    jobs = clone.jobs(*config)
    made = {name: jobs[name] for name in ("train", "distil", "prune", "finetune", "quantize")}
    assert made == {"train": 2, "distil": 2, "prune": 2, "finetune": 2, "quantize": 4}
    assert jobs["export"] == 8
    one = clone.jobs("tuned-int8", *config)
    assert {name: one[name] for name in made} == {"train": 2, "distil": 2, "prune": 2, "finetune": 2, "quantize": 2}


def test_controls_are_made_and_measured_with_the_variants(clone, tiny):
    config = clone.write_config("chain", **chain(tiny, evaluation={"control": True}))
    jobs = clone.jobs(*config)
    assert jobs["finetune"] == 2 * (1 + 3)  # tuned, and controls over 3, 4 and 5 epochs
    assert jobs["plan_variant"] == 4 + 1 + 2  # dense, student, pruned, tuned; controls
    assert jobs["predict"] == jobs["latency"] == 2 * (6 + 3)
    assert clone.jobs("control-4", *config)["control-4"] == 1


def test_teachers_of_all_seeds_come_first(clone, tiny):
    alone = {"student": {"from": "dense", "distil": {"width": 0.5}}}
    together = {"student": {"from": "dense", "distil": {"width": 0.5, "teachers": "seeds"}}}
    target = "results/chain/student/seed-0/weights.safetensors"
    trained = [
        clone.jobs(target, *clone.write_config("chain", **chain(tiny, variants)))["train"]
        for variants in (alone, together)
    ]
    assert trained == [1, 2]


def test_a_control_is_no_reason_to_make_anything_else_again(finished_copy):
    path = finished_copy.folder / "config/config.yaml"
    content = yaml.safe_load(path.read_text())
    controls = not content.get("evaluation", {}).get("control", True)
    path.write_text(yaml.safe_dump(content | {"evaluation": {"control": controls}}))
    jobs = finished_copy.jobs()
    assert not {"train", "prune", "distil", "quantize"} & jobs.keys()
    assert ("finetune" in jobs) is controls
    assert jobs["compare"] == jobs["report"] == 1
