import itertools
import re

import pytest
from html_tree import parse_html
from hypothesis import given
from hypothesis import strategies as st

from slimline.reporting.charts.columns import column_chart
from slimline.reporting.charts.curves import Curve, ResumeMark, curves_chart
from slimline.reporting.charts.forest import ForestRow, forest_chart
from slimline.reporting.charts.heatmap import HeatCell, heat_map
from slimline.reporting.charts.labels import Box, place_labels
from slimline.reporting.charts.strips import bar_strip, interval_strip
from slimline.reporting.charts.svg import coordinate, element, path
from slimline.reporting.charts.tradeoff import Gate, TradeoffPoint, pareto_front, tradeoff_chart
from slimline.reporting.charts.tree import TreeNode, depth_first, tree_chart
from slimline.reporting.format import MINUS

FRAME = Box(0.0, 0.0, 400.0, 300.0)


def point(name, x, y, **more):
    values = {"step": "quantize", "hue": 1, "y_low": y - 0.01, "y_high": y + 0.01, "seeds": ((x, y),)}
    return TradeoffPoint(name=name, x=x, y=y, **values | more)


GATE = Gate(0.95, 0.9)


def picture(*points, gate=GATE):
    return parse_html(tradeoff_chart("chart", points, gate, "latency in ms", "Accuracy", "words"))


def test_coordinates_are_short_and_never_minus_zero():
    assert [coordinate(v) for v in (3.0, 2.449, -0.01, -1.25)] == ["3", "2.4", "0", "-1.2"]


def test_text_and_attributes_are_escaped_and_markup_is_not_escaped_twice():
    inner = element("title", "a < b & c")
    assert str(element("g", inner, class_='x"y', tab_index=None)) == (
        '<g class="x&#34;y"><title>a &lt; b &amp; c</title></g>'
    )


def test_path_data_is_a_move_and_the_points_of_a_line():
    assert path([(0.0, 1.0), (2.5, 3.25)]) == "M0,1 2.5,3.2"


def test_the_front_holds_what_nothing_else_beats():
    points = [point("dense", 10, 0.99), point("good", 4, 0.98), point("worse", 5, 0.97), point("small", 1, 0.90)]
    assert [p.name for p in pareto_front(points)] == ["small", "good", "dense"]


def test_of_two_at_one_cost_the_more_accurate_is_on_the_front():
    assert [p.name for p in pareto_front([point("a", 1, 0.9), point("b", 1, 0.95)])] == ["b"]


costs = st.floats(0.1, 100.0)
shares = st.floats(0.0, 1.0)


@given(st.lists(st.tuples(costs, shares), min_size=1, max_size=12))
def test_no_point_beats_the_front_and_the_front_rises(pairs):
    points = [point(str(index), x, y) for index, (x, y) in enumerate(pairs)]
    front = pareto_front(points)
    assert all(a.x < b.x and a.y < b.y for a, b in itertools.pairwise(front))
    for p in points:
        assert any(q.x <= p.x and q.y >= p.y for q in front)


def test_each_seed_is_a_dot_and_marks_off_the_front_are_hollow():
    seeds = ((1.0, 0.97), (1.1, 0.98), (0.9, 0.99))
    svg = picture(point("dense", 2, 0.985, step="train"), point("int8", 1, 0.98, seeds=seeds), point("bad", 3, 0.97))
    dots = [e for e in svg.walk() if "seed" in e.classes]
    hollow = [e for e in svg.walk() if "hollow" in e.classes]
    assert (len(dots), len(hollow)) == (5, 1)


def test_a_variant_far_below_the_others_is_an_arrow_with_its_number_and_leaves_their_scale_alone():
    good = (point("dense", 2, 0.985, step="train"), point("int8", 1, 0.98))
    with_broken = picture(*good, point("broken", 1.5, 0.10))
    names = [e.text for e in with_broken.all("text")]
    assert "broken (10.0\u00a0%)" in names
    assert "10" not in names, "the axis does not reach down to it"


