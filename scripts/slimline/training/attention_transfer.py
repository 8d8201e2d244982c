"""Attention transfer: a student learns where its teacher looks (Zagoruyko and Komodakis, ICLR 2017).

The attention of a feature map is the sum over its channels of squared activations, scaled to unit length. It has no
parameters, and the numbers of channels need not agree: whatever is narrower or of another family can learn from it, as
long as both networks have feature maps of one size. The loss of an image depends on that image alone, so that sums over
a batch do not depend on how the batch is shared out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from slimline.models.feature_maps import Size


def attention(features: Tensor) -> Tensor:
    """Where a layer looks: [n, h * w] of unit length, in fp32 or better, from its activations [n, c, h, w]."""
    exact = features.to(torch.promote_types(features.dtype, torch.float32))
    return functional.normalize(exact.square().sum(1).flatten(1), dim=1)


def attention_distance(student: Mapping[Size, Tensor], teacher: Mapping[Size, Tensor]) -> Tensor:
    """Half the squared distance between attentions, summed over sizes and images: a scalar.

    Equation 2 of the paper with squares, as the authors' own code has it: the plain distance has no derivative where
    the two agree. Between vectors of unit length and no negative values it is 0 to 1 for each image and size.

    Args:
        student: activations [n, c, h, w] by size.
        teacher: attention [n, h * w] by size, at least of the same sizes.
    """
    distances = [(attention(features) - teacher[size]).square().sum() / 2 for size, features in student.items()]
    return torch.stack(distances).sum()
