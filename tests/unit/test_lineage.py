"""Which jobs are the same but for how their work is shared out, and from which of them another goes on."""

from dataclasses import replace
from pathlib import Path

import pytest

from slimline.config.train import TrainConfig
from slimline.launch.earlier import earlier_jobs
from slimline.launch.receipt import Receipt
from slimline.launch.resources import Resources
from slimline.training.checkpoint import Progress
from slimline.training.spec import (
    CHECKPOINTS_FOLDER,
    RESULT_FOLDER,
    Allocation,
    TrainingSpec,
    checkpoint_name,
    checkpoint_place,
)

SPEC = TrainingSpec(
    experiment="test", variant="dense", seed=0, entry="a:b", recipe=TrainConfig(epochs=4, batch_size=64, ranks=2),
    prepared=Path("data"), allocation=Allocation(1, 2, 1, "cpu", "fp32", 32, 1), inputs={"f": "1"}, code="c",
)  # fmt: skip


def with_recipe(**changes):
    return replace(SPEC, recipe=TrainConfig.model_validate(SPEC.recipe.model_dump() | changes))


def with_allocation(**changes):
    return replace(SPEC, allocation=replace(SPEC.allocation, **changes))


@pytest.mark.parametrize("change", [{"log_every_steps": 7}, {"profile_steps": 3}, {"tracking": {"wandb": "project"}}])
def test_what_is_told_of_a_run_is_no_part_of_its_digest_but_reaches_the_job(change, tmp_path):
    changed = with_recipe(**change)
    assert changed.digest == SPEC.digest
    changed.write(tmp_path)
    assert TrainingSpec.read(tmp_path).recipe == changed.recipe


@pytest.mark.parametrize(
    "changed",
    [
        with_recipe(ranks=4), with_recipe(parallelism="fsdp"), with_allocation(tasks_per_node=4),
        with_allocation(nodes=2), with_allocation(cpus_per_task=2), with_allocation(micro_batch=8, accumulation=4),
        with_allocation(parallelism="fsdp-tp", shard_ranks=2, tensor_ranks=2),
    ],
)  # fmt: skip
def test_how_work_is_shared_out_makes_another_job_of_the_same_lineage(changed):
    assert changed.digest != SPEC.digest
    assert changed.lineage == SPEC.lineage


@pytest.mark.parametrize(
    "changed",
    [
        replace(SPEC, seed=1), replace(SPEC, code="d"), replace(SPEC, inputs={"f": "2"}), replace(SPEC, variant="lean"),
        with_recipe(batch_size=128), with_recipe(sync_batch_norm=True), with_recipe(epochs=5),
        with_allocation(precision="bf16"), with_allocation(device="cuda"),
    ],
)  # fmt: skip
def test_what_makes_another_result_makes_another_lineage(changed):
    assert changed.digest != SPEC.digest
    assert changed.lineage != SPEC.lineage


def job(folder, name, spec, *steps, earlier=(), finished=False):
    """The folder of a job that was submitted, with checkpoints at `steps` of the first epoch."""
    place = folder / f"{spec.name}-{name}"
    place.mkdir()
    spec.write(place)
    Receipt(place).intend(Resources(1, 2, 1, 0, 500, 5), "local", earlier)
    for step in steps:
        (place / CHECKPOINTS_FOLDER / checkpoint_name(0, step)).mkdir(parents=True)
    if finished:
        (place / RESULT_FOLDER).mkdir()
    return place


def found(folder, spec=SPEC):
    return [(job.folder.name.rpartition("-")[2], job.newest) for job in earlier_jobs(folder, spec)]


def test_unfinished_jobs_of_the_lineage_are_found_the_furthest_last(tmp_path):
    own = job(tmp_path, "own", SPEC, 3)
    job(tmp_path, "far", with_allocation(tasks_per_node=4), 5, 9)
    job(tmp_path, "near", with_allocation(tasks_per_node=1), 4)
    job(tmp_path, "none", with_allocation(nodes=2))
    job(tmp_path, "other", with_recipe(epochs=5), 12)
    (tmp_path / f"{SPEC.name}-empty").mkdir()
    (tmp_path / f"{SPEC.name}-old").mkdir()
    (tmp_path / f"{SPEC.name}-old" / "spec.json").write_text('{"format": 0}')
    assert found(own) == [("none", ""), ("near", checkpoint_name(0, 4)), ("far", checkpoint_name(0, 9))]
    assert earlier_jobs(own, SPEC)[-1].allocation.ranks == 4
    assert checkpoint_place(earlier_jobs(own, SPEC)[-1].newest) == "epoch 0, step 9"


def test_what_has_a_result_is_not_taken_nor_what_went_into_one(tmp_path):
    own = tmp_path / f"{SPEC.name}-own"
    first = job(tmp_path, "first", with_allocation(tasks_per_node=4), 9)
    job(tmp_path, "second", with_allocation(tasks_per_node=1), 12, earlier=[first.name], finished=True)
    assert found(own) == []
    job(tmp_path, "third", with_allocation(nodes=2), 2)
    assert found(own) == [("third", checkpoint_name(0, 2))]


def test_a_run_knows_its_stages():
    progress = Progress()
    progress.go_on_with(SPEC.allocation)
    progress.epoch, progress.step = 1, 2
    progress.go_on_with(SPEC.allocation)
    progress.go_on_with(replace(SPEC.allocation, tasks_per_node=1))
    assert [(stage["epoch"], stage["step"], stage["ranks"]) for stage in progress.stages] == [(0, 0, 2), (1, 2, 1)]
