"""Starting from trained weights: torchvision's by name, or a safetensors file."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from slimline.config.model import ModelConfig
from slimline.config.weights import checked_digest
from slimline.errors import SlimlineError
from slimline.files import sha256_file

log = logging.getLogger("slimline")

State = dict[str, Tensor]


def start_from(model: nn.Sequential, config: ModelConfig) -> None:
    """Loads the weights that `config` names into a freshly built model; nothing where it names none.

    The first convolution and the last layer may differ in shape, since they are fitted to the dataset: they then
    stay as initialised.

    Raises:
        SlimlineError: the weights are not to be had, or belong to another architecture.
    """
    if config.weights is None:
        return
    network = model[-1]
    assert isinstance(network, nn.Module)
    if config.weights_file is not None:
        path = Path(config.weights_file)
        checked_digest(path, config.weights_sha256, "model")
        state = _inside(_read(path))
    else:
        state = _torchvision(config.name, config.weights)
    _load(network, state, config)


def _load(network: nn.Module, state: State, config: ModelConfig) -> None:
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    fresh = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    replaceable = _stem_and_head(network)
    wrong = [name for name in fresh if name.rpartition(".")[0] not in replaceable]
    if wrong:
        shapes = f"{tuple(state[wrong[0]].shape)} in the file" if wrong[0] in state else "nothing in the file"
        raise SlimlineError(
            "The weights belong to another architecture.",
            where=f"model.weights: {config.weights}",
            got=f"{len(wrong)} tensors that do not fit, such as {wrong[0]}: {shapes}",
            expected=f"those of {config.name}; only {' and '.join(replaceable)} may differ in shape",
        )
    network.load_state_dict(fitting, strict=False)
    log.info(
        "started from %s: %d tensors; as initialised: %s", config.weights, len(fitting), ", ".join(fresh) or "none"
    )


def _stem_and_head(network: nn.Module) -> list[str]:
    """Names of the first convolution and of the layer that gives the logits."""
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    linears = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return [*convolutions[:1], (linears or convolutions)[-1]]


def _read(path: Path) -> State:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise SlimlineError(
            "The file of weights cannot be read.",
            where=str(path),
            got=str(error).splitlines()[0],
            expected="a safetensors file",
            next_step="convert other formats once: safetensors.torch.save_file(state_dict, path)",
        ) from error


def _inside(state: State) -> State:
    """Names as in the network: in an artifact of slimline it stands behind normalisation, and maybe resizing."""
    places = {name.partition(".")[0] for name in state}
    if not all(place.isdigit() for place in places):
        return state
    own = str(max(map(int, places)))
    return {name.partition(".")[2]: tensor for name, tensor in state.items() if name.partition(".")[0] == own}


def _torchvision(name: str, weights: str) -> State:
    """Weights of torchvision from its cache, else from the network."""
    from torchvision.models import get_model_weights

    known = get_model_weights(name)
    member = weights.rpartition(".")[2]
    if member not in known.__members__:
        raise SlimlineError(
            "torchvision has no such weights.",
            where="model.weights",
            got=weights,
            expected=f"one of {', '.join(known.__members__)} for {name}, or a file whose name ends in .safetensors",
        )
    url = known[member].url
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if file.exists():
        _check_digest(file)
    try:
        state: State = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        raise SlimlineError(
            "The weights of torchvision cannot be had from here.",
            where="model.weights",
            got=str(error).splitlines()[0],
            expected=f"network access, or the file {file}",
            next_step=f"where there is a network: curl --create-dirs -o '{file}' {url}",
        ) from error
    # Old files of DenseNet have a point inside what are single names today.
    return {re.sub(r"\.(norm|conv)\.(\d)\.", r".\1\2.", key): tensor for key, tensor in state.items()}


def _check_digest(file: Path) -> None:
    """The first digits of the SHA-256 stand at the end of the file's name; torch checks downloads, but not copies."""
    expected = re.search(r"-([0-9a-f]{8,})\.", file.name)
    if expected and not (found := sha256_file(file)).startswith(expected[1]):
        raise SlimlineError(
            "A file in torchvision's cache is damaged.",
            where=str(file),
            got=f"SHA-256 {found}",
            expected=f"one that starts with {expected[1]}",
            next_step=f"remove it, and fetch it again: rm '{file}'",
        )
