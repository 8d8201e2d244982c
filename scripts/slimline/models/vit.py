"""A vision transformer for small images, from torchvision's parts."""

from __future__ import annotations

from torch import nn

HEADS, LAYERS, PATCH_PX = 4, 6, 4


def vit_tiny(
    channels: int, image_size: tuple[int, int], num_classes: int, width: float = 1.0, dropout: float = 0.0
) -> nn.Module:
    """The VisionTransformer of torchvision, with 6 layers of 192 channels and 4 heads on patches of 4x4 pixels.

    Args:
        channels: of an image.
        image_size: height and width in pixels, equal and multiples of 4.
        num_classes: number of classes.
        width: factor on the number of channels.
        dropout: dropout before the last layer.

    Returns:
        A module with logits [n, num_classes] of images [n, channels, height, width].
    """
    from torchvision.models import VisionTransformer  # 2 s that the other small models do not need

    hidden = max(1, round(192 * width / 16)) * 16
    network: nn.Module = VisionTransformer(
        image_size=image_size[0],
        patch_size=PATCH_PX,
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=hidden,
        mlp_dim=4 * hidden,
        num_classes=num_classes,
    )
    network.conv_proj = nn.Conv2d(channels, hidden, PATCH_PX, PATCH_PX)
    network.heads = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, num_classes))
    return network
