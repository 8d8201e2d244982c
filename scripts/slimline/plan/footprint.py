"""What one training step of a model needs, read off its computation graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slimline.config.pruning import images_at_once
from slimline.models.architecture import Architecture
from slimline.models.artifact import build
from slimline.models.attention import attention_heads
from slimline.models.count import count_macs, count_parameters, largest_activation_bytes
from slimline.models.sparsity import prunable_weights

ALIVE_OUTPUTS = 3
# Besides those, what is read comes with padding, and what is given by places.
ALIVE_IN_RECONSTRUCTION = 5
TRACE_IMAGES = 2  # batch normalisation wants more than one


@dataclass(frozen=True)
class Teachers:
    """Sizes of the models that teach a student, all together.

    Args:
        weight_bytes: parameters and buffers; no rank shares them with another.
        cache_bytes: their answers to all training images, where these are kept; 0 where they are asked each time.
        activation_bytes_per_image: what is alive at once in the forward pass of one of them, for one image.
        macs: of one forward pass of one image through all of them.
    """

    weight_bytes: int
    cache_bytes: int
    activation_bytes_per_image: int
    macs: int


@dataclass(frozen=True)
class Footprint:
    """Sizes of a model in training.

    Args:
        parameters: trainable values.
        macs: multiply-accumulate operations of a forward pass of one image.
        weight_bytes: parameters and buffers.
        activation_bytes_per_image: what autograd keeps between forward and backward for one image.
        heads: most ranks that can share its attention evenly; 0 for a model without attention.
        teachers: what the models that teach it need beside it, on every rank.
        layers: convolutions, linear layers and attentions.
        share_trained: of its work, what a step of training takes on the mean; less than 1 where channels go before, or
            where images are smaller at first.
        before_bytes: what is there before the first step and not later, beside the weights, on every rank.
    """

    parameters: int
    macs: int
    weight_bytes: int
    activation_bytes_per_image: int
    heads: int = 0
    teachers: Teachers | None = None
    layers: int = 0
    share_trained: float = 1.0
    before_bytes: int = 0


def footprint(architecture: Architecture) -> Footprint:
    """Traces one small forward pass and adds up the tensors that autograd saves, each storage once."""
    with torch.random.fork_rng(devices=[]):
        model = build(architecture)
    own = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.zeros(TRACE_IMAGES, *architecture.image_shape)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = model.train()(images)
    del logits  # until here every saved storage has an address of its own
    return Footprint(
        parameters=count_parameters(model),
        macs=count_macs(model, architecture.image_shape),
        weight_bytes=sum(_bytes(tensor) for tensor in nn.Module.state_dict(model).values()),
        activation_bytes_per_image=sum(saved.values()) // TRACE_IMAGES,
        heads=attention_heads(model),
        layers=len(prunable_weights(model)),
    )


def teachers_footprint(architecture: Architecture, number: int, cache_bytes: int) -> Teachers:
    """What `number` teachers of one architecture need, all of them loaded at once.

    Without gradients a layer's input and output are alive, and what a connection around it carries: three times the
    largest output.
    """
    with torch.random.fork_rng(devices=[]):
        model = build(architecture).eval()
    return Teachers(
        weight_bytes=number * sum(_bytes(tensor) for tensor in model.state_dict().values()),
        cache_bytes=cache_bytes,
        activation_bytes_per_image=ALIVE_OUTPUTS * largest_activation_bytes(model, architecture.image_shape),
        macs=number * count_macs(model, architecture.image_shape),
    )


def reconstruction_bytes(architecture: Architecture, n_samples: int) -> int:
    """What it takes to fit a pruned network to its parent: that one, and the activations of all images at once."""
    with torch.random.fork_rng(devices=[]):
        model = build(architecture)
    largest = largest_activation_bytes(model, architecture.image_shape)
    weights = sum(_bytes(tensor) for tensor in model.state_dict().values())
    return weights + ALIVE_IN_RECONSTRUCTION * largest * images_at_once(n_samples, largest)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
