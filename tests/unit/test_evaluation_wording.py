"""Figures in words."""

import pytest

from slimline.evaluation import wording


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.25, "4.0x faster"), (0.8, "1.25x faster"), (1.0, "as fast"), (1.004, "as fast"), (1.3, "1.30x slower")],
)
def test_speed(ratio, text):
    assert wording.speed(ratio) == text


@pytest.mark.parametrize(("ratio", "text"), [(0.0671, "14.9x smaller"), (0.998, "as large"), (2.5, "2.5x larger")])
def test_size(ratio, text):
    assert wording.size(ratio) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (62_100, "62.1 kB"),
        (999_499, "999 kB"),
        (999_600, "1.00 MB"),
        (46_800_000, "46.8 MB"),
        (5_000_000_000_000, "5000 GB"),
    ],
)
def test_file_size(value, text):
    assert wording.file_size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.05137, "0.0514 ms"), (1.234, "1.23 ms"), (60.04, "60.0 ms"), (1234.5, "1234 ms")]
)
def test_milliseconds(value, text):
    assert wording.milliseconds(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(-0.0028, "-0.28"), (0.0028, "+0.28"), (0.0, "0.00"), (-1e-9, "0.00"), (1e-9, "0.00")]
)
def test_signed_points_have_no_negative_zero(share, text):
    assert wording.signed_points(share) == text
