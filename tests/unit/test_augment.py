"""What is done to training images is a function of each sample, and what its paper says."""

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as torchvision_functional

from slimline.config.train import AugmentationConfig, TrainConfig
from slimline.data import augment as changes_module
from slimline.data.augment import draw_changes, enlarged, random_parts
from slimline.data.batches import random_floats, share
from slimline.data.mixing import draw_mixing, mix, partners
from slimline.data.prepared import PreparedDataset
from slimline.training.feed import Feed
from slimline.training.parts import Part

ROWS = np.arange(1000)
CPU = torch.device("cpu")


def augment(images, config, seed, epoch, rows):
    return changes_module.augment(images, config, draw_changes(config, images.shape[2:], seed, epoch, rows))


def erase(images, config, seed, epoch, rows, mean):
    return changes_module.erase(
        images, draw_changes(config, images.shape[2:], seed, epoch, rows), torch.tensor(mean, dtype=images.dtype)
    )


@pytest.fixture
def images():
    return torch.arange(6 * 2 * 5 * 4, dtype=torch.float32).reshape(6, 2, 5, 4) + 1


def test_without_options_nothing_changes(images):
    assert augment(images, AugmentationConfig(), 0, 0, np.arange(6)) is images
    assert erase(images, AugmentationConfig(), 0, 0, np.arange(6), (0.0, 0.0)) is images


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
    config = AugmentationConfig(
        random_resized_crop=0.3, crop_padding=1, horizontal_flip=True, random_erasing=0.5, cutout_px=2
    )

    def changed(part, rows):
        return erase(augment(part, config, 1, 2, rows), config, 1, 2, rows, (7.0, 8.0))

    assert torch.equal(changed(images, np.arange(6))[3:5], changed(images[3:5], np.array([3, 4])))


def test_about_half_of_the_images_are_mirrored():
    ramp = torch.arange(4.0).expand(1000, 1, 1, 4)
    result = augment(ramp, AugmentationConfig(horizontal_flip=True), 0, 0, ROWS)
    assert 0.44 < (result[:, 0, 0, 0] == 3).float().mean() < 0.56


def test_every_shift_is_as_likely_as_another():
    dots = torch.zeros(1000, 1, 5, 5)
    dots[:, :, 2, 2] = 1
    moved = augment(dots, AugmentationConfig(crop_padding=1), 0, 0, ROWS).sum(0)[0, 1:4, 1:4]
    assert moved.sum() == 1000
    assert stats.chisquare(moved.flatten().numpy()).pvalue > 1e-4


@pytest.mark.parametrize("size", [(8, 8), (33, 33), (24, 31)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_random_part_is_scaled_as_torchvision_scales_it(size, dtype):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 3, *size), generator=generator).to(dtype)
    parts = random_parts(0.08, size, 1, 2, np.arange(50))
    result = enlarged(images, *map(torch.from_numpy, parts))
    for index, part in enumerate(np.stack(parts, 1).astype(int).tolist()):
        expected = torchvision_functional.resized_crop(images[index].float(), *part, list(size), antialias=True)
        # of 255: positions as float32 differ in their last bits
        torch.testing.assert_close(result[index], expected, rtol=0, atol=0.01)


def test_random_parts_are_distributed_as_those_of_torchvision():
    torch.manual_seed(0)
    image = torch.empty(3, 224, 224)
    theirs = np.array([RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(4000)])
    ours = np.stack(random_parts(0.08, (224, 224), 0, 0, np.arange(4000)), 1)
    for values in (lambda part: part[:, 2] * part[:, 3], lambda part: part[:, 3] / part[:, 2], lambda part: part[:, 0]):
        assert stats.ks_2samp(values(ours), values(theirs)).pvalue > 1e-3


@pytest.mark.parametrize(("least", "size"), [(0.05, (5, 9)), (0.99, (64, 64)), (0.5, (3, 3))])
def test_random_parts_lie_in_the_image(least, size):
    top, left, tall, wide = random_parts(least, size, 0, 0, ROWS)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= size[0]).all()
    assert (left + wide <= size[1]).all()
    assert min(tall.min(), wide.min()) >= 1
    assert np.array_equal(np.stack([top, left, tall, wide]), np.rint([top, left, tall, wide]))


