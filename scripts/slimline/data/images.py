"""Image files as pixels: decoding, bringing to one size, and the digest that tells equal images."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = npt.NDArray[np.uint8]

# Decoders that Pillow brings itself. Without this list an EPS file under any name would start Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# Where a JPEG may say that it is to be turned. To look for it where it is not takes a fifth of a small image's time.
ORIENTED = frozenset({"exif", "xmp"})


class UnreadableImageError(Exception):
    """A file that cannot be decoded, with the reason as its message."""


def decode_image(path: Path) -> Pixels:
    """Decodes the first frame of an image file as RGB.

    The EXIF orientation is applied. Grey, palette and CMYK images are converted, 16-bit grey keeps its
    upper 8 bits, and transparent pixels are laid on white.

    Returns:
        uint8 array [height, width, 3].

    Raises:
        UnreadableImageError: the file cannot be read or decoded, whatever the cause.
    """
    try:
        if path.stat().st_size == 0:
            raise UnreadableImageError("the file is empty")
        with Image.open(path, formats=FORMATS) as image:
            if image.format != "JPEG" or not ORIENTED.isdisjoint(image.info):
                ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(_to_rgb(image))
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError("the content is not an image, or of a kind that is not supported") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreadableImageError(reason or type(error).__name__) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableImageError("32-bit pixels have no fixed range: save it with 8 or 16 bits")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def fit(pixels: Pixels, size: int, channels: int) -> Pixels:
    """Scales the shorter side to `size` and cuts the centre out, with bilinear interpolation and antialiasing.

    Args:
        pixels: uint8 array [height, width, 3].
        size: height and width of the result.
        channels: 3 keeps RGB, 1 gives grey (ITU-R 601 luma).

    Returns:
        uint8 array [channels, size, size].
    """
    if pixels.shape == (size, size, channels):
        return pixels.transpose(2, 0, 1)
    image = Image.fromarray(pixels)
    fitted = ImageOps.fit(image if channels == 3 else image.convert("L"), (size, size), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(size, size, channels).transpose(2, 0, 1)


def pixel_sha256(pixels: Pixels) -> str:
    """SHA-256 of an image's size and pixels: equal for two files exactly when they decode to the same image.

    Args:
        pixels: uint8 array [height, width, channels].
    """
    digest = hashlib.sha256("x".join(map(str, pixels.shape)).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()
