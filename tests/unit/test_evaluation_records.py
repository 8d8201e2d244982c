"""The typed files, their reference page, and what this room may import."""

import subprocess
import sys
from pathlib import Path

import pytest
from evaluation_fixtures import make_dense, make_latency, make_metrics, make_variant
from pydantic import ValidationError

from slimline.errors import SlimlineError
from slimline.evaluation.latency_record import LatencyRecord
from slimline.evaluation.record_base import read_record, write_record
from slimline.evaluation.records import Row, read_metrics
from slimline.reporting import document

ROOT = Path(__file__).parents[2]


def test_metrics_come_back_as_written(tmp_path):
    metrics = make_metrics([make_dense(), make_variant()])
    write_record(tmp_path / "metrics.json", metrics)
    assert read_metrics(tmp_path / "metrics.json") == metrics


def test_records_do_not_change():
    with pytest.raises(ValidationError):
        make_variant().accuracy_mean = 1.0


@pytest.mark.parametrize("wrong", [{"p50_ms": float("nan")}, {"threads": "1"}, {"p50": 1.0}])
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ValidationError):
        make_latency(**wrong)


def test_an_older_form_is_refused_with_the_key(tmp_path):
    path = tmp_path / "latency.json"
    path.write_text(make_latency().model_dump_json().replace('"format":1', '"format":0'))
    with pytest.raises(SlimlineError) as error:
        read_record(path, LatencyRecord)
    assert "format: " in str(error.value)
    assert f"rm '{path}'" in str(error.value)


def test_the_reference_page_is_up_to_date():
    page = (ROOT / document.PAGE).read_text(encoding="utf-8")
    assert page == document.fill(page), "run: python -m slimline.reporting.document"


def test_the_reference_page_has_every_column():
    page = (ROOT / document.PAGE).read_text(encoding="utf-8")
    assert all(f"| `{column}` |" in page for column in Row.model_fields)


def test_a_page_without_a_table_is_refused():
    with pytest.raises(SlimlineError, match="each table once"):
        document.fill("<!-- table: gate -->\n<!-- end -->")


MODULES = sorted(path.stem for path in (ROOT / "scripts/slimline/evaluation").glob("[a-z]*.py"))


def imported_by(*modules):
    """Which of the heavy packages a fresh Python has loaded after importing these modules of the room."""
    statements = "; ".join(f"import slimline.evaluation.{module}" for module in modules)
    heavy = "('torch', 'torchvision', 'pandas', 'scipy', 'sklearn', 'onnxruntime', 'pyarrow', 'numpy')"
    command = f"import sys; {statements}; print(*[name for name in {heavy} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.split()


def test_torch_stays_out():
    assert "compare" in MODULES
    assert set(imported_by(*MODULES)) <= {"onnxruntime", "pyarrow", "numpy"}


def test_the_verdict_starts_light():
    assert imported_by("verdict") == []
