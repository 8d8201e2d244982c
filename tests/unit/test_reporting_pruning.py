"""The table of channels that pruning has left."""

from types import SimpleNamespace

from slimline.reporting.sections.pruning import channels_left


def job(**kept):
    layers = {name: SimpleNamespace(channels=64, kept=n) for name, n in kept.items()}
    return SimpleNamespace(rounds=[SimpleNamespace(layers=layers, reconstruction=None)])


def test_seeds_may_have_come_to_other_groups():
    """A grouped convolution with one channel to each group is depthwise: its two groups are one in the next round."""
    details = channels_left("pruned", {0: job(first=32, second=8), 1: job(first=16), 2: job(first=32, third=64)})
    (table,) = details.blocks
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["first"] == ["64", "32", "16", "32", "42"]
    assert rows["second"] == ["64", "8", "in another", "in another", "12"]
    assert rows["third"] == ["64", "in another", "in another", "64", "100"]
