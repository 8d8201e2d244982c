from __future__ import annotations

import io

import numpy as np
import pytest
from data_fixtures import jpeg
from PIL import Image

from slimline.data.images import UnreadableImageError, decode_image, fit, pixel_sha256

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]], [[1, 2, 3], [4, 5, 6]]], np.uint8)


def saved(path, image: Image.Image, **options):
    image.save(path, **options)
    return path


def test_rgb_is_kept(tmp_path):
    np.testing.assert_array_equal(decode_image(saved(tmp_path / "a.png", Image.fromarray(COLOURS))), COLOURS)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    path = saved(tmp_path / "a.png", Image.fromarray(COLOURS), exif=exif)
    np.testing.assert_array_equal(decode_image(path), np.rot90(COLOURS, k=-1))


def test_an_orientation_that_is_said_in_xmp_alone_is_applied(tmp_path):
    image = Image.new("RGB", (8, 4))
    image.save(tmp_path / "turned.jpg", xmp=b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>')
    assert decode_image(tmp_path / "turned.jpg").shape == (8, 4, 3)


def test_transparent_pixels_are_laid_on_white(tmp_path):
    rgba = np.zeros((1, 2, 4), np.uint8)
    rgba[0, 1] = (10, 20, 30, 255)
    pixels = decode_image(saved(tmp_path / "a.png", Image.fromarray(rgba)))
    assert pixels.tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_transparent_palette_is_laid_on_white_without_a_warning(tmp_path):
    image = Image.new("P", (2, 1), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), 0)
    path = saved(tmp_path / "a.png", image, transparency=bytes([0, 255]))
    assert decode_image(path).tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("1", "png"), ("LA", "png"), ("CMYK", "jpg"), ("P", "gif")])
def test_other_modes_become_rgb(tmp_path, mode, suffix):
    pixels = decode_image(saved(tmp_path / f"a.{suffix}", Image.new(mode, (5, 4))))
    assert pixels.shape == (4, 5, 3)
    assert pixels.dtype == np.uint8


def test_sixteen_bit_grey_keeps_its_upper_bits(tmp_path):
    grey = np.array([[0, 0x1234, 0xFFFF]], np.uint16)
    path = saved(tmp_path / "a.png", Image.fromarray(grey))
    assert decode_image(path)[0, :, 0].tolist() == [0, 0x12, 0xFF]


def test_float_pixels_are_refused_with_advice(tmp_path):
    path = saved(tmp_path / "a.tif", Image.fromarray(np.ones((2, 2), np.float32)))
    with pytest.raises(UnreadableImageError, match="save it with 8 or 16 bits"):
        decode_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"a text, not an image", "not an image"),
        (jpeg(np.random.default_rng(0), 40, 40)[:-100], "truncated"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\n", "not an image"),
    ],
    ids=["empty", "text", "truncated", "broken-png", "eps"],
)
def test_broken_files_have_a_reason(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        decode_image(tmp_path / "a.jpg")
    assert str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_an_absent_file_has_a_reason(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"^No such file or directory$"):
        decode_image(tmp_path / "a.jpg")


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    path = saved(tmp_path / "a.png", Image.fromarray(np.zeros((5, 5), np.uint8)))
    with pytest.raises(UnreadableImageError, match="exceeds limit"):
        decode_image(path)


def test_fit_scales_the_shorter_side_and_cuts_the_centre_out():
    halves = np.zeros((20, 80, 3), np.uint8)
    halves[:, 40:] = 200
    fitted = fit(halves, 10, 3)
    assert fitted.shape == (3, 10, 10)
    assert fitted[:, :, :4].max() == 0
    assert fitted[:, :, 6:].min() == 200


def test_fit_smooths_what_it_makes_smaller():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit(stripes, 8, 3)[:, :, 1:-1].astype(int) - 127).max() < 10


def test_fit_keeps_grey_values():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(fit(grey, 8, 1), grey[:, :, 0][None])


@pytest.mark.parametrize("shape", [(1, 300, 3), (300, 1, 3), (1, 1, 3)])
def test_fit_takes_any_shape(shape):
    assert fit(np.full(shape, 7, np.uint8), 8, 3).tolist() == np.full((3, 8, 8), 7).tolist()


def test_the_digest_depends_on_pixels_and_size_only(tmp_path):
    same = decode_image(saved(tmp_path / "a.png", Image.fromarray(COLOURS)))
    also = decode_image(saved(tmp_path / "b.bmp", Image.fromarray(COLOURS)))
    assert pixel_sha256(same) == pixel_sha256(also)
    assert pixel_sha256(COLOURS) != pixel_sha256(COLOURS.reshape(2, 3, 3))
    assert pixel_sha256(COLOURS) == pixel_sha256(np.asfortranarray(COLOURS))
    assert pixel_sha256(COLOURS) != pixel_sha256(COLOURS ^ 1)


def test_a_jpeg_from_memory_is_what_pillow_decodes(tmp_path):
    content = jpeg(np.random.default_rng(1), 30, 50)
    (tmp_path / "a.jpg").write_bytes(content)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.jpg"), np.asarray(Image.open(io.BytesIO(content))))
