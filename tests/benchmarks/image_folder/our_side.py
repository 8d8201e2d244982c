"""From an image folder through the data steps to one epoch of the trainer.

    python our_side.py FOLDER SIDE_PX BATCH THREADS STORAGE PRECISION SCRATCH

Prints a line after each step of the epoch.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torchvision.models import resnet18
from unit.data_fixtures import Steps

from slimline.config.cluster import ClusterConfig
from slimline.config.dataset import DatasetConfig
from slimline.config.model import ModelConfig
from slimline.config.train import TrainConfig
from slimline.data.prepared import PreparedDataset
from slimline.models.registry import Normalize, architecture_for
from slimline.plan.allocation import choose
from slimline.plan.footprint import footprint
from slimline.training.distributed import World
from slimline.training.loop import Trainer
from slimline.training.losses import cross_entropy
from slimline.training.settings import RunSettings
from slimline.training.spec import Allocation, TrainingSpec
from slimline.training.stop import StopRequest


class StepsTold(StopRequest):
    """Asked by the trainer after each step."""

    @property
    def requested(self):
        print("step", flush=True)
        return False


def main(folder, side_px, batch, threads, storage, precision, scratch):
    torch.set_num_threads(threads)
    dataset = DatasetConfig(name="image-folder", path=str(folder), image_size=side_px, validation=0.0, storage=storage)
    data = PreparedDataset.open(Steps(dataset, scratch / "data", threads).run())
    augmentation = {"random_resized_crop": 0.08, "horizontal_flip": True}
    recipe = TrainConfig.model_validate(
        {
            "epochs": 1, "batch_size": batch, "optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4,
            "augmentation": augmentation, "log_every_steps": 1_000_000, "precision": precision,
        }
    )  # fmt: skip
    cluster = ClusterConfig(
        name="bench", executor="local", cpus_per_node=threads, cpus_per_task=threads, memory_mb_per_node=16_000
    )
    architecture = architecture_for(ModelConfig(name="resnet18"), data.stats)
    plan = choose(footprint(architecture), recipe, data.stats.n_train, cluster)
    spec = TrainingSpec(
        experiment="bench", variant="dense", seed=0, entry="", prepared=data.folder, recipe=recipe,
        allocation=Allocation.from_plan(plan), inputs={}, code="",
    )  # fmt: skip
    RunSettings(checkpoint_interval_s=1e9).write(scratch)
    # torchvision's network as it is: slimline's own choice for small images would have another first layer.
    model = nn.Sequential(Normalize(data.stats.mean, data.stats.std), resnet18(num_classes=data.stats.num_classes))
    Trainer(model, spec, cross_entropy(0.0), World(0, 1, torch.device("cpu")), scratch, StepsTold()).fit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), *sys.argv[5:7], Path(sys.argv[7]))
