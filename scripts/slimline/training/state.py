"""What a model and its optimizer hold, as tensors by name: the same names and order of rows however ranks share it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.tensor import DTensor, Replicate

from slimline.models.architecture import Architecture
from slimline.models.artifact import build
from slimline.training.parallel import is_sharded
from slimline.training.tensor_parallel import reordered_parameters

# Further weights of a model by a name for each set, such as a moving average: {set: {name of the weight: tensor}}
Copies = Mapping[str, Mapping[str, Tensor]]

MODEL, OPTIMIZER = "model", "optimizer"


@dataclass(frozen=True)
class Entry:
    """The key of a tensor in a checkpoint, `model/<weight>` or `optimizer/<weight>/<key>` or `<set>/<weight>`."""

    kind: str
    weight: str
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`."""
        return cls(*text.split("/"))

    def __str__(self) -> str:
        return "/".join(filter(None, (self.kind, self.weight, self.key)))


def collect_state(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], copies: Copies, is_main: bool
) -> dict[str, Tensor]:
    """Weights, optimizer state and copies by their keys in a checkpoint; a collective if sharded.

    Shards come as DTensors. What every rank has alike comes from the main rank alone: of running statistics, its own
    are those that count.
    """
    rows = reordered_parameters(model)
    state = {}
    for entry, tensor in _tensors(model, optimizers, copies):
        if entry.weight in rows and tensor.ndim:
            tensor = _full(tensor)[torch.argsort(rows[entry.weight])]
        if is_main or isinstance(tensor, DTensor):
            state[str(entry)] = tensor.detach()
    return state


def restore_state(folder: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> Copies:
    """Reads the safetensors files of a checkpoint into model and optimizers; each rank reads what it holds.

    The files may come from any number of ranks and any parallelism.

    Returns:
        The copies of the weights, cut as the weights are.

    Raises:
        RuntimeError, KeyError: the files hold another model.
    """
    reader = HuggingFaceStorageReader(str(folder))
    weights = model.state_dict()
    targets = {Entry(MODEL, name): tensor for name, tensor in weights.items()}
    copies: dict[str, dict[str, Tensor]] = {}
    for text, stored in reader.read_metadata().state_dict_metadata.items():
        entry = Entry.parse(text)
        assert isinstance(stored, TensorStorageMetadata)
        if entry not in targets:
            targets[entry] = _room(weights[entry.weight], stored)
        if entry.kind not in (MODEL, OPTIMIZER):
            copies.setdefault(entry.kind, {})[entry.weight] = targets[entry]
    rows = reordered_parameters(model)
    usual = {
        entry: torch.empty(target.shape, dtype=target.dtype)
        for entry, target in targets.items()
        if entry.weight in rows and target.ndim
    }
    _read({str(entry): tensor for entry, tensor in (targets | usual).items()}, reader)
    with torch.no_grad():
        for entry, full in usual.items():
            _take_part(targets[entry], full[rows[entry.weight]])
    _give(optimizers, model, targets)
    return copies


def unsharded(model: nn.Module, architecture: Architecture) -> nn.Module:
    """`model` itself, or where ranks share its parameters, a copy in host memory with all of them; a collective.

    Args:
        model: as trained.
        architecture: what rebuilds it.
    """
    if not is_sharded(model):
        return model
    rows = reordered_parameters(model)
    weights = {}
    for name, tensor in model.state_dict().items():
        full = _full(tensor)
        weights[name] = full[torch.argsort(rows[name])] if name in rows else full
    with torch.random.fork_rng(devices=[]):
        whole = build(architecture)
    whole.load_state_dict(weights)
    return whole


def _tensors(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], copies: Copies
) -> Iterator[tuple[Entry, Tensor]]:
    for kind, weights in {MODEL: model.state_dict(), **copies}.items():
        for name, tensor in weights.items():
            yield Entry(kind, name), tensor
    names = {parameter: name for name, parameter in model.named_parameters()}
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            assert isinstance(parameter, nn.Parameter)
            for key, value in state.items():
                if value is not None:
                    yield Entry(OPTIMIZER, names[parameter], key), torch.as_tensor(value)


def _room(weight: Tensor, stored: TensorStorageMetadata) -> Tensor:
    dtype = stored.properties.dtype
    if stored.size == weight.shape:
        # Cut as the weight is; and fused kernels walk through both side by side: the layouts must agree.
        return torch.empty_like(weight, dtype=dtype, requires_grad=False)
    return torch.empty(stored.size, dtype=dtype)


def _read(targets: dict[str, Tensor], reader: HuggingFaceStorageReader) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it reads without talking to other ranks: it is meant to
            load(dict(targets), storage_reader=reader, no_dist=True)
    except CheckpointException as error:  # no Exception, so that nobody would catch it
        raise RuntimeError(f"a checkpoint does not fit the model: {error}") from error


def _give(optimizers: Sequence[torch.optim.Optimizer], model: nn.Module, targets: Mapping[Entry, Tensor]) -> None:
    """Hands each optimizer the state of its parameters."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    states: dict[str, dict[str, Tensor]] = {}
    for entry, tensor in targets.items():
        if entry.kind == OPTIMIZER:
            states.setdefault(entry.weight, {})[entry.key] = tensor
    for optimizer in optimizers:
        parameters: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
        content = optimizer.state_dict()
        content["state"] = {
            index: states[names[parameter]] for index, parameter in enumerate(parameters) if names[parameter] in states
        }
        optimizer.load_state_dict(content)


def _full(tensor: Tensor) -> Tensor:
    """All of a tensor in host memory; a collective if ranks share it."""
    tensor = tensor.detach()
    if not isinstance(tensor, DTensor):
        return tensor.cpu()
    placements = list(tensor.placements)
    for dimension in range(len(placements)):  # shards first: they were cut from tensor parts
        placements[dimension] = Replicate()
        tensor = tensor.redistribute(placements=placements)
    return tensor.to_local().cpu()


def _take_part(target: Tensor, full: Tensor) -> None:
    """Copies into `target` the part of `full` that it holds."""
    if not isinstance(target, DTensor):
        target.copy_(full)
        return
    chunks = target.__create_chunk_list__()  # type: ignore[no-untyped-call]
    for chunk in chunks:
        part = tuple(slice(start, start + size) for start, size in zip(chunk.offsets, chunk.sizes, strict=True))
        target.to_local().copy_(full[part])
