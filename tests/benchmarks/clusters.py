"""Where benchmarks that run the workflow send its training jobs."""

import yaml

CLUSTER = {"name": "two-cores", "executor": "local", "cpus_per_node": 2, "cpus_per_task": 2, "memory_mb_per_node": 4096}


def two_cores(clone):
    """Writes a cluster file for jobs that take both cores of a small machine; returns its name."""
    (clone.folder / "config/clusters/two-cores.yaml").write_text(yaml.safe_dump(CLUSTER))
    return CLUSTER["name"]