def test_the_gate_is_drawn_where_it_is_declared():
    both = picture(point("dense", 2, 0.985, step="train"), point("int8", 1, 0.98))
    accuracy_only = picture(point("dense", 2, 0.985, step="train"), point("int8", 1, 0.98), gate=Gate(0.95, None))
    assert [len([e for e in svg.walk() if "gate" in e.classes]) for svg in (both, accuracy_only)] == [2, 1]


names = st.text("abcdefgh-", min_size=1, max_size=14)
spots = st.tuples(st.floats(60, 340), st.floats(60, 240))


@given(st.lists(st.tuples(names, spots), min_size=1, max_size=6))
def test_labels_stay_inside_the_frame(points):
    labels = place_labels([name for name, _ in points], [spot for _, spot in points], [], FRAME)
    assert all(FRAME.around(label.box) for label in labels)


def test_labels_of_points_side_by_side_do_not_cover_each_other_or_the_points():
    anchors = [(100.0, 100.0), (104.0, 103.0), (99.0, 108.0), (107.0, 96.0)]
    obstacles = [Box.about(anchor, 5.0) for anchor in anchors]
    labels = place_labels(["pruned", "pruned-int8", "student", "int8"], anchors, obstacles, FRAME)
    for index, label in enumerate(labels):
        assert not any(label.box.overlap(box) for box in obstacles)
        assert not any(label.box.overlap(other.box) for other in labels[:index])


def test_a_box_along_a_line_covers_both_ends():
    assert Box.along((10.0, 5.0), (2.0, 5.0)).around(Box(2.0, 5.0, 10.0, 5.0))


def row(name, value, low, high, status="pass"):
    return ForestRow(name, value, low, high, status.upper(), status)


def forest(*rows, margin=0.01):
    return parse_html(forest_chart("forest", rows, margin, "dense", "title", "words"))


def test_a_loss_beyond_the_scale_is_an_arrow_with_its_number():
    svg = forest(row("int8", 0.0, -0.004, 0.004), row("broken", -0.88, -0.89, -0.86, "fail"))
    assert f"{MINUS}88.0" in [e.text for e in svg.all("text")]
    assert len(svg.all("circle")) == 1


def test_names_and_readings_lie_beside_the_plot():
    svg = forest(row("pruned-and-quantized", -0.004, -0.011, 0.004), row("int8", -0.02, -0.03, 0.03))
    axis = svg.one("line", **{"class": "axis"})
    left, right = (float(axis.attributes[end]) for end in ("x1", "x2"))
    for interval in [line for line in svg.all("line") if "interval" in line.classes]:
        assert left <= float(interval.attributes["x1"]) <= float(interval.attributes["x2"]) <= right
    names = [e for e in svg.all("text") if "row-name" in e.classes and "reading" not in e.classes]
    assert {float(name.attributes["x"]) for name in names} == {2.0}
    assert left > 2.0 + 6.5 * len("pruned-and-quantized")


def test_zero_lies_right_of_the_margin_by_the_right_length():
    svg = forest(row("a", -0.02, -0.03, 0.01))
    gate = float(svg.one("line", **{"class": "gate"}).attributes["x1"])
    zero = float(svg.one("line", **{"class": "reference-line"}).attributes["x1"])
    value = float(svg.one("circle").attributes["cx"])
    assert zero - gate == pytest.approx((zero - value) / 2, abs=0.2)


def test_a_margin_of_zero_can_be_drawn():
    assert "gate: 0" in [e.text for e in forest(row("a", 0.0, 0.0, 0.0), margin=0.0).all("text")]


def curve(name, style, *values, spread=0.0):
    epochs = tuple(float(index + 1) for index in range(len(values)))
    low, high = tuple(v - spread for v in values), tuple(v + spread for v in values)
    return Curve(name, style, epochs, values, low, high)


def test_a_curve_has_a_line_and_a_band_only_where_seeds_differ():
    curves = [curve("train", "train", 2.0, 1.0), curve("validation", "validation", 2.1, 1.2, spread=0.1)]
    svg = parse_html(curves_chart("c", curves, [ResumeMark(2.0, 1)], "loss", 1.0, "title", "words"))
    paths = svg.all("path")
    assert len([e for e in paths if "band" in e.classes]) == 1
    assert len([e for e in paths if "curve" in e.classes]) == 2
    assert "seed 1 resumed from a checkpoint at epoch 2" in [e.text for e in svg.all("title")]


