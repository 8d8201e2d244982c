import pytest

from slimline.reporting import format as f

NBSP, MINUS, TIMES = f.NBSP, f.MINUS, f.TIMES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f.size(1_240_000), "1.24 MB"),
        (f.size(41_300), "41.3 kB"),
        (f.size(162_310), "162 kB"),
        (f.size(999), "999 B"),
        (f.size(0), "0 B"),
        (f.milliseconds(0.083), "0.0830 ms"),
        (f.milliseconds(12.44), "12.4 ms"),
        (f.percent(0.984), "98.4 %"),
        (f.percent(0.98417, 2), "98.42 %"),
        (f.percent_interval(0.971, 0.992), "(97.1 to 99.2)"),
        (f.points(-0.0041), f"{MINUS}0.41"),
        (f.points(0.0041), "+0.41"),
        (f.points(0.0), "0.00"),
        (f.points_interval(-0.0083, 0.0028), f"({MINUS}0.83 to +0.28)"),
        (f.points_with_unit(-0.0041), f"{MINUS}0.41 points"),
        (f.quantity(38_666), "38.7 k"),
        (f.quantity(557e6), "557 M"),
        (f.quantity(12), "12"),
        (f.ratio(0.2749), f"0.27 {TIMES}"),
        (f.count(1234567), "1,234,567"),
        (f.plural(1, "seed"), "1 seed"),
        (f.plural(0, "seed"), "0 seeds"),
        (f.plural(1200, "class", "classes"), "1,200 classes"),
        (f.duration(4.21), "4.2 s"),
        (f.duration(59.4), "59 s"),
        (f.duration(125), "2 min 5 s"),
        (f.duration(12_034), "3 h 20 min"),
        (f.hours(0.01234), "0.0123 h"),
    ],
)
def test_numbers_as_readers_see_them(text, expected):
    assert text.replace(NBSP, " ") == expected


def test_units_stay_on_the_line_of_their_numbers():
    for text in (f.size(5e6), f.percent(0.5), f.milliseconds(1.0), f.percent_interval(0.1, 0.2), f.ratio(2.0)):
        assert " " not in text


def test_a_tiny_loss_is_not_minus_zero():
    assert f.fixed(-0.0004, 2) == "0.00"
    assert f.points(-0.000001) == "0.00"


def test_a_column_has_one_number_of_decimals_with_three_digits_for_the_smallest():
    assert f.significant_digits([94.2, 1.24]) == 2
    assert f.significant_digits([0.0831, 0.0412]) == 4
    assert f.significant_digits([5_000.0, 120.0]) == 0
    assert f.significant_digits([]) == 2
    assert f.significant_digits([0.0]) == 2


def test_few_test_items_carry_fewer_decimals():
    assert f.share_digits(360) == 1
    assert f.share_digits(10_000) == 2


def test_lists_are_read_as_sentences_and_cut_with_their_rest():
    assert f.sentence_list([]) == ""
    assert f.sentence_list(["a"]) == "a"
    assert f.sentence_list(["a", "b", "c"]) == "a, b and c"
    assert f.first_few("abcde", 3) == "a, b, c and 2 more"
    assert f.first_few("abc", 3) == "a, b and c"


def test_long_names_end_in_an_ellipsis_and_short_ones_do_not():
    assert f.shorten("abcdef", 4) == "abc…"
    assert f.shorten("abcd", 4) == "abcd"


def test_times_are_read_and_other_text_is_left_as_it_is():
    assert f.moment("2025-06-01T10:15:00+00:00") == "2025-06-01 10:15 UTC"
    assert f.moment("2025-06-01T10:15:00+02:00") == "2025-06-01 08:15 UTC"
    assert f.moment("2025-06-01T10:15:00") == "2025-06-01 10:15 UTC"
    assert f.moment("yesterday") == "yesterday"
