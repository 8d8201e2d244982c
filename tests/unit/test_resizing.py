"""Smaller images at first: sizes as a function of the step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slimline.config.resizing import ProgressiveResizingConfig, share_of_work, size_at, sizes_at_first
from slimline.models.image_sizes import resized


def config(**changes):
    return ProgressiveResizingConfig(**({"start_px": 16} | changes))


def test_sides_grow_by_equal_steps_up_to_the_whole_one():
    assert sizes_at_first(config(), (28, 28)) == [(16, 16), (20, 20), (24, 24)]
    assert sizes_at_first(config(step_px=5), (28, 28)) == [(16, 16), (21, 21), (26, 26)]
    assert sizes_at_first(config(step_px=100), (28, 28)) == [(16, 16)]
    assert sizes_at_first(config(), (40, 30)) == [(21, 16), (27, 20), (32, 24), (37, 28)], "proportions stay"
    assert sizes_at_first(config(start_px=32), (28, 28)) == []
    assert sizes_at_first(None, (28, 28)) == []


def test_each_size_has_as_many_steps():
    sides = [size_at(step, 13, config(until=0.5), (28, 28))[0] for step in range(13)]
    assert sides == [16, 16, 20, 20, 24, 24] + [28] * 7
    assert size_at(0, 1, config(), (28, 28)) == (28, 28), "of one step, half are none"
    assert size_at(0, 10, None, (28, 28)) == (28, 28)
    assert size_at(0, 10, config(start_px=32), (28, 28)) == (28, 28)


@given(st.integers(1, 200), st.floats(0.01, 0.99), st.integers(4, 40), st.integers(1, 40))
def test_images_never_shrink_and_the_last_step_sees_whole_ones(n_steps, until, start_px, step_px):
    resizing = config(until=until, start_px=start_px, step_px=step_px)
    areas = [
        height * width for height, width in (size_at(step, n_steps, resizing, (30, 44)) for step in range(n_steps))
    ]
    assert areas == sorted(areas)
    assert areas[-1] == 30 * 44


def test_work_is_reckoned_with_the_sides():
    assert share_of_work(config(until=0.5), (28, 28)) == pytest.approx(0.5 + 0.5 * 20 / 28)
    assert share_of_work(None, (28, 28)) == 1.0
    assert share_of_work(config(start_px=28), (28, 28)) == 1.0


def test_smaller_images_are_means_of_what_they_show_and_whole_ones_are_left_alone():
    images = torch.rand(2, 3, 8, 12).contiguous(memory_format=torch.channels_last)
    assert resized(images, (8, 12)) is images
    small = resized(images, (4, 6))
    assert small.shape == (2, 3, 4, 6)
    assert small.is_contiguous(memory_format=torch.channels_last)
    checkers = (torch.arange(8)[:, None] + torch.arange(12)).remainder(2).expand(1, 1, 8, 12).float()
    assert resized(checkers, (2, 3)).sub(0.5).abs().max() < 0.1, "antialiased, not every fourth pixel"