def test_epochs_are_whole_numbers_on_the_axis():
    svg = parse_html(curves_chart("c", [curve("train", "train", 2.0, 1.0)], [], "loss", 1.0, "t", "d"))
    below = [e.text for e in svg.all("text") if e.attributes.get("text-anchor") == "middle"]
    assert below == ["1", "2"]


def test_a_matrix_shows_only_cells_that_are_not_empty():
    cells = [[HeatCell("9", 1.0, "heat", "tip"), None], [HeatCell("1", 0.1, "heat wrong", "tip"), None]]
    svg = parse_html(heat_map("m", ["cat", "dog"], cells, "title", "words"))
    assert len([e for e in svg.all("rect") if "heat" in e.classes]) == 2
    opacities = [float(e.attributes["fill-opacity"]) for e in svg.all("rect") if "heat" in e.classes]
    assert opacities[0] > opacities[1]


def test_a_fine_matrix_keeps_its_size_and_scrolls():
    few, many = (
        parse_html(heat_map("m", [str(i) for i in range(n)], [[None] * n] * n, "t", "d")).one("svg") for n in (10, 20)
    )
    assert "wide" not in few.classes
    assert "wide" in many.classes


def test_the_largest_class_comes_first_and_reaches_highest():
    svg = parse_html(column_chart("b", [5, 20, 10], "class", "images", "title", "words"))
    heights = [float(e.attributes["height"]) for e in svg.all("rect")]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] == pytest.approx(4 * heights[2], rel=0.02)


def test_small_pictures_are_decoration_beside_their_numbers():
    for strip in (bar_strip(0.4), interval_strip(0.8, 0.9, 0.95, 0.91, 0.7)):
        assert parse_html(strip).one("svg").attributes["aria-hidden"] == "true"


def test_a_bar_over_its_limit_is_full_and_of_another_kind():
    bars = [parse_html(bar_strip(share)).all("rect")[1] for share in (0.5, 1.3)]
    assert [bar.attributes["width"] for bar in bars] == ["50", "100"]
    assert ["over" in bar.classes for bar in bars] == [False, True]


NODES = [
    TreeNode("dense", None, "trained", "diamond", 0),
    TreeNode("pruned", "dense", "50 %", "triangle", 1),
    TreeNode("int8", "dense", "int8", "circle", 2),
    TreeNode("pruned-int8", "pruned", "int8", "circle", 3),
]


def test_children_follow_their_parent_in_the_tree():
    assert [(node.name, depth) for node, depth in depth_first(NODES)] == [
        ("dense", 0),
        ("pruned", 1),
        ("pruned-int8", 2),
        ("int8", 1),
    ]


def test_every_node_but_the_root_is_linked():
    svg = parse_html(tree_chart("tree", NODES, "title", "words"))
    assert len([e for e in svg.all("path") if "link" in e.classes]) == 3


def test_a_name_that_is_too_long_is_cut_to_the_picture():
    svg = parse_html(tree_chart("tree", [TreeNode("n" * 200, None, "note", "circle", 0)], "title", "words"))
    longest = max(len(e.text) for e in svg.all("text"))
    assert longest < 70


def test_pictures_carry_no_styles_and_name_themselves():
    svg = parse_html(forest_chart("f", [row("a", 0.0, 0.0, 0.0)], 0.01, "dense", "What", "Words"))
    root = svg.one("svg")
    assert not [e for e in svg.walk() if "style" in e.attributes]
    assert root.attributes["role"] == "img"
    assert root.attributes["aria-labelledby"] == "f-title f-desc"
    assert (svg.one("title", id="f-title").text, svg.one("desc", id="f-desc").text) == ("What", "Words")
    assert re.fullmatch(r"0 0 [\d.]+ [\d.]+", root.attributes["viewbox"])
