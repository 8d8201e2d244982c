"""The training that users of PyTorch Lightning write: ImageFolder, a DataLoader, a LightningModule.

    python lightning_side.py FOLDER SIDE_PX BATCH THREADS

Prints a line after each step of one epoch.
"""

import sys
from pathlib import Path

import lightning
import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18


class Classifier(lightning.LightningModule):
    def __init__(self, num_classes):
        super().__init__()
        self.model = resnet18(num_classes=num_classes)

    def training_step(self, batch):
        images, labels = batch
        return functional.cross_entropy(self.model(images), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)

    def on_train_batch_end(self, *_):
        print("step", flush=True)


def main(folder, side_px, batch, threads):
    torch.set_num_threads(threads)
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(side_px),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    images = ImageFolder(str(folder / "train"), transform)
    loader = DataLoader(images, batch, shuffle=True, num_workers=threads, persistent_workers=True)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Classifier(len(images.classes)), loader)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
