"""Compression as users write it with the libraries alone: Torch-Pruning, ONNX Runtime and NNCF as their pages show.

No setting is changed from its default where there is one. What ours gets, this gets too: the same trained network, the
same images, as many epochs of fine-tuning at the same peak learning rate, as many calibration images.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import nncf
import numpy as np
import onnx
import onnxruntime
import torch
import torch_pruning
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from torch.nn import functional

BATCH, MOMENTUM = 128, 0.9


@dataclass(frozen=True)
class Training:
    """What fine-tuning gets: images uint8 [n, c, h, w] with labels int64 [n], epochs and a peak learning rate.

    `precision` is what slimline's own training computed in, `bf16` or `fp32`.
    """

    images: torch.Tensor
    labels: torch.Tensor
    epochs: int
    learning_rate: float
    seed: int
    precision: str


def prune(model, ratio, training):
    """Torch-Pruning's first example: the magnitude pruner in one step, all layers alike, the classifier left out."""
    example = training.images[:2]
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    pruner = torch_pruning.pruner.MagnitudePruner(
        model, example, importance=torch_pruning.importance.MagnitudeImportance(p=2), pruning_ratio=ratio,
        ignored_layers=[last],
    )  # fmt: skip
    pruner.step()
    return finetune(model, training)


def finetune(model, training):
    """Plain SGD with momentum, the learning rate along half a cosine, mirror images."""
    generator = torch.Generator().manual_seed(training.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=training.learning_rate, momentum=MOMENTUM, nesterov=True)
    n_images = len(training.images)
    steps_per_epoch = math.ceil(n_images / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.epochs * steps_per_epoch)
    model.train()
    for _ in range(training.epochs):
        order = torch.randperm(n_images, generator=generator)
        for rows in order.split(BATCH):
            images = training.images[rows]
            mirrored = torch.rand(len(rows), generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training.precision == "bf16"):
                loss = functional.cross_entropy(model(images), training.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def export(model, example, path):
    """Torch's exporter, with a batch of any size."""
    torch.onnx.export(
        model, (example,), path, dynamo=True, external_data=False, input_names=["images"], output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
    )  # fmt: skip
    return path


class Images(CalibrationDataReader):
    """Calibration images uint8 [n, c, h, w], one at a time, as ONNX Runtime asks for them."""

    def __init__(self, images):
        self.left = iter(images)

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"images": image[None]}


def quantize_with_onnxruntime(path: Path, images, output: Path):
    """ONNX Runtime's static quantization, after its own preparation of the graph."""
    onnxruntime.quantization.shape_inference.quant_pre_process(path, prepared := output.with_suffix(".prepared.onnx"))
    quantize_static(prepared, output, Images(images))
    return output


def quantize_with_nncf(path: Path, images, output: Path):
    """NNCF's post-training quantization of an ONNX file."""
    dataset = nncf.Dataset([{"images": image[None]} for image in images])
    model = nncf.quantize(onnx.load(path), dataset, subset_size=len(images))
    onnx.save(model, output)
    return output


def logits(session, images):
    """Logits [n, k] of uint8 images [n, c, h, w], by any session with `run`."""
    return np.concatenate([session.run(images[start : start + 250]) for start in range(0, len(images), 250)])
