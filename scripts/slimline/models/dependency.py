"""The graph of which channels must go together (DepGraph, Fang et al., CVPR 2023)."""

from __future__ import annotations

import torch
import torch_pruning
from torch import nn

from slimline.models.architecture import Architecture


def example_images(architecture: Architecture) -> torch.Tensor:
    """Float images [2, c, h, w] that exercise a model's graph."""
    return torch.zeros(2, *architecture.image_shape)


def dependency_graph(model: nn.Module, architecture: Architecture) -> torch_pruning.DependencyGraph:
    """Torch-Pruning's dependency graph of a model, traced with images of its shape."""
    return torch_pruning.DependencyGraph().build_dependency(model, example_images(architecture))
