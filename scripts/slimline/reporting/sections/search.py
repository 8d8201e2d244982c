"""How the variants were found: what the target search tried, on which images, and what it chose."""

from __future__ import annotations

from slimline.config.variants import DENSE
from slimline.reporting.charts.tradeoff import Gate, TradeoffPoint, tradeoff_chart
from slimline.reporting.format import TIMES, count, fixed, plural, sentence_list, significant
from slimline.reporting.view import (
    Block,
    Cell,
    Column,
    Details,
    Fact,
    Facts,
    Figure,
    Figures,
    Section,
    Table,
    csv_download,
)
from slimline.search.records import Point, Round, Search, deciding_round

# Colours of the style sheet by the last step of a variant.
HUES = {"prune": 1, "distil": 2, "quantize": 3}
TITLES = {"latency": f"latency p50, {TIMES} dense", "size": f"file size, {TIMES} dense"}


def search_section(search: Search) -> Section:
    """The aim and its cost, the round that decided as a picture, all trials as a table."""
    lead = (
        f"Trials with seed {search.seed}, judged on the validation split: the test split had no part in what was "
        "chosen. Each round trains its networks longer than the one before and leaves the better half (successive "
        "halving). Of the last, what is within the limit even with a standard error of its loss added comes first, by "
        "cost: the cheapest of many that seem to be within it may be so by luck. What was chosen is then "
        "trained in full, for all seeds, and compared above."
    )
    blocks: list[Block | Details] = [Facts(_facts(search)), Figures([_figure(search)])]
    blocks.append(Details("All trials", [_table(search), *_failures(search)]))
    return Section("search", "Search", lead, blocks)


def _facts(search: Search) -> list[Fact]:
    plan = search.plan
    took = sum(found.hours for found in search.rounds)
    budget = "no limit" if plan.budget_hours is None else f"{significant(plan.budget_hours)} {plan.unit}"
    rounds = [
        f"{plural(len({p.structure for p in found.points} - {DENSE}), 'network')} for {plural(found.epochs, 'epoch')}"
        for found in search.rounds
    ]
    left_out = (
        f"; left out for the budget: {sentence_list(f'{n} epochs' for n in plan.left_out)}" if plan.left_out else ""
    )
    chosen = sentence_list(search.finalists) if search.finalists else "nothing"
    facts = [
        Fact("Aim", f"least {search.minimize}, at most {fixed(100 * search.accuracy_drop, 2)} points less than dense"),
        Fact("Rounds", f"{', '.join(rounds)}{left_out}"),
        Fact("Cost", f"{significant(took)} {plan.unit}; forecast {significant(plan.forecast_hours)}, budget: {budget}"),
        Fact("Chosen", chosen),
    ]
    if search.best is None:
        why = "every trial failed, or is slower than what it was made of"
        facts.append(Fact("Outcome", why, status="warning"))
    elif not search.within_limit:
        facts.append(Fact("Limit", "no trial kept to it; those nearest to it were chosen", status="warning"))
    return facts


def _figure(search: Search) -> Figure:
    number = deciding_round(search.rounds)
    decides = search.rounds[number]
    usable = [point for point in decides.points if point.usable]
    accuracy = decides.dense_accuracy
    reference = TradeoffPoint(DENSE, "train", 0, 1.0, accuracy, accuracy, accuracy, ())
    points = [reference, *(_mark(search, point, accuracy) for point in usable)]
    finals = {point.variant: point.final for point in usable}
    front = sentence_list(finals[variant] for variant in search.front) if search.front else "nothing"
    title = f"Validation accuracy against {search.minimize} in round {number + 1}"
    svg = tradeoff_chart(
        "chart-search",
        points,
        Gate(accuracy - search.accuracy_drop, None),
        TITLES[search.minimize],
        title,
        f"On the front: {front}.",
    )
    names = list(Point.model_fields)
    rows = [
        [number, found.epochs, *(getattr(point, name) for name in names)]
        for number, found in enumerate(search.rounds, start=1)
        for point in found.points
    ]
    download = csv_download("search.csv", ["round", "epochs", *names], rows)
    return Figure(svg, f"{title}. On the front, cheapest first: {front}.", download)


def _mark(search: Search, point: Point, dense_accuracy: float) -> TradeoffPoint:
    step = (
        "quantize" if point.final != point.structure else "prune" if point.structure.startswith("prune") else "distil"
    )
    accuracy = dense_accuracy - point.accuracy_drop
    x = point.cost(search.minimize)
    chosen = point.final in search.finalists
    return TradeoffPoint(point.final, step, HUES[step], x, accuracy, accuracy, accuracy, (), recommended=chosen)


def _table(search: Search) -> Table:
    columns = [
        Column("trial", numeric=False),
        Column("round"),
        Column("epochs"),
        Column("drop, points"),
        Column(f"latency, {TIMES} dense"),
        Column(f"size, {TIMES} dense"),
        Column("outcome", numeric=False),
    ]
    rows = [
        [
            Cell(point.variant, point.variant),
            Cell(count(number), number),
            Cell(count(found.epochs), found.epochs),
            Cell(_drop(point), point.accuracy_drop),
            Cell(fixed(point.latency_ratio, 3), point.latency_ratio),
            Cell(fixed(point.size_ratio, 3), point.size_ratio),
            Cell(_outcome(search, number, found, point)),
        ]
        for number, found in enumerate(search.rounds, start=1)
        for point in found.points
    ]
    note = (
        "The drop is against dense with the same seed, on the validation split, with its standard error over the "
        "images; latencies are timed in turns."
    )
    return Table("search-trials", "Trials", columns, rows, note=note, sortable=True)


def _drop(point: Point) -> str:
    return f"{fixed(100 * point.accuracy_drop, 2)} \N{PLUS-MINUS SIGN} {fixed(100 * point.accuracy_drop_se, 2)}"


def _outcome(search: Search, number: int, found: Round, point: Point) -> str:
    if not point.usable:
        return f"not used: {point.problem}"
    if number == deciding_round(search.rounds) + 1 and point.final in search.finalists:
        return "chosen"
    if number == len(search.rounds):
        return ""
    if point.structure == DENSE:
        return "takes part in each round"
    return "goes on" if point.structure in found.survivors else ""


def _failures(search: Search) -> list[Table]:
    rows = [[Cell(name), Cell(why)] for found in search.rounds for name, why in found.failed.items()]
    if not rows:
        return []
    columns = [Column("trial", numeric=False), Column("reason", numeric=False)]
    return [Table("search-failures", "Trials that could not be made", columns, rows)]
