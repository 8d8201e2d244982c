"""What is generated from the config models is up to date and true."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from slimline.config.cluster import ClusterConfig
from slimline.config.document import CLUSTER_SCHEMA, EXPERIMENT_SCHEMA, REFERENCE, documents
from slimline.config.experiment import ExperimentConfig
from slimline.config.words import Schema

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "config").glob("*.yaml"))
CLUSTERS = sorted((ROOT / "config/clusters").glob("*.yaml"))


@pytest.mark.parametrize(("path", "content"), documents().items(), ids=str)
def test_generated_files_are_up_to_date(path, content):
    written = (ROOT / path).read_text(encoding="utf-8")
    assert written == content, f"{path} has drifted: run `python -m slimline.config.document`"


def schema_in(path):
    schema = json.loads((ROOT / path).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    ("schema", "path"),
    [(EXPERIMENT_SCHEMA, path) for path in EXPERIMENTS] + [(CLUSTER_SCHEMA, path) for path in CLUSTERS],
    ids=lambda value: value.name,
)
def test_shipped_files_fit_the_schema_that_they_name(schema, path):
    text = path.read_text(encoding="utf-8")
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert named
    assert (path.parent / named[1]).resolve() == ROOT / schema
    schema_in(schema).validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("train"),
        lambda config: config.update(trian={}),
        lambda config: config["model"].update(name="resnet_18"),
        lambda config: config["train"].update(learning_rate="1e-3"),
        lambda config: config["train"].update(epochs=0),
        lambda config: config["variants"].update(Bad_Name={"from": "dense", "prune": {}}),
        lambda config: config["variants"]["int8"].update(prune={}),
        lambda config: config["variants"]["int8"].pop("quantize"),
    ],
)
def test_the_schema_refuses_what_the_models_refuse(change):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    validator = schema_in(EXPERIMENT_SCHEMA)
    validator.validate(config)
    change(config)
    assert not validator.is_valid(config)


def test_a_resolved_config_fits_the_schema():
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    schema_in(EXPERIMENT_SCHEMA).validate(ExperimentConfig.model_validate(config).resolved())


@pytest.mark.parametrize("model", [ExperimentConfig, ClusterConfig])
def test_every_key_has_a_description_and_a_row(model):
    page = documents()[REFERENCE]
    for path, section in Schema(model).sections():
        for key, node in section["properties"].items():
            assert node.get("description", "").endswith("."), f"{path}.{key}"
            assert f"| `{key}` |" in page


def test_the_example_on_the_page_is_valid():
    page = documents()[REFERENCE]
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    experiment = ExperimentConfig.model_validate(yaml.safe_load(example))
    assert {experiment.step(name) for name in experiment.variant_names} == {
        "train",
        "prune",
        "distil",
        "finetune",
        "quantize",
    }


def test_links_on_the_page_lead_somewhere():
    page = documents()[REFERENCE]
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\(#([^)]+)\)", page)) <= anchors
