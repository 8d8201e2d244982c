"""Experiments and clusters from files: what is right loads, what is wrong ends in one clear screen."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from slimline.config.load import load_cluster, load_experiment, load_experiment_file
from slimline.errors import SlimlineError

ROOT = Path(__file__).parents[2]

# Words of the machinery underneath, which must not reach a user.
JARGON = ("Input should", "pydantic", "[type=", "union_attr", "http", "Traceback", "Error", "None", "dict")

VALID = """\
experiment: digits
dataset: {name: digits, validation: 0.1}
model: {name: convnet}
train:
  epochs: 3
  batch_size: 64
  augmentation: {crop_padding: 1}
  seeds: [0, 1]
cluster: local
variants:
  pruned: {from: dense, prune: {ratio: 0.5}}
  int8: {from: dense, quantize: {}}
  pruned-int8: {from: pruned, quantize: {}}
  student: {from: dense, distil: {model: {name: convnet, width: 0.5}}}
gate: {accuracy_drop: 0.02}
"""

REMOVED = object()


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A working directory with the two clusters that slimline ships."""
    shutil.copytree(ROOT / "config/clusters", tmp_path / "config/clusters")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(changes):
    """The valid config with values replaced by dotted path."""
    config = yaml.safe_load(VALID)
    for path, value in changes.items():
        *sections, key = path.split(".")
        section = config
        for name in sections:
            section = section.setdefault(name, {})
        if value is REMOVED:
            del section[key]
        else:
            section[key] = value
    return config


