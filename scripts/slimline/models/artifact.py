"""The artifact of a variant: `model.json` (how to rebuild it) and `weights.safetensors`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from slimline.errors import SlimlineError
from slimline.files import read_json, replacing, write_json
from slimline.models.architecture import Architecture
from slimline.models.registry import build_unpruned

MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"


def build(architecture: Architecture) -> nn.Sequential:
    """The module of an architecture with what was pruned taken away; weights are as initialised."""
    model = build_unpruned(architecture)
    if architecture.pruning:
        from slimline.models.dependency import replay  # a second that models which are whole do not need

        replay(model, architecture)
    return model


def save_artifact(folder: Path, model: nn.Module, architecture: Architecture) -> None:
    """Writes `model.json` and `weights.safetensors` into `folder`, each whole or not at all."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    with replacing(folder / WEIGHTS_FILE) as temporary:
        save_file(state, temporary)
    write_json(folder / MODEL_FILE, architecture.to_json())


def load_architecture(folder: Path) -> Architecture:
    """The architecture of the artifact in `folder`."""
    return Architecture.from_json(read_json(folder / MODEL_FILE))


def load_artifact(folder: Path) -> tuple[nn.Sequential, Architecture]:
    """The model of an artifact, with its weights, in evaluation mode, and its architecture.

    Raises:
        SlimlineError: a file is absent or damaged, or the weights do not fit the architecture.
    """
    architecture = load_architecture(folder)
    # The initial weights are overwritten: no reason to disturb the caller's generator.
    with torch.random.fork_rng(devices=[]):
        model = build(architecture)
    path = folder / WEIGHTS_FILE
    state = model.state_dict()  # it knows the version of each module's format, which MNASNet asks for
    state.clear()
    try:
        state.update(load_file(path))
        model.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise SlimlineError(
            "The weights of an artifact cannot be read into its model.",
            where=str(path),
            got=str(error).splitlines()[0],
            next_step=f"delete the folder and run snakemake again: rm -r '{folder}'",
        ) from error
    return model.eval(), architecture


def with_pruning(architecture: Architecture, history: list[tuple[str, bool, list[int]]]) -> Architecture:
    """`architecture` after one more round, of the removals in `history`, in that order."""
    removed = tuple((name, out, tuple(int(index) for index in indexes)) for name, out, indexes in history)
    return replace(architecture, pruning=(*architecture.pruning, removed)) if removed else architecture
