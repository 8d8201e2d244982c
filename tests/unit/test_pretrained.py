"""Starting from weights: what fits is taken, what cannot fit is named, and no file is trusted blindly."""

from dataclasses import replace
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1
from training_fixtures import history, same, train, training_spec, with_recipe

from slimline.config.experiment import ExperimentConfig
from slimline.config.model import ModelConfig
from slimline.config.weights import with_digests
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.files import sha256_file
from slimline.models import pretrained
from slimline.models.artifact import build
from slimline.models.pretrained import start_from
from slimline.models.registry import architecture_for

FILE = "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture
def spec(digits, monkeypatch):
    return training_spec(digits, monkeypatch)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Torch's cache in a folder of the test's, and no network."""

    def unreachable(url, *args, **kwargs):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def fresh(digits, config, seed=1):
    torch.manual_seed(seed)
    return build(architecture_for(config, PreparedDataset.open(digits).stats))


def test_without_weights_nothing_changes(digits):
    config = ModelConfig(name="convnet")
    model = fresh(digits, config)
    start_from(model, config)
    assert same(model.state_dict(), fresh(digits, config).state_dict())


def test_an_artifact_is_a_start_and_learns_further(spec, tmp_path):
    before = train(spec, tmp_path / "a")
    file = tmp_path / "a/result/weights.safetensors"
    model = ModelConfig(name="convnet", width=0.5, weights=str(file), weights_sha256=sha256_file(file))
    frozen = with_recipe(replace(spec, model=model), epochs=1, freeze=["features.*"])
    after = train(frozen, tmp_path / "b")
    features = [name for name in before if "features" in name]
    assert features
    assert all(torch.equal(before[name], after[name]) for name in features)
    assert not same(before, after)
    assert history(tmp_path / "b")[0]["train_loss"] < history(tmp_path / "a")[0]["train_loss"]


def test_other_classes_and_channels_keep_a_fresh_stem_and_head(digits, cache, monkeypatch):
    theirs = squeezenet1_1(num_classes=1000)
    torch.save(theirs.state_dict(), cache / FILE)
    monkeypatch.setattr(pretrained, "sha256_file", lambda path: "b8a52dc0" + "0" * 56)
    config = ModelConfig(name="squeezenet1_1", weights="SqueezeNet1_1_Weights.IMAGENET1K_V1")
    model, untouched = fresh(digits, config), fresh(digits, config)
    start_from(model, config)
    for name, tensor in model[-1].state_dict().items():
        # of the first layer the bias fits whatever the channels
        is_fresh = name.startswith("classifier.1.") or name == "features.0.weight"
        source = untouched[-1] if is_fresh else theirs
        assert torch.equal(tensor, source.state_dict()[name]), name


def test_without_a_network_the_error_says_which_file_to_put_where(digits, cache):
    config = ModelConfig(name="squeezenet1_1", weights="DEFAULT")
    with pytest.raises(SlimlineError, match="cannot be had") as caught:
        start_from(fresh(digits, config), config)
    assert str(cache / FILE) in str(caught.value)
    assert "https://download.pytorch.org/models/" in str(caught.value)


def test_a_damaged_copy_in_the_cache_is_not_used(digits, cache):
    torch.save(squeezenet1_1(num_classes=10).state_dict(), cache / FILE)
    config = ModelConfig(name="squeezenet1_1", weights="DEFAULT")
    with pytest.raises(SlimlineError, match="damaged") as caught:
        start_from(fresh(digits, config), config)
    assert "b8a52dc0" in str(caught.value)


def test_a_file_with_code_in_it_is_not_run(digits, cache, capsys):
    class Harm:
        def __reduce__(self):
            return (print, ("harm",))

    torch.save({"x": Harm()}, cache / FILE)
    config = ModelConfig(name="squeezenet1_1", weights="DEFAULT")
    with pytest.raises(SlimlineError, match="damaged"):
        start_from(fresh(digits, config), config)
    assert "harm" not in capsys.readouterr().out


def test_an_unknown_name_is_answered_with_the_known_ones(digits):
    config = ModelConfig(name="squeezenet1_1", weights="IMAGENET1K_V9")
    with pytest.raises(SlimlineError, match="no such weights") as caught:
        start_from(fresh(digits, config), config)
    assert "IMAGENET1K_V1" in str(caught.value)


def test_weights_of_another_architecture_are_refused(digits, tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(3)}, file)
    config = ModelConfig(name="convnet", weights=str(file))
    with pytest.raises(SlimlineError, match="another architecture"):
        start_from(fresh(digits, config), config)


def experiment(**model):
    return ExperimentConfig.model_validate(
        {
            "experiment": "x",
            "dataset": {"name": "digits"},
            "model": {"name": "convnet", **model},
            "train": {"epochs": 1},
            "variants": {"student": {"from": "dense", "distil": {"model": {"name": "convnet", **model}}}},
        }
    )


def test_the_digest_of_a_file_becomes_part_of_the_config(tmp_path):
    file = tmp_path / "start.safetensors"
    save_file({"x": torch.zeros(1)}, file)
    pinned = with_digests(experiment(weights=str(file)))
    assert pinned.model.weights_sha256 == sha256_file(file)
    assert pinned.variants["student"].distil.model.weights_sha256 == sha256_file(file)
    assert with_digests(experiment()) == experiment()


def test_a_file_that_is_absent_or_another_is_named_before_anything_runs(tmp_path):
    file = tmp_path / "start.safetensors"
    with pytest.raises(SlimlineError, match="not there"):
        with_digests(experiment(weights=str(file)))
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(SlimlineError, match="not the one that was meant"):
        with_digests(experiment(weights=str(file), weights_sha256="0" * 64))


def test_small_models_have_no_weights_by_name():
    with pytest.raises(ValueError, match="torchvision has no weights"):
        ModelConfig(name="convnet", weights="IMAGENET1K_V1")