def test_the_whole_image_as_part_changes_nothing(images):
    zeros, ones = torch.zeros(6), torch.ones(6)
    torch.testing.assert_close(enlarged(images, zeros, zeros, 5 * ones, 4 * ones), images, rtol=0, atol=1e-3)


def test_erasing_sets_one_rectangle_of_the_papers_sizes_to_the_mean():
    pixels = torch.ones(1000, 2, 20, 30)
    result = erase(pixels, AugmentationConfig(random_erasing=0.4), 3, 1, ROWS, (5.0, 6.0))
    erased = result[:, 0] == 5.0
    assert torch.equal(erased, result[:, 1] == 6.0)
    assert (result[:, 0][~erased] == 1).all()
    share_of_area = erased.float().mean((1, 2))
    assert 0.35 < (share_of_area > 0).float().mean() < 0.45
    assert share_of_area[share_of_area > 0].min() > 0.01
    assert share_of_area.max() < 0.36
    for mask in erased[share_of_area > 0][:50]:
        lines, columns = mask.any(1), mask.any(0)
        assert mask.sum() == lines.sum() * columns.sum(), "a rectangle"


def test_cutout_takes_a_square_and_cuts_it_off_at_the_sides():
    result = erase(torch.ones(1000, 1, 12, 12), AugmentationConfig(cutout_px=4), 0, 0, ROWS, (0.0,))
    areas = (result == 0).sum((1, 2, 3))
    assert areas.max() == 16
    assert areas.min() == 4
    whole = ((result[:, 0] == 0).sum((1, 2)) == 16).float().mean()
    assert whole == pytest.approx((9 / 12) ** 2, abs=0.06)


def test_partners_are_a_circle_through_the_batch_that_changes_with_the_epoch():
    batch = np.random.default_rng(0).permutation(64)
    found = partners(batch, seed=1, epoch=2)
    assert sorted(found) == sorted(batch)
    assert not np.any(found == batch)
    assert not np.array_equal(found, partners(batch, seed=1, epoch=3))


@pytest.mark.parametrize("alphas", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_labels_are_shared_as_the_pixels_are(alphas):
    n, labels = 1000, torch.zeros(1000, dtype=torch.int64)
    own, other = torch.zeros(n, 1, 8, 8), torch.ones(n, 1, 8, 8)
    mixing = draw_mixing(AugmentationConfig(**alphas), (8, 8), 5, 1, ROWS)
    images, shares = mix(own, labels, other, labels + 2, 3, mixing)
    assert torch.allclose(shares.sum(1), torch.ones(n))
    assert torch.allclose(images.mean((1, 2, 3)), shares[:, 2], atol=1e-5)
    assert (shares[:, 1] == 0).all()
    cut = ((images == 0) | (images == 1)).all(dim=(1, 2, 3)).float().mean()
    expected = {("mixup",): 0.0, ("cutmix",): 1.0}.get(tuple(alphas), 0.5)
    assert cut == pytest.approx(expected, abs=0.06)


def test_mixup_shares_follow_the_beta_distribution():
    labels = torch.zeros(1000, dtype=torch.int64)
    pixels = torch.zeros(1000, 1, 1, 1)
    mixing = draw_mixing(AugmentationConfig(mixup=0.4), (1, 1), 0, 0, ROWS)
    _, shares = mix(pixels, labels, pixels, labels + 1, 2, mixing)
    assert stats.kstest(shares[:, 0].numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


def test_floats_are_uniform():
    assert stats.kstest(random_floats(0, 0, ROWS, 3), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("ranks", [2, 3])
def test_mixed_batches_are_the_same_however_many_ranks_share_them(digits, ranks):
    data = PreparedDataset.open(digits)
    config = AugmentationConfig(random_resized_crop=0.3, crop_padding=1, random_erasing=0.3, mixup=0.3, cutmix=1.0)
    feed = Feed(data, TrainConfig(epochs=1, augmentation=config), seed=4, device=CPU)
    batch = data.rows("train")[:60]
    others = partners(batch, 4, 0)
    (whole,) = feed.training([Part(0, batch, others)])
    parts = list(feed.training([Part(0, share(batch, ranks, r), share(others, ranks, r)) for r in range(ranks)]))
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
