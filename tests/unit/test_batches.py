import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slimline.config.train import AugmentationConfig
from slimline.data.augment import augment
from slimline.data.batches import epoch_order, random_words, share, steps_per_epoch

ROWS = np.arange(100, 1100)


def test_an_epoch_sees_every_row_once_and_epochs_and_seeds_differ():
    first, second, other = epoch_order(ROWS, 0, 0), epoch_order(ROWS, 0, 1), epoch_order(ROWS, 1, 0)
    assert sorted(first) == sorted(second) == sorted(other) == list(ROWS)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert np.array_equal(first, epoch_order(ROWS, 0, 0))


def test_the_order_of_an_epoch_is_not_that_of_the_rows():
    correlation = np.corrcoef(epoch_order(ROWS, 0, 0), ROWS)[0, 1]
    assert abs(correlation) < 0.15  # four standard errors at n = 1000


@given(n=st.integers(1, 5000), batch_size=st.integers(1, 512), ranks=st.integers(1, 8))
def test_steps_and_ranks_share_out_every_row_once_in_batches_that_fit(n, batch_size, ranks):
    rows = np.arange(n)
    steps = steps_per_epoch(n, batch_size)
    batches = [share(rows, steps, step) for step in range(steps)]
    lengths = {len(batch) for batch in batches}
    assert max(lengths) <= batch_size
    assert max(lengths) - min(lengths) <= 1
    seen = [share(batch, ranks, rank) for batch in batches for rank in range(ranks)]
    assert np.array_equal(np.concatenate(seen), rows)


def test_random_words_are_uniform_and_belong_to_the_row_alone():
    words = random_words(3, 5, ROWS, draw=1)
    assert np.array_equal(words[40:50], random_words(3, 5, ROWS[40:50], draw=1))
    bits = (words[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert abs(bits.mean() - 0.5) < 0.01
    assert len(np.unique(words)) == len(ROWS)


@pytest.fixture
def images():
    return torch.arange(6 * 2 * 5 * 4, dtype=torch.float32).reshape(6, 2, 5, 4) + 1


def test_without_options_nothing_changes(images):
    assert augment(images, AugmentationConfig(), 0, 0, np.arange(6)) is images


def test_each_image_is_some_shift_and_mirror_image_of_itself(images):
    config = AugmentationConfig(crop_padding=2, horizontal_flip=True)
    result = augment(images, config, seed=1, epoch=2, rows=np.arange(6))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for index in range(6):
        candidates = [
            crop if not mirrored else crop.flip(-1)
            for y in range(5)
            for x in range(5)
            for crop in [padded[index, :, y : y + 5, x : x + 4]]
            for mirrored in (False, True)
        ]
        assert any(torch.equal(result[index], candidate) for candidate in candidates)
    assert not torch.equal(result, images)


def test_the_change_of_an_image_does_not_depend_on_its_batch(images):
    config = AugmentationConfig(crop_padding=1, horizontal_flip=True)
    together = augment(images, config, 1, 2, np.arange(6))
    alone = augment(images[3:5], config, 1, 2, np.array([3, 4]))
    assert torch.equal(together[3:5], alone)


def test_about_half_of_the_images_are_mirrored():
    ramp = torch.arange(4.0).expand(1000, 1, 1, 4)
    result = augment(ramp, AugmentationConfig(horizontal_flip=True), 0, 0, np.arange(1000))
    assert 0.44 < (result[:, 0, 0, 0] == 3).float().mean() < 0.56
