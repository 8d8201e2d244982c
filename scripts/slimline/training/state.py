"""What a model and its optimizer hold, as tensors by name: the same names and order of rows however ranks share it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor, Replicate

from slimline.models.architecture import Architecture
from slimline.models.artifact import build
from slimline.training.parallel import is_sharded
from slimline.training.tensor_parallel import reordered_parameters

MODEL, OPTIMIZER = "model/", "optimizer/"


def collect_state(model: nn.Module, optimizer: torch.optim.Optimizer, is_main: bool) -> dict[str, Tensor]:
    """Weights as `model/<name>` and optimizer state as `optimizer/<parameter>/<key>`; a collective if sharded.

    Shards come as DTensors. What every rank has alike comes from the main rank alone: of running statistics, its own
    are those that count.
    """
    state = {}
    rows = reordered_parameters(model)
    for name, tensor in (*_model_tensors(model), *_optimizer_tensors(model, optimizer)):
        if (order := rows.get(_parameter_of(name))) is not None and tensor.ndim:
            tensor = _full(tensor)[_inverse(order)]
        if is_main or isinstance(tensor, DTensor):
            state[name] = tensor.detach()
    return state


def restore_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Reads the safetensors files of a checkpoint into model and optimizer; each rank reads what it holds.

    The files may come from any number of ranks and any parallelism.

    Raises:
        RuntimeError: the files hold another model.
    """
    reader = dcp.HuggingFaceStorageReader(str(folder))
    stored = reader.read_metadata().state_dict_metadata
    state = _optimizer_space(model, optimizer, stored)
    targets = dict(_model_tensors(model))
    for index, parameter in enumerate(_parameters(optimizer)):
        name = _names(model)[parameter]
        targets |= {f"{OPTIMIZER}{name}/{key}": value for key, value in state.get(index, {}).items()}
    rows = reordered_parameters(model)
    reordered = {name: rows[_parameter_of(name)] for name, tensor in targets.items() if _is_reordered(name, tensor, rows)}
    usual = {name: torch.empty(targets[name].shape, dtype=targets[name].dtype) for name in reordered}
    _read({**targets, **usual}, reader)
    with torch.no_grad():
        for name, order in reordered.items():
            _take_part(targets[name], usual[name][order])
    content = optimizer.state_dict()
    content["state"] = state
    optimizer.load_state_dict(content)


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
        weights[name] = full[_inverse(rows[name])] if name in rows else full
    with torch.random.fork_rng(devices=[]):
        whole = build(architecture)
    whole.load_state_dict(weights)
    return whole


def _model_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in model.state_dict().items():
        yield MODEL + name, tensor


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    names = _names(model)
    for parameter in _parameters(optimizer):
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                yield f"{OPTIMIZER}{names[parameter]}/{key}", torch.as_tensor(value)


def _optimizer_space(
    model: nn.Module, optimizer: torch.optim.Optimizer, stored: Mapping[str, object]
) -> dict[int, dict[str, Tensor]]:
    """Room for the stored state of each parameter, by its place among the optimizer's parameters."""
    names, space = _names(model), {}
    for index, parameter in enumerate(_parameters(optimizer)):
        prefix = f"{OPTIMIZER}{names[parameter]}/"
        space[index] = {
            key.removeprefix(prefix): _room(parameter, entry)
            for key, entry in stored.items()
            if key.startswith(prefix) and isinstance(entry, TensorStorageMetadata)
        }
    return {index: values for index, values in space.items() if values}


def _room(parameter: Tensor, entry: TensorStorageMetadata) -> Tensor:
    dtype = entry.properties.dtype
    if entry.size == parameter.shape:
        # Cut as the parameter is; and fused kernels walk through both side by side: the layouts must agree.
        return torch.empty_like(parameter, dtype=dtype, requires_grad=False)
    return torch.empty(entry.size, dtype=dtype)


def _read(targets: dict[str, Tensor], reader: dcp.HuggingFaceStorageReader) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it reads without talking to other ranks: it is meant to
            dcp.load(dict(targets), storage_reader=reader, no_dist=True)
    except CheckpointException as error:  # no Exception, so that nobody would catch it
        raise RuntimeError(f"a checkpoint does not fit the model: {error}") from error


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _names(model: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in model.named_parameters()}


def _parameter_of(name: str) -> str:
    """The parameter that an entry of a checkpoint belongs to."""
    return name.removeprefix(MODEL) if name.startswith(MODEL) else name.removeprefix(OPTIMIZER).rpartition("/")[0]


def _is_reordered(name: str, tensor: Tensor, rows: dict[str, Tensor]) -> bool:
    return tensor.ndim > 0 and _parameter_of(name) in rows


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


def _inverse(order: Tensor) -> Tensor:
    return torch.argsort(order)


def _take_part(target: Tensor, full: Tensor) -> None:
    """Copies into `target` the part of `full` that it holds."""
    if not isinstance(target, DTensor):
        target.copy_(full)
        return
    for chunk in target.__create_chunk_list__():
        part = tuple(slice(start, start + size) for start, size in zip(chunk.offsets, chunk.sizes, strict=True))
        target.to_local().copy_(full[part])
