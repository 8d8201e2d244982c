import base64
import csv
import dataclasses
import hashlib
import io
import itertools
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from html_tree import parse_html
from report_fixture import HOSTILE_CLASS, SCENARIOS, write_experiment

from slimline.errors import SlimlineError
from slimline.files import read_json, write_json
from slimline.reporting.format import MINUS, NBSP, TIMES
from slimline.reporting.page import write_report

MOST_BYTES = 300_000
SECTIONS = [
    "verdict",
    "comparison",
    "proof",
    "tradeoff",
    "training",
    "classes",
    "data",
    "cost",
    "provenance",
    "warnings",
]


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Inputs and HTML of every scenario."""
    pages = {}
    for name, scenario in SCENARIOS.items():
        folder = tmp_path_factory.mktemp(name)
        inputs = write_experiment(folder, scenario)
        write_report(inputs, folder / "report.html")
        pages[name] = (inputs, (folder / "report.html").read_text(encoding="utf-8"))
    return pages


@pytest.fixture(scope="session")
def trees(written):
    return {name: parse_html(html) for name, (_, html) in written.items()}


@pytest.fixture(params=list(SCENARIOS))
def tree(request, trees):
    return trees[request.param]


@pytest.fixture(params=list(SCENARIOS))
def html(request, written):
    return written[request.param][1]


def section(tree, name):
    return tree.one("section", id=name)


def words(element):
    return " ".join(element.text.split())


def table_rows(table):
    return [[cell for cell in row.children if getattr(cell, "tag", "") in {"th", "td"}] for row in table.all("tr")]


def body_rows(table):
    return table_rows(table.one("tbody"))


def test_sections_come_in_the_order_in_which_a_reviewer_asks(tree):
    assert [e.attributes["id"] for e in tree.all("section")] == SECTIONS


def test_ids_are_unique_and_every_link_and_label_finds_its_target(tree):
    ids = [e.attributes["id"] for e in tree.walk() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in tree.walk():
        for name in element.attributes.get("aria-labelledby", "").split():
            assert name in ids
        href = element.attributes.get("href", "")
        if href.startswith("#"):
            assert href[1:] in ids


def test_headings_step_down_one_level_at_a_time(tree):
    levels = [int(e.tag[1]) for e in tree.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))


def test_landmarks_are_there(tree):
    for landmark in ("header", "nav", "main", "footer"):
        assert len(tree.all(landmark)) == 1
    assert tree.one("html").attributes["lang"] == "en"
    assert tree.one("a", **{"class": "skip"}).attributes["href"] == "#main"


def test_nothing_is_fetched_from_anywhere(tree):
    assert not tree.all("link", "img", "iframe", "object", "embed", "base")
    for element in tree.walk():
        assert "src" not in element.attributes
        assert "style" not in element.attributes
        assert not [name for name in element.attributes if name.startswith("on")]
        href = element.attributes.get("href", "#")
        assert href.startswith(("#", "data:text/csv;")), href
    style = "".join(map(str, tree.one("style").children))
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_admits_this_style_and_this_script_only(tree):
    policy = tree.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        content = "".join(map(str, tree.one(tag).children))
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_every_picture_has_a_name_and_a_description_or_is_decoration(tree):
    pictures = [e for e in tree.all("svg") if e.attributes.get("aria-hidden") != "true"]
    for picture in pictures:
        title, description = picture.attributes["aria-labelledby"].split()
        assert picture.attributes["role"] == "img"
        assert picture.one("title", id=title).text
        assert picture.one("desc", id=description).text


def test_every_table_has_a_caption_and_every_heading_a_scope(tree):
    assert len(tree.all("table")) >= 6
    for table in tree.all("table"):
        assert words(table.one("caption"))
        for heading in table.all("th"):
            assert heading.attributes["scope"] in {"row", "col", "colgroup"}
        for row in body_rows(table):
            assert [cell.tag for cell in row] == ["th"] + ["td"] * (len(row) - 1)


def test_every_row_of_a_table_has_as_many_cells(tree):
    for table in tree.all("table"):
        widths = {sum(int(cell.attributes.get("colspan", 1)) for cell in row) for row in table_rows(table)}
        assert len(widths) == 1


def test_a_status_is_a_word_with_an_icon_never_a_colour_alone(tree):
    statuses = [e for e in tree.all("span") if "status" in e.classes]
    assert statuses
    for status in statuses:
        assert re.fullmatch(r"[A-Z]+", status.text)
        icon = status.one("use").attributes["href"]
        assert tree.one("symbol", id=icon[1:])


def test_a_page_is_small(html):
    assert len(html.encode()) < MOST_BYTES


def test_the_script_is_short(tree):
    assert str(tree.one("script").children[0]).count("\n") < 100


def test_no_figure_is_without_its_numbers(tree):
    for figure in tree.all("figure"):
        rows = read_csv(figure.one("figcaption").one("a"))
        assert len(rows) > 1
        assert len({len(row) for row in rows}) == 1


def read_csv(link):
    kind, _, content = link.attributes["href"].partition(",")
    assert kind == "data:text/csv;charset=utf-8"
    return list(csv.reader(io.StringIO(unquote(content))))


def test_nothing_is_left_to_fill_in(tree):
    assert not re.search(r"\b(None|nan|inf|TODO|undefined|Undefined|N/A)\b", tree.text)


def test_equal_inputs_give_equal_bytes(written, tmp_path):
    inputs, html = written["five"]
    write_report(inputs, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_another_process_with_another_hash_seed_gives_the_same_bytes_and_needs_no_torch(written, tmp_path):
    code = (
        "import sys; from pathlib import Path; import report_fixture as made; "
        "from slimline.reporting.page import write_report; folder = Path(sys.argv[1]); "
        "write_report(made.write_experiment(folder, made.FIVE), folder / 'report.html'); print('torch' in sys.modules)"
    )
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], env=environment, capture_output=True, check=True, text=True
    )
    assert done.stdout.split() == ["False"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == written["five"][1]


def number(text):
    return float(text.replace(MINUS, "-").replace("+", "").replace(",", "").replace(NBSP, " ").split()[0])


def interval(text):
    low, high = re.findall(rf"[{MINUS}+]?[\d.,]+", text)
    return number(low), number(high)


# What stands in small print below another figure of the comparison.
BELOW = {
    "parameters": "macs",
    "size_bytes": "size_ratio",
    "latency_p50_ms": "latency_ratio",
    "latency_p95_ms": "latency_p99_ms",
}
SMALL_PRINT = rf"(?:p99 )?([\d.,]+) ?(|[kMG]? ?MACs|{TIMES} dense)"


def assert_shown(text, value):
    """That a text has the number, rounded to its own decimals."""
    assert number(text) == pytest.approx(value, abs=0.51 * 10 ** -len(text.partition(".")[2]))


@pytest.mark.parametrize("name", ["five", "hundred", "failing", "alone"])
def test_every_number_of_the_comparison_is_that_of_metrics_json(written, trees, name):
    metrics = read_json(written[name][0].metrics)
    rows = body_rows(trees[name].one("table", id="table-variants"))
    assert [row[0].all("span")[0].text for row in rows] == [v["variant"] for v in metrics["variants"]]
    keys = ["accuracy_mean", "n_seeds", "accuracy_delta", "prediction_flips", "parameters", "size_bytes"]
    if any(variant["sparsity"] > 0.2 for variant in metrics["variants"]):
        keys.append("size_gzip_bytes")
    keys += ["runtime", "latency_p50_ms", "latency_p95_ms"]
    headings = [words(cell) for cell in table_rows(trees[name].one("table", id="table-variants").one("thead"))[1]]
    scales = {"%": 100.0, "points": 100.0, "k": 1e-3, "M": 1e-6, "G": 1e-9, "kB": 1e-3, "MB": 1e-6}
    for row, variant in zip(rows, metrics["variants"], strict=True):
        for cell, key, heading in zip(row[1:], keys, headings[1:], strict=True):
            exact = variant[key]
            shown = cell.all("span")[0].text if cell.all("span") else cell.text.strip()
            if exact is None:
                assert shown == "reference"
                continue
            if key == "runtime":
                assert shown == {"onnxruntime": "ONNX Runtime"}[exact]
                ratio = variant["latency_ratio_float"]
                expected = variant["dtype"] + ("" if ratio is None else f", {ratio:.2f} {TIMES} float")
                assert cell.one("small").text == expected
                continue
            if key in BELOW:
                told, unit = re.fullmatch(SMALL_PRINT, cell.one("small").text).groups()
                assert_shown(told, variant[BELOW[key]] * scales.get(unit.removesuffix(" MACs"), 1.0))
            assert float(cell.attributes["data-value"]) == exact
            assert_shown(shown, exact * scales.get(heading.rpartition(", ")[2], 1.0))


def test_intervals_of_the_comparison_are_those_of_metrics_json(written, trees):
    metrics = read_json(written["five"][0].metrics)
    rows = body_rows(trees["five"].one("table", id="table-variants"))
    for row, variant in zip(rows, metrics["variants"], strict=True):
        low, high = interval(row[1].one("small").text)
        assert low == pytest.approx(100 * variant["accuracy_ci_low"], abs=0.051)
        assert high == pytest.approx(100 * variant["accuracy_ci_high"], abs=0.051)
        if variant["accuracy_delta"] is not None:
            low, high = interval(row[3].one("small").text)
            assert low == pytest.approx(100 * variant["accuracy_delta_ci_low"], abs=0.0051)
            assert high == pytest.approx(100 * variant["accuracy_delta_ci_high"], abs=0.0051)


def test_the_downloaded_variants_are_those_of_metrics_json(written, trees):
    metrics = read_json(written["five"][0].metrics)
    link = trees["five"].one("a", download="variants.csv")
    header, *rows = read_csv(link)
    for row, variant in zip(rows, metrics["variants"], strict=True):
        for key, text in zip(header, row, strict=True):
            assert text == ("" if variant[key] is None else str(variant[key]))


def test_the_gate_table_says_what_metrics_json_says(written, trees):
    metrics = read_json(written["failing"][0].metrics)
    rows = body_rows(trees["failing"].one("table", id="table-gate"))
    for row, variant in zip(rows, metrics["variants"][1:], strict=True):
        said = [status.text.lower() for cell in row for status in cell.all("span") if "status" in status.classes]
        file = "pass" if variant["artifact_status"] == "ok" else "fail"
        assert said == [variant["status"], file, *(check["status"] for check in variant["gate"])]


def test_what_failed_is_shown_with_its_reason_and_not_as_a_blank(written, trees):
    metrics, tree = read_json(written["unmade"][0].metrics), trees["unmade"]
    assert [variant["variant"] for variant in metrics["failed_variants"]] == ["pruned", "pruned-int8", "int4"]
    failures = body_rows(tree.one("table", id="table-failures"))
    assert len(failures) == len(metrics["failed_rows"]) == 7
    for row, failed in zip(failures, metrics["failed_rows"], strict=True):
        assert [words(cell) for cell in row[:3]] == [failed["variant"], str(failed["seed"]), "FAIL"]
        assert f"failed: {words(row[3])}" == failed["artifact_status"]
    gate = {words(row[0].all("span")[0]): row for row in body_rows(tree.one("table", id="table-gate"))}
    assert "ZeroDivisionError" in words(gate["pruned"][2])
    assert [words(cell) for cell in gate["pruned"][3:]] == ["not measured"] * 2
    assert "6 variants" in words(tree.one("header")).replace(NBSP, " ")


def test_a_report_of_nothing_but_failures_says_so(tmp_path):
    unmade = SCENARIOS["unmade"]
    pairs = [(variant, seed) for variant in unmade.variants for seed in unmade.seeds]
    write_report(write_experiment(tmp_path, dataclasses.replace(unmade, unmade=pairs)), tmp_path / "report.html")
    tree = parse_html((tmp_path / "report.html").read_text(encoding="utf-8"))
    absent = [words(e) for e in tree.all("p") if "absent" in e.classes]
    assert any(text.startswith("Gate not measured: no compressed variant could be made") for text in absent)
    assert "there is no such model" in words(section(tree, "verdict"))


def test_every_file_has_its_status_and_its_facts(written, trees):
    metrics = read_json(written["failing"][0].metrics)
    rows = body_rows(trees["failing"].one("table", id="table-proofs"))
    for row, exact in zip(rows, metrics["rows"], strict=True):
        assert [words(cell) for cell in row[:2]] == [exact["variant"], str(exact["seed"])]
        if exact["artifact_status"] == "ok":
            assert words(row[2]) == "PASS"
        else:
            assert words(row[2].one("small")) == exact["artifact_status"]
    operators = body_rows(trees["failing"].one("table", id="table-operators"))
    integers = {words(row[0]): words(row[8]) for row in operators}
    assert integers == {"dense": "0", "pruned": "0", "int8": "4", "int8-chance": "0"}


def test_the_verdict_is_first_and_links_to_the_warnings(written, trees):
    verdict = read_json(written["failing"][0].metrics)["verdict"]
    shown = section(trees["failing"], "verdict")
    assert verdict["headline"] in words(shown)
    for sentence in [*verdict["reasons"], *verdict["not_tested"]]:
        assert sentence in words(shown)
    assert shown.one("a", href="#warnings").text.replace(NBSP, " ").startswith("3 errors")


CONDITIONS = ("batch 1", "1 thread", "AMD EPYC 9354", "onnxruntime 1.23.2", "20 warm-up runs", "1,000 timed runs")


def test_latency_is_given_with_its_conditions(trees):
    text = words(section(trees["five"], "comparison"))
    for condition in (
        "batch 1",
        "1 thread",
        "AMD EPYC 9354",
        "onnxruntime 1.23.2",
        "20 warm-up runs",
        "1,000 timed runs",
    ):
        assert condition in text.replace(NBSP, " ")


def test_names_of_users_are_text_and_nothing_else(written, trees):
    html, tree = written["alone"][1], trees["alone"]
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "<b>" not in html
    assert len(tree.all("script")) == 1
    assert HOSTILE_CLASS in tree.text
    assert HOSTILE_CLASS in unquote(html), "in the downloads as well"


def test_what_was_not_measured_is_said_with_its_reason(trees):
    absent = [words(e) for e in trees["alone"].all("p") if "absent" in e.classes]
    assert any(text.startswith("Gate not measured: the config declares no compressed variants") for text in absent)
    assert any(text.startswith("Trade-off not measured:") for text in absent)
    assert any(text.startswith("Training curves not measured:") for text in absent)
    assert all(re.search(r"not measured: .{10,}\.$", text) for text in absent)


def test_few_classes_get_a_matrix_and_many_get_pairs(trees):
    assert trees["five"].one("svg", id="chart-confusion")
    assert trees["five"].one("svg", id="chart-confusion-difference")
    hundred = section(trees["hundred"], "classes")
    assert not hundred.all("figure")
    for table in ("recall", "confusions"):
        assert len(body_rows(hundred.one("table", id=f"table-{table}"))) == 20
    assert len(read_csv(hundred.one("a", download="recall.csv"))) == 101


def test_recall_is_worst_first(trees):
    rows = body_rows(trees["hundred"].one("table", id="table-recall"))
    recalls = [float(row[2].attributes["data-value"]) for row in rows]
    assert recalls == sorted(recalls)


def test_the_confusion_matrix_adds_up_to_all_answers(written, trees):
    metrics = read_json(written["five"][0].metrics)
    shown = next(v for v in metrics["variants"] if v["variant"] == metrics["verdict"]["recommended"])
    _, *rows = read_csv(trees["five"].one("a", download="confusion.csv"))
    counts = [[int(text) for text in row[1:]] for row in rows]
    assert sum(map(sum, counts)) == shown["n_seeds"] * shown["n_test"]
    right = sum(row[index] for index, row in enumerate(counts))
    assert right == round(shown["accuracy_mean"] * shown["n_seeds"] * shown["n_test"])


def test_excluded_files_are_named_capped_and_counted(trees):
    table = trees["alone"].one("table", id="table-excluded")
    assert len(body_rows(table)) == 20
    assert words(table.one("caption")).replace(NBSP, " ") == "Left out of the prepared data: 35 files"
    assert len(read_csv(trees["alone"].one("a", download="excluded.csv"))) == 36


def test_resumed_trainings_are_marked(trees):
    marks = [e for e in section(trees["failing"], "training").walk() if "resume-mark" in e.classes]
    assert len(marks) == 2 * 2 * 3, "two trained variants, two pictures, three seeds"
    assert not [e for e in section(trees["five"], "training").walk() if "resume-mark" in e.classes]


def test_what_pruning_has_left_of_each_layer_is_shown_where_channels_went(trees):
    rows = [[cell.text for cell in row] for row in table_rows(trees["five"].one("table", id="table-channels-pruned"))]
    assert rows[-2:] == [["features.0", "32", "16", "16", "16", "50"], ["features.4", "64", "24", "24", "24", "38"]]
    assert "fitted to the network before by 1,024\N{NO-BREAK SPACE}training images." in trees["five"].text
    assert not any("channels-" in table.attributes["id"] for table in trees["alone"].all("table"))


def test_where_nothing_is_recommended_the_most_accurate_compressed_variant_is_shown(written, tmp_path):
    inputs, _ = written["five"]
    metrics = read_json(inputs.metrics)
    metrics["verdict"] |= {"recommended": None, "headline": "Ship nothing: all is lost."}
    write_json(tmp_path / "metrics.json", metrics)
    write_report(dataclasses.replace(inputs, metrics=tmp_path / "metrics.json"), tmp_path / "report.html")
    tree = parse_html((tmp_path / "report.html").read_text(encoding="utf-8"))
    best = max(metrics["variants"][1:], key=lambda variant: variant["accuracy_mean"])["variant"]
    assert words(section(tree, "verdict")).startswith("Verdict Recommended: nothing FAIL Ship nothing")
    assert words(section(tree, "classes")).startswith(f"Errors by class Errors of {best}, the most accurate one")


def test_a_variant_that_answers_like_dense_has_no_matrix_of_differences(written, tmp_path):
    inputs, _ = written["five"]
    shown = read_json(inputs.metrics)["verdict"]["recommended"]
    dense = {run.seed: run.predictions for run in inputs.runs if run.variant == "dense"}
    runs = tuple(
        dataclasses.replace(run, predictions=dense[run.seed]) if run.variant == shown else run for run in inputs.runs
    )
    write_report(dataclasses.replace(inputs, runs=runs), tmp_path / "report.html")
    tree = parse_html((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "chart-confusion-difference" not in {e.attributes.get("id") for e in tree.all("svg")}
    assert f"{shown} has the same confusion matrix as dense." in words(section(tree, "classes"))


def test_provenance_has_the_commit_the_data_and_the_whole_config(written, trees):
    provenance = read_json(written["five"][0].metrics)["provenance"]
    text = section(trees["five"], "provenance").text
    assert provenance["git_sha"] in text
    assert provenance["lock_sha256"] in text
    for digest in provenance["data"]["split_sha256"].values():
        assert digest in text
    assert "calibration_samples: 512" in text


def test_a_missing_file_is_named(written, tmp_path):
    inputs, _ = written["five"]
    broken = dataclasses.replace(inputs, stats=tmp_path / "stats.json")
    with pytest.raises(SlimlineError) as error:
        write_report(broken, tmp_path / "report.html")
    assert error.value.where == str(tmp_path / "stats.json")
    assert not (tmp_path / "report.html").exists()


def test_a_file_of_another_form_is_named_with_its_problem(written, tmp_path):
    inputs, _ = written["five"]
    write_json(tmp_path / "audit.json", {"n_files": "many"})
    with pytest.raises(SlimlineError) as error:
        write_report(dataclasses.replace(inputs, audit=tmp_path / "audit.json"), tmp_path / "report.html")
    assert "n_files" in (error.value.got or "")


def test_data_uris_survive_what_users_may_name(written):
    """No sign of theirs may end the attribute or the address."""
    for href in re.findall(r'href="(data:[^"]*)"', written["alone"][1]):
        assert not set("#<>' ") & set(href)


@pytest.mark.parametrize("faulty", ["dense", "control-4"])
def test_a_reference_whose_proof_failed_is_no_candidate_and_the_page_says_so(tmp_path, faulty):
    scenario = SCENARIOS["controlled"]
    invented = {**scenario.invented, faulty: dataclasses.replace(scenario.invented[faulty], coarse=True)}
    inputs = write_experiment(tmp_path / "files", dataclasses.replace(scenario, invented=invented))
    write_report(inputs, tmp_path / "report.html")
    tree = parse_html((tmp_path / "report.html").read_text(encoding="utf-8"))
    variants = {variant["variant"]: variant for variant in read_json(inputs.metrics)["variants"]}
    assert variants[faulty]["problems"]
    assert variants[faulty]["status"] == "reference"
    gate = {words(row[0].all("span")[0]): words(row[3]) for row in body_rows(tree.one("table", id="table-gate"))}
    assert set(gate) == set(scenario.variants)
    verdict = words(section(tree, "verdict"))
    if faulty == "dense":
        assert "Ship nothing: dense failed" in verdict
    else:
        assert "against dense, for want of control-4" in gate["pruned"]
        assert "against control-8" in gate["student"]
        assert "control-4, a control, failed its proof" in verdict