def error_of(config):
    """The screen for a config in `bad.yaml`."""
    Path("bad.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    with pytest.raises(SlimlineError) as caught:
        load_experiment_file(Path("bad.yaml"))
    return str(caught.value)


def normal(text):
    return " ".join(text.split())


# What is changed, the path that the screen must name, and the words that help to mend it.
BAD = {
    "unknown key at the top": ({"experimant": "x"}, "experimant", "did you mean `experiment`?"),
    "unknown key in dataset": ({"dataset.validatoin": 0.1}, "dataset.validatoin", "did you mean `validation`?"),
    "unknown key in model": ({"model.widht": 1.0}, "model.widht", "did you mean `width`?"),
    "unknown key in train": ({"train.epoch": 3}, "train.epoch", "did you mean `epochs`?"),
    "unknown key in augmentation": ({"train.augmentation.flip": True}, "train.augmentation.flip", "`horizontal_flip`"),
    "unknown key in a variant": ({"variants.int8.quantise": {}}, "variants.int8.quantise", "did you mean `quantize`?"),
    "unknown key in a step": (
        {"variants.pruned.prune.rato": 0.5},
        "variants.pruned.prune.rato",
        "did you mean `ratio`",
    ),
    "unknown key in a student": (
        {"variants.student.distil.model.with": 0.5},
        "variants.student.distil.model.with",
        "did you mean `width`?",
    ),
    "unknown key in gate": ({"gate.acuracy_drop": 0.1}, "gate.acuracy_drop", "did you mean `accuracy_drop`?"),
    "unknown key in latency": ({"evaluation.latency.thread": 1}, "evaluation.latency.thread", "mean `threads`?"),
    "initials of a key": ({"train.lr": 0.1}, "train.lr", "did you mean `learning_rate`?"),
    "synonym of a key": ({"variants.int8.parent": "dense"}, "variants.int8.parent", "did you mean `from`?"),
    "key of another section": ({"momentum": 0.9, "epochs": 3}, "epochs", "it belongs in `train`"),
    "key that is nowhere": ({"gate.zzz": 1}, "gate.zzz", "expected one of `accuracy_drop`, `reference`"),
    "missing section": ({"model": REMOVED}, "model", "missing; expected a section with at least `name`"),
    "missing key": ({"train.epochs": REMOVED}, "train.epochs", "missing; expected a whole number from 1 to 10000"),
    "name in capitals": ({"experiment": "My_Digits"}, "experiment", "such as `my-digits`"),
    "text for a section": ({"model": "resnet-18"}, "model", "write {name: resnet18}"),
    "nothing for a section": ({"gate": None}, "gate", "remove the key, or write {}"),
    "list for a section": ({"variants": ["int8"]}, "variants", "got a list of 1, expected a section of names"),
    "unknown dataset": ({"dataset.name": "cifar-10"}, "dataset.name", "did you mean `cifar10`?"),
    "unknown model": ({"model.name": "resnet_18"}, "model.name", "did you mean `resnet18`?"),
    "no student": (
        {"variants.student.distil": {"epochs": 3}},
        "variants.student.distil",
        "got neither, expected exactly one of `model` and `width`",
    ),
    "two students": (
        {"variants.student.distil": {"model": {"name": "convnet"}, "width": 0.5}},
        "variants.student.distil",
        "got both, expected exactly one of `model` and `width`",
    ),
    "name of a control": (
        {"variants.control-5": {"from": "dense", "finetune": {}}},
        "variants.control-5",
        "another name: those with `control-` are of controls",
    ),
    "unknown student": (
        {"variants.student.distil.model.name": "convnt"},
        "variants.student.distil.model.name",
        "did you mean `convnet`?",
    ),
    "unknown optimizer": ({"train.optimizer": "adam"}, "train.optimizer", "did you mean `adamw`?"),
    "unknown dtype": ({"variants.int8.quantize.dtype": "int4"}, "variants.int8.quantize.dtype", "expected `int8`"),
    "bf16 in ONNX Runtime": (
        {"variants.int8.quantize": {"dtype": "bf16", "runtime": "onnxruntime"}},
        "variants.int8.quantize.runtime",
        "ONNX Runtime has no bf16 on CPUs",
    ),
    "accuracy control in ONNX Runtime": (
        {"variants.int8.quantize": {"accuracy_drop": 0.01}},
        "variants.int8.quantize.accuracy_drop",
        "expected `runtime: openvino`",
    ),
    "accuracy control without validation": (
        {"dataset.validation": 0.0, "variants.int8.quantize": {"accuracy_drop": 0.01, "runtime": "openvino"}},
        "variants.int8.quantize.accuracy_drop",
        "`dataset.validation` above 0",
    ),
    "accuracy control of what was trained": (
        {"variants.int8.quantize": {"accuracy_drop": 0.01, "runtime": "openvino", "epochs": 2}},
        "variants.int8.quantize.accuracy_drop",
        "layers that were trained as int8 stay int8",
    ),
    "training in bf16": (
        {"variants.int8.quantize": {"dtype": "bf16", "epochs": 2}},
        "variants.int8.quantize.epochs",
        "expected `dtype: int8`",
    ),
    "learning rate of no epochs": (
        {"variants.int8.quantize": {"learning_rate": 0.1}},
        "variants.int8.quantize.learning_rate",
        "`epochs` above 0",
    ),
    "learning rate of a pruning without epochs": (
        {"variants.pruned.prune": {"epochs": 0, "learning_rate": 0.1}},
        "variants.pruned.prune.learning_rate",
        "`epochs` above 0",
    ),
    "ranges for bf16": (
        {"variants.int8.quantize": {"dtype": "bf16", "method": "percentile"}},
        "variants.int8.quantize.method",
        "expected `dtype: int8`",
    ),
    "digest of no file": (
        {"model": {"name": "resnet18", "weights": "IMAGENET1K_V1", "weights_sha256": "0" * 64}},
        "model.weights_sha256",
        "got a digest without a file",
    ),
    "entropy for OpenVINO": (
        {"variants.int8.quantize": {"method": "entropy", "runtime": "openvino"}},
        "variants.int8.quantize.method",
        "`minmax` or `percentile`",
    ),
    "exponent without point": ({"train.learning_rate": "1e-3"}, "train.learning_rate", "write 1.0e-3"),
    "exponent without sign": ({"train.learning_rate": "1.5e2"}, "train.learning_rate", "write 1.5e+2"),
    "exponent for a whole number": ({"train.batch_size": "1e3"}, "train.batch_size", "write 1000"),
    "number in quotes": ({"train.epochs": "10"}, "train.epochs", "got '10', expected a whole number"),
    "decimal comma": ({"train.weight_decay": "0,05"}, "train.weight_decay", "write 0.05"),
    "percent": ({"gate.accuracy_drop": "2 %"}, "gate.accuracy_drop", "write 0.02"),
    "percent as a number": ({"dataset.validation": 10}, "dataset.validation", "10 percent is 0.1"),
    "boolean for a number": ({"train.epochs": True}, "train.epochs", "got `true`, expected a whole number"),
    "boolean for a fraction": ({"train.warmup": False}, "train.warmup", "got `false`, expected a number"),
    "boolean for a choice": ({"dataset.corrupt": False}, "dataset.corrupt", "YAML reads yes, no, on and off"),
    "boolean for a name": ({"experiment": False}, "experiment", 'put text in "quotes"'),
    "boolean for channels": ({"dataset.channels": True}, "dataset.channels", "expected `1` or `3`"),
    "text for a boolean": (
        {"train.augmentation.horizontal_flip": "true"},
        "train.augmentation.horizontal_flip",
        "write true without quotes",
    ),
    "fraction for a whole number": ({"train.epochs": 3.5}, "train.epochs", "got 3.5, expected a whole number"),
    "point in a whole number": ({"train.epochs": 3.0}, "train.epochs", "write 3"),
    "not a number": ({"train.learning_rate": float("nan")}, "train.learning_rate", "got `.nan`"),
    "infinity": ({"gate.latency_ratio": float("inf")}, "gate.latency_ratio", "got `.inf`"),
    "zero epochs": ({"train.epochs": 0}, "train.epochs", "got 0, expected a whole number from 1"),
    "negative batch": ({"train.batch_size": -8}, "train.batch_size", "got -8, expected a whole number from 1"),
    "zero width": ({"model.width": 0}, "model.width", "got 0, expected a number above 0"),
    "everything pruned": ({"variants.pruned.prune.ratio": 1.0}, "variants.pruned.prune.ratio", "above 0 and below 1"),
    "too few timed runs": ({"evaluation.latency.timed_runs": 10}, "evaluation.latency.timed_runs", "of at least 100"),
    "bounds beyond the resamples": (
        {"evaluation.confidence": 0.999, "evaluation.bootstrap_resamples": 10_000},
        "evaluation.confidence",
        "`bootstrap_resamples` of 40000 or more",
    ),
    "one seed without brackets": ({"train.seeds": 0}, "train.seeds", "write [0]"),
    "no seeds": ({"train.seeds": []}, "train.seeds", "got an empty list, expected a list of one or more"),
    "negative seed": ({"train.seeds": [0, -1]}, "train.seeds[1]", "got -1, expected a whole number from 0"),
    "seed twice": ({"train.seeds": [0, 1, 1]}, "train.seeds", "got 1 more than once"),
    "ranks that do not divide": ({"train.ranks": 3}, "train.ranks", "a divisor of `batch_size` 64"),
    "padding beyond the image": (
        {"train.augmentation.crop_padding": 8},
        "train.augmentation.crop_padding",
        "less than the 8 pixels",
    ),
    "part of more than the image": (
        {"train.augmentation.random_resized_crop": 1.0},
        "train.augmentation.random_resized_crop",
        "at least 0 and below 1",
    ),
    "unknown storage": ({"dataset.storage": "png"}, "dataset.storage", "jpeg"),
    "wider without option": ({"model": {"name": "resnet18", "width": 2.0}}, "model.width", "no width option"),
    "narrower than possible": ({"model": {"name": "swin_t", "width": 0.5}}, "model.width", "cannot be narrowed"),
    "no training": ({"train.epochs": 0}, "train.epochs", "from 1 to 10000"),
    "a teacher without epochs": (
        {"variants.pruned.prune": {"teacher_weight": 0.5, "epochs": 0}},
        "variants.pruned.prune.teacher_weight",
        "`epochs` above 0",
    ),
    "more rounds than epochs": (
        {"variants.pruned.prune": {"iterations": 4, "epochs": 3}},
        "variants.pruned.prune.iterations",
        "as many `epochs` as `iterations`",
    ),
    "allocation of weights": (
        {"variants.pruned.prune": {"granularity": "weights", "allocation": "global"}},
        "variants.pruned.prune.allocation",
        "the smallest weights of the whole network go",
    ),
    "importance of weights": (
        {"variants.pruned.prune": {"granularity": "weights", "importance": "redundancy"}},
        "variants.pruned.prune.importance",
        "no value: with `granularity: weights`",
    ),
    "redundancy without repair": (
        {"variants.pruned.prune": {"importance": "redundancy", "reconstruction_samples": 0}},
        "variants.pruned.prune.importance",
        "`reconstruction_samples` above 0",
    ),
    "redundancy in a scan": (
        {"variants.pruned.prune": {"importance": "redundancy", "allocation": "sensitivity"}},
        "variants.pruned.prune.importance",
        "lets nothing make up for them",
    ),
    "dropout without option": ({"model": {"name": "resnet18", "dropout": 0.5}}, "model.dropout", "small models only"),
    "folder key without folder": ({"dataset.image_size": 32}, "dataset.image_size", "the dataset is `digits`"),
    "folder without path": ({"dataset": {"name": "image-folder"}}, "dataset.path", "the folder of your images"),
    "folder that is missing": (
        {"dataset": {"name": "image-folder", "path": "config/cluster"}},
        "dataset.path",
        "did you mean `clusters`?",
    ),
    "folder that is a file": (
        {"dataset": {"name": "image-folder", "path": "config/clusters/local.yaml"}},
        "dataset.path",
        "this is a file",
    ),
    "cluster that is missing": ({"cluster": "slrum"}, "cluster", "did you mean `slurm`?"),
    "cluster with too long a name": ({"cluster": "x" * 300}, "cluster", "expected one of `local`, `slurm`"),
    "one image for statistics": (
        {"variants.pruned.prune": {"recalibration_samples": 1}},
        "variants.pruned.prune.recalibration_samples",
        "one image has no variance",
    ),
    "unknown parent": ({"variants.pruned-int8.from": "prunned"}, "variants.pruned-int8.from", "mean `pruned`?"),
    "parent that is itself": ({"variants.pruned.from": "pruned"}, "variants.pruned.from", "pruned -> pruned"),
    "circle of two": (
        {"variants.pruned.from": "student", "variants.student.from": "pruned"},
        "variants.pruned.from",
        "pruned -> student -> pruned",
    ),
    "reserved name": ({"variants.train": {"from": "dense", "prune": {}}}, "variants.train", "a step of the workflow"),
    "variant dense": ({"variants.dense": {"from": "int8", "prune": {}}}, "variants.dense", "the trained model itself"),
    "bad variant name": ({"variants.Int_8": {"from": "dense", "prune": {}}}, "variants.Int_8", "such as `int-8`"),
    "number as variant name": ({"variants": {8: {"from": "dense", "prune": {}}}}, "variants[8]", 'in quotes: "8"'),
    "pruning what is quantized": (
        {"variants.late": {"from": "int8", "prune": {}}},
        "variants.late.from",
        "got 'int8', which is quantized already",
    ),
    "distilling what is quantized": ({"variants.student.from": "int8"}, "variants.student.from", "comes last"),
    "quantizing twice": ({"variants.pruned-int8.from": "int8"}, "variants.pruned-int8.from", "comes last"),
    "two steps": ({"variants.int8.prune": {}}, "variants.int8", "got `prune` and `quantize`, expected exactly one"),
    "no step": ({"variants.int8": {"from": "dense"}}, "variants.int8", "got no step, expected exactly one"),
    "empty step": ({"variants.int8.quantize": None}, "variants.int8.quantize", "the least is `quantize: {}`"),
    "number as key": ({"gate": {5: 1}}, "gate", "got the key 5"),
}


@pytest.mark.parametrize(("changes", "path", "words"), BAD.values(), ids=BAD)
def test_a_bad_config_names_the_path_and_the_mending(changes, path, words):
    text = error_of(changed(changes))
    assert re.search(rf"^  bad\.yaml:\d+  {re.escape(path)}|^  {re.escape(path)}$", text, re.MULTILINE), text
    assert words in normal(text)
    assert not [word for word in JARGON if word in text]
    assert "docs/reference/config.md" in text
    assert max(map(len, text.splitlines())) <= 110


def test_problems_tell_the_line_of_the_key():
    Path("bad.yaml").write_text(VALID.replace("epochs: 3", "epochs: 0").replace("ratio: 0.5", "ratio: 2"))
    with pytest.raises(SlimlineError) as caught:
        load_experiment_file(Path("bad.yaml"))
    screen = str(caught.value)
    assert "  bad.yaml:5  train.epochs\n" in screen
    assert "  bad.yaml:11  variants.pruned.prune.ratio\n" in screen


def test_a_missing_key_points_to_its_section():
    Path("bad.yaml").write_text(VALID.replace("  epochs: 3\n", ""))
    with pytest.raises(SlimlineError, match=r"bad\.yaml:4  train\.epochs\n +missing"):
        load_experiment_file(Path("bad.yaml"))


def test_all_problems_are_shown_at_once_and_in_the_order_of_the_file():
    everything = {}
    for changes in ("unknown dataset", "unknown key in train", "exponent without point", "seed twice"):
        everything |= BAD[changes][0]
    everything |= BAD["cluster that is missing"][0] | BAD["unknown parent"][0] | BAD["two steps"][0]
    text = error_of(changed(everything))
    assert text.startswith("bad.yaml: 7 problems. Nothing was run.\n")
    lines = [int(line) for line in re.findall(r"bad\.yaml:(\d+)  ", text)]
    assert lines == sorted(lines)
    assert len(lines) == 7


def test_a_misspelt_required_key_is_one_problem():
    config = changed({"train.epochs": REMOVED, "train.epoch": 3})
    text = error_of(config)
    assert "1 problem." in text
    assert "missing" not in text


def test_a_key_that_stands_twice_is_a_problem_among_others():
    Path("bad.yaml").write_text(VALID.replace("  epochs: 3\n", "  epochs: 3\n  epochs: -4\n"))
    with pytest.raises(SlimlineError) as caught:
        load_experiment_file(Path("bad.yaml"))
    text = str(caught.value)
    assert "2 problems" in text
    assert "bad.yaml:6  train.epochs\n      got it twice, in lines 5 and 6, expected once" in text
    assert "got -4" in text


def test_nothing_that_moves_the_cursor_reaches_the_terminal():
    text = error_of(changed({"gate.\x1b[2J": 1, "model.name": "\x1b[2J", "variants.int8.from": "\x1b]0;x\x07"}))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "3 problems" in text


def test_values_of_the_command_line_are_not_blamed_on_a_file():
    Path("good.yaml").write_text(VALID)
    with pytest.raises(SlimlineError) as caught:
        load_experiment(changed({"train.epochs": -1}), [Path("good.yaml")])
    assert "  train.epochs  (not in the file: see --config)\n" in str(caught.value)
    assert "good.yaml:" not in str(caught.value).partition("\n")[2]


def test_a_later_file_overrides_and_is_blamed():
    Path("first.yaml").write_text(VALID)
    Path("second.yaml").write_text("train:\n  epochs: 0\n")
    with pytest.raises(SlimlineError, match=r"second\.yaml:2  train\.epochs"):
        load_experiment(changed({"train.epochs": 0}), [Path("first.yaml"), Path("second.yaml")])


def test_a_mapping_without_a_file_gets_the_same_screen():
    with pytest.raises(SlimlineError, match=r"The config: 4 problems") as caught:
        load_experiment({})
    for key in ("experiment", "dataset", "model", "train"):
        assert f"\n  {key}\n      missing; expected" in str(caught.value)


@pytest.mark.parametrize("name", ["config", "fashion-mnist"])
def test_the_shipped_experiments_load(name):
    experiment = load_experiment_file(ROOT / f"config/{name}.yaml")
    assert experiment.variant_names[0] == "dense"
    assert set(experiment.variants) == {"int8", "pruned", "pruned-int8", "student"}


def test_the_template_loads_once_its_folder_exists():
    template = ROOT / "config/image-folder.yaml"
    with pytest.raises(SlimlineError, match=r"1 problem[\s\S]*dataset\.path\n +got 'data-of-yours/my-images'"):
        load_experiment_file(template)
    Path("data-of-yours/my-images").mkdir(parents=True)
    assert load_experiment_file(template).dataset.image_side_px == 64


def test_a_resolved_config_loads_to_the_same_config():
    experiment = load_experiment(yaml.safe_load(VALID))
    assert experiment.variants["int8"].quantize is not None
    assert load_experiment(experiment.resolved()) == experiment


def test_whole_numbers_may_stand_for_fractions():
    assert load_experiment(changed({"train.learning_rate": 1})).train.learning_rate == 1.0


@pytest.mark.parametrize(("name", "executor"), [("local", "local"), ("config/clusters/slurm.yaml", "slurm")])
def test_clusters_load_by_name_and_by_path(name, executor):
    assert load_cluster(name).executor == executor


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: other", "got 'other', expected `mine`, the name of the file"),
        ("executor: slrum", "did you mean `slurm`?"),
        ("nodes: 2", "the executor is `local`"),
        ("cpus_per_task: 4", "at most `cpus_per_node`, which is 2"),
        ("account: me", "for the executor `slurm` only"),
        ("memory_mb_per_node: 4GB", "got '4GB', expected a whole number of at least 512"),
        ("memory: 4", "did you mean `memory_mb_per_node` or `memory_mb_per_gpu`?"),
    ],
)
def test_a_bad_cluster_names_the_mending(text, words):
    cluster = {"name": "mine", "executor": "local", "cpus_per_node": 2, "memory_mb_per_node": 4096}
    Path("mine.yaml").write_text(yaml.safe_dump(cluster | yaml.safe_load(text)))
    with pytest.raises(SlimlineError) as caught:
        load_cluster("mine.yaml")
    assert words in normal(str(caught.value))


def test_a_missing_cluster_suggests_one():
    with pytest.raises(SlimlineError, match=r"did you mean `slurm\.yaml`"):
        load_cluster("slrum", Path("config/clusters"))


def test_loading_imports_nothing_heavy():
    code = "import sys, slimline.config.load; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    heavy = {"torch", "torchvision", "numpy", "pandas", "pyarrow", "onnx", "onnxruntime", "sklearn", "snakemake"}
    assert not heavy & set(loaded)
