"""From files to config objects, or to one screen with all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from slimline.config.base import Config
from slimline.config.cluster import ClusterConfig
from slimline.config.dataset import FOLDER
from slimline.config.experiment import ExperimentConfig
from slimline.config.problems import Problem, problems_of, screen
from slimline.config.suggest import did_you_mean
from slimline.config.words import Schema
from slimline.config.yaml_file import SUFFIXES, YamlFile, missing_file, parse_file, read_yaml

__all__ = ["load_cluster", "load_experiment", "load_experiment_file", "read_yaml"]

CLUSTERS = Path("config/clusters")

ConfigT = TypeVar("ConfigT", bound=Config)


def load_experiment(
    config: Mapping[str, Any], files: Sequence[Path] = (), *, clusters: Path = CLUSTERS
) -> ExperimentConfig:
    """The experiment in a mapping that is parsed already, as Snakemake hands it over.

    Args:
        config: the mapping; paths in it are taken from the working directory.
        files: the files it comes from, later ones override: errors then tell file and line.
        clusters: the folder where clusters are described.

    Raises:
        SlimlineError: anything is wrong; it shows all problems at once.
    """
    return _experiment(config, [parse_file(Path(file)) for file in files], clusters)


def load_experiment_file(path: Path, *, clusters: Path = CLUSTERS) -> ExperimentConfig:
    """The experiment in a YAML file; `clusters` as for `load_experiment`.

    Raises:
        SlimlineError: as for `load_experiment` and `read_yaml`.
    """
    file = parse_file(path)
    return _experiment(file.content, [file], clusters)


def load_cluster(name_or_path: str, folder: Path = CLUSTERS) -> ClusterConfig:
    """The cluster of an experiment.

    Args:
        name_or_path: name of a file in `folder` without its ending, or a path with ending.
        folder: where clusters are described.

    Raises:
        SlimlineError: there is no such file, or anything is wrong in it.
    """
    path = _cluster_path(name_or_path, folder)
    if not os.path.isfile(path):  # noqa: PTH113 - says no to names that are too long
        raise missing_file(path, f"There is no cluster {name_or_path!r}.")
    file = parse_file(path)
    problems = []
    name = file.content.get("name")
    if isinstance(name, str) and name != path.stem:
        problems.append(Problem(("name",), f"got {name!r}, expected `{path.stem}`, the name of the file"))
    return _validated(ClusterConfig, file.content, [file], problems)


def _experiment(config: Mapping[str, Any], files: list[YamlFile], clusters: Path) -> ExperimentConfig:
    problems = [*_missing_images(config), *_missing_cluster(config, clusters)]
    return _validated(ExperimentConfig, config, files, problems)


def _validated(
    model: type[ConfigT], config: Mapping[str, Any], files: list[YamlFile], problems: list[Problem]
) -> ConfigT:
    """The validated config, or one screen with `problems` and all that the validation finds."""
    problems = [*problems, *(problem for file in files for problem in _repeated(file))]
    try:
        valid = model.model_validate(dict(config))
    except ValidationError as error:
        problems = [*problems_of(error, Schema(model)), *problems]
    else:
        if not problems:
            return valid
    raise screen(problems, config, files)


def _repeated(file: YamlFile) -> list[Problem]:
    return [
        Problem(key.path, f"got it twice, in lines {key.first_line} and {key.line}, expected once")
        for key in file.repeated
    ]


def _missing_images(config: Mapping[str, Any]) -> list[Problem]:
    """Whether the folder of the user's images exists."""
    dataset = config.get("dataset")
    if not isinstance(dataset, Mapping) or dataset.get("name") != FOLDER or not isinstance(dataset.get("path"), str):
        return []
    given = dataset["path"]
    # The functions of os.path say no where those of Path raise: unknown users, names too long, no permission.
    path = Path(os.path.expanduser(given))  # noqa: PTH111
    if given and os.path.isdir(path):  # noqa: PTH112
        return []
    expected = f"an existing folder{did_you_mean(path.name, _folders_beside(path))}"
    if os.path.isfile(path):  # noqa: PTH113
        expected = "a folder; this is a file"
    seen_from = "" if path.is_absolute() else f" (seen from {Path.cwd()})"
    return [Problem(("dataset", "path"), f"got {given!r}, expected {expected}{seen_from}")]


def _missing_cluster(config: Mapping[str, Any], clusters: Path) -> list[Problem]:
    """Whether the file of the cluster exists."""
    cluster = config.get("cluster", "local")
    if not isinstance(cluster, str) or os.path.isfile(path := _cluster_path(cluster, clusters)):  # noqa: PTH113
        return []
    known = sorted(file.stem for file in path.parent.glob("*.yaml"))
    names = ", ".join(f"`{name}`" for name in known) or "none"
    text = f"got {cluster!r}, but there is no {path}; expected one of {names}{did_you_mean(path.stem, known)}"
    return [Problem(("cluster",), text)]


def _folders_beside(path: Path) -> list[str]:
    try:
        return [child.name for child in path.parent.iterdir() if child.is_dir()]
    except OSError:
        return []


def _cluster_path(name_or_path: str, folder: Path) -> Path:
    is_path = "/" in name_or_path or name_or_path.endswith(SUFFIXES)
    return Path(name_or_path) if is_path else folder / f"{name_or_path}.yaml"
