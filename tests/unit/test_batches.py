import numpy as np
from hypothesis import given
from hypothesis import strategies as st

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
