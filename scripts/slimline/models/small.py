"""Small networks for tiny images, where torchvision's smallest are too large."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from slimline.models.vit import vit_tiny


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, at least 8 and a multiple of 8, which vector units like."""
    return max(8, round(channels * width / 8) * 8)


class ConvNet(nn.Module):
    """Two convolutions with pooling, then two fully connected layers.

    Args:
        channels: input channels, 1 to 4.
        image_size: height and width of the images in pixels, at least 4.
        num_classes: number of classes.
        width: factor on the number of channels and of hidden units.
        dropout: dropout before the last layer.
    """

    def __init__(
        self, channels: int, image_size: tuple[int, int], num_classes: int, width: float = 1.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        first, second, hidden = scaled(32, width), scaled(64, width), scaled(128, width)
        self.features = nn.Sequential(
            nn.Conv2d(channels, first, 3, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        height, breadth = image_size[0] // 4, image_size[1] // 4
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(second * height * breadth, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, num_classes] of images [n, channels, height, width]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


class ConvNet7(nn.Module):
    """Seven 3x3 convolutions in three stages that halve the image, in the manner of VGG (Simonyan et al., 2014).

    Pooling comes before normalisation and ReLU, which then have a quarter of the values to work on, and the last
    pooling takes maxima (as Jordan, 2024, for CIFAR-10): more accuracy for the same time.

    Args as for `ConvNet`; images of at least 8 pixels.
    """

    def __init__(
        self, channels: int, image_size: tuple[int, int], num_classes: int, width: float = 1.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        del image_size  # global pooling takes any
        stem, *stages = (scaled(each, width) for each in (16, 32, 64, 128))
        layers: list[nn.Module] = [*_conv_bn(channels, stem), nn.ReLU()]
        for channels_in, channels_out in zip((stem, *stages), stages, strict=False):
            conv, norm = _conv_bn(channels_in, channels_out)
            layers += [conv, nn.MaxPool2d(2), norm, nn.ReLU(), *_conv_bn(channels_out, channels_out), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(stages[-1], num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, num_classes] of images [n, channels, height, width]."""
        logits: Tensor = self.head(self.features(images).amax((2, 3)))
        return logits


def _conv_bn(channels_in: int, channels_out: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity or a 1x1 projection (He et al., 2015)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps [n, channels_out, height / stride, width / stride]."""
        inner = torch.relu(self.bn1(self.conv1(images)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(images))


class ResNet8(nn.Module):
    """A residual network of one block per stage, with 16, 32 and 64 channels: the CIFAR family's smallest.

    Args as for `ConvNet`; any image size from 4 pixels up.
    """

    def __init__(
        self, channels: int, image_size: tuple[int, int], num_classes: int, width: float = 1.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        del image_size  # global pooling takes any
        stages = [scaled(16, width), scaled(32, width), scaled(64, width)]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, stages[0], 3, padding=1, bias=False), nn.BatchNorm2d(stages[0]), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            ResidualBlock(stages[0], stages[0], 1),
            ResidualBlock(stages[0], stages[1], 2),
            ResidualBlock(stages[1], stages[2], 2),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(stages[2], num_classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, num_classes] of images [n, channels, height, width]."""
        logits: Tensor = self.head(self.blocks(self.stem(images)))
        return logits


# (channels, image size in pixels, classes, width, dropout) -> network
SMALL_MODELS: dict[str, Callable[[int, tuple[int, int], int, float, float], nn.Module]] = {
    "convnet": ConvNet,
    "convnet7": ConvNet7,
    "resnet8": ResNet8,
    "vit_tiny": vit_tiny,
}
