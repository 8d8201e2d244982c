"""How long users wait before anything runs; processor time, which a busy machine changes little.

Run with `make bench`.
"""

import resource

import pytest
from pipeline.clones import clone_into

LIMIT_DEFAULT_S = 5.0
LIMIT_1000_JOBS_S = 10.0


def dry_run(clone, *arguments):
    """Jobs and seconds of processor time of a dry run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    jobs = clone.jobs(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(jobs.values()), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture
def clone(tmp_path):
    return clone_into(tmp_path / "clone")


def test_the_default(clone):
    jobs, seconds = dry_run(clone)
    print(f"default: {jobs} jobs, {seconds:.1f} s of processor time")
    assert jobs > 60
    assert seconds < LIMIT_DEFAULT_S


def test_an_experiment_of_a_thousand_jobs(clone):
    variants = {f"p{n}": {"from": "dense", "prune": {"ratio": n / 10}} for n in range(1, 7)}
    variants |= {f"q{n}": {"from": f"p{n}", "quantize": {"dtype": "int8"}} for n in range(1, 7)}
    variants |= {"small": {"from": "dense", "distil": {"model": {"name": "convnet", "width": 0.5}}}}
    config = clone.write_config(
        "big", dataset={"name": "digits"}, model={"name": "convnet"}, train={"epochs": 1, "seeds": list(range(20))},
        variants=variants,
    )  # fmt: skip
    jobs, seconds = dry_run(clone, *config)
    print(f"seeds x variants: {jobs} jobs, {seconds:.1f} s of processor time")
    assert jobs >= 1000
    assert seconds < LIMIT_1000_JOBS_S
