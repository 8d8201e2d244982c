"""What pruning has left of each layer, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping

from slimline.reporting.format import count, fixed, plural
from slimline.reporting.records import Job
from slimline.reporting.view import Cell, Column, Details, Table


def channels_left(variant: str, jobs: Mapping[int, Job]) -> Details | None:
    """A table of the channels of every layer before the first and after the last round.

    Args:
        variant: the pruned variant.
        jobs: its receipts by seed.

    Returns:
        None where no channels were removed: other variants, and those whose weights alone were.
    """
    last = {seed: job.rounds[-1].layers for seed, job in jobs.items() if job.rounds and job.rounds[-1].layers}
    if not last:
        return None
    layers = {name: layer for of_seed in reversed(last.values()) for name, layer in of_seed.items()}
    columns = [Column("layer", numeric=False), Column("channels"), *(Column(f"seed {seed}", "left") for seed in last)]
    columns.append(Column("left, %", "mean"))
    rows = []
    for name, layer in layers.items():
        kept = [of_seed[name].kept if name in of_seed else None for of_seed in last.values()]
        known = [left for left in kept if left is not None]
        share = sum(known) / (len(known) * layer.channels)
        cells = [Cell("in another") if left is None else Cell(count(left), left) for left in kept]
        rows.append(
            [Cell(name), Cell(count(layer.channels), layer.channels), *cells, Cell(fixed(100 * share, 0), share)]
        )
    rounds = max(len(job.rounds) for job in jobs.values())
    note = (
        f"After {plural(rounds, 'round')} of pruning. Layers that are added up have one set of channels and stand here "
        "under the name of the first. Where a seed has fewer such sets than another, a layer is in another one there."
    )
    last_round = next(job.rounds[-1] for job in jobs.values() if job.rounds)
    if last_round.reconstruction is not None:
        images = plural(last_round.reconstruction.samples, "training image")
        note += f" Before any fine-tuning, what is left was fitted to the network before by {images}."
    return Details(f"Channels left in {variant}", [Table(f"channels-{variant}", "Channels", columns, rows, note=note)])
