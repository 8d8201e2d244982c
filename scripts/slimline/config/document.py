"""Writes what is said elsewhere about the config, from the models: JSON schemas for editors, the reference page.

Run it after every change of a config model: `python -m slimline.config.document`.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml

from slimline.config.base import Config
from slimline.config.cluster import ClusterConfig
from slimline.config.experiment import ExperimentConfig
from slimline.config.model_names import TORCHVISION_MODELS
from slimline.config.words import Node, Schema, in_words
from slimline.files import write_text

DRAFT = "https://json-schema.org/draft/2020-12/schema"
EXPERIMENT_SCHEMA = Path("workflow/schemas/experiment.schema.json")
CLUSTER_SCHEMA = Path("workflow/schemas/cluster.schema.json")
REFERENCE = Path("docs/reference/config.md")
LINE_LENGTH = 120

INTRODUCTION = """# Config reference

One YAML file describes an experiment; [`config/config.yaml`](../../config/config.yaml) is run when none is named:

```console
snakemake --configfile config/fashion-mnist.yaml --cores 2
```

Only `experiment`, `dataset`, `model` and `train` must be given. Unknown keys are refused, and all problems of a file
are shown at once, before anything runs. Two habits of YAML to know: numbers with an exponent need a point and a sign
(`1.0e-3`; `1e-3` is text), and `yes`, `no`, `on` and `off` are `true` and `false`.

A first line `# yaml-language-server: $schema=../workflow/schemas/experiment.schema.json` gives completion and checks in
editors.

This page is generated from the config models: `python -m slimline.config.document`.
"""

CLUSTER_INTRODUCTION = """## Clusters

`cluster: <name>` in an experiment means the file `config/clusters/<name>.yaml`. It says what one training job may ask
for; plans are made within it.
"""

EXAMPLE: dict[str, Any] = {
    "experiment": "digits",
    "dataset": {"name": "digits"},
    "model": {"name": "convnet"},
    "train": {"epochs": 40},
    "variants": {
        "pruned": {"from": "dense", "prune": {}},
        "pruned-int8": {"from": "pruned", "quantize": {}},
        "student": {"from": "dense", "distil": {"model": {"name": "convnet", "width": 0.5}}},
        "student-tuned": {"from": "student", "finetune": {}},
    },
}


def documents() -> dict[Path, str]:
    """Every generated file by its path in the repository, with its content."""
    return {
        EXPERIMENT_SCHEMA: _json(editor_schema(ExperimentConfig, "slimline experiment")),
        CLUSTER_SCHEMA: _json(editor_schema(ClusterConfig, "slimline cluster")),
        REFERENCE: reference(),
    }


def editor_schema(model: type[Config], title: str) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a config file, as editors read it."""
    schema = Schema(model)
    for node in (schema.root, *schema.definitions.values()):
        node.pop("title", None)
        for child in node["properties"].values():
            child.pop("title", None)
            if "patternProperties" in child:
                child["additionalProperties"] = False
    return {"$schema": DRAFT, "title": title, **schema.root}


def reference() -> str:
    """The reference page, in Markdown."""
    experiment, cluster = Schema(ExperimentConfig), Schema(ClusterConfig)
    parts = [
        INTRODUCTION,
        "## Top level\n",
        *_sections(experiment),
        "## Names of models\n",
        "`convnet`, `convnet7`, `resnet8` and `vit_tiny` are slimline's own. From torchvision:\n",
        f"{textwrap.fill(', '.join(sorted(TORCHVISION_MODELS)), LINE_LENGTH)}.\n",
        "## Every key with its default\n",
        f"```yaml\n{_example()}```\n",
        CLUSTER_INTRODUCTION,
        *_sections(cluster),
    ]
    return "\n".join(parts)


def main() -> None:
    """Writes all generated files below the working directory."""
    for path, content in documents().items():
        write_text(path, content)


def _sections(schema: Schema) -> list[str]:
    """A heading and a table per section; one that is used twice is described where it comes first."""
    first_path: dict[str, str] = {}
    for path, section in schema.sections():
        first_path.setdefault(section["title"], path)
    parts = []
    for path, section in schema.sections():
        title = section["title"]
        if first_path[title] != path:
            continue
        if path:
            parts += [f"## `{path}`\n", f"{schema.definitions[title]['description']}\n"]
        rows = [
            _row(key, raw, schema, required=key in section.get("required", []), homes=first_path)
            for key, raw in section["properties"].items()
        ]
        parts.append("\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows, ""]))
    return parts


def _row(key: str, raw: Node, schema: Schema, *, required: bool, homes: dict[str, str]) -> str:
    node = schema.plain(raw)
    inner = schema.at_any_name(node) if "patternProperties" in node else node
    if "properties" in inner:
        home = homes[inner["title"]]
        kind = "a section" if inner is node else "names, each with a section"
        value = f"{kind}: [`{home}`](#{_anchor(home)})"
    else:
        value = in_words(node, schema)
    if required:
        default = "required"
    elif node.get("default") in (None, {}):
        default = "none" if "default" in node else "its defaults"
    else:
        default = f"`{json.dumps(node['default'])}`".replace('"', "")
    cells = [f"`{key}`", value, default, node["description"]]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _anchor(heading: str) -> str:
    """The anchor that Markdown pages give a heading."""
    return "".join(character for character in heading if character.isalnum() or character in "-_")


def _example() -> str:
    """An experiment with every key that has a value."""
    resolved = ExperimentConfig.model_validate(EXAMPLE).resolved()
    return yaml.safe_dump(_without_none(resolved), sort_keys=False, width=LINE_LENGTH, default_flow_style=None)


def _without_none(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_none(child) for key, child in value.items() if child is not None}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
