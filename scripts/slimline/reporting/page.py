"""The page: sections in the order in which a reviewer asks, in one file that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from slimline.files import write_text
from slimline.reporting.format import moment, plural
from slimline.reporting.inputs import Evidence, ReportInputs, read_evidence
from slimline.reporting.sections.classes import classes_section
from slimline.reporting.sections.comparison import comparison_section
from slimline.reporting.sections.cost import cost_section
from slimline.reporting.sections.data import data_section
from slimline.reporting.sections.notices import collect_notices, notices_section
from slimline.reporting.sections.proof import proof_section
from slimline.reporting.sections.provenance import provenance_section
from slimline.reporting.sections.search import search_section
from slimline.reporting.sections.tradeoff import tradeoff_section
from slimline.reporting.sections.training import training_section
from slimline.reporting.sections.verdict import verdict_section
from slimline.reporting.view import STATUS_WORDS, Section

PACKAGE = "slimline.reporting"
TEMPLATE = "report.html.j2"
STYLE = "report.css"
SCRIPT = "report.js"


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    title: str
    subtitle: str
    sections: list[Section]


def write_report(inputs: ReportInputs, output: Path) -> None:
    """Writes the page of an experiment; equal inputs give equal bytes.

    Args:
        inputs: the files of the experiment.
        output: the page, replaced as a whole.

    Raises:
        SlimlineError: an input is absent or not of the form that its contract says.
    """
    write_text(output, render(build_page(read_evidence(inputs))))


def build_page(evidence: Evidence) -> Page:
    """All sections, in order."""
    notices = collect_notices(evidence)
    sections = [
        verdict_section(evidence, notices),
        comparison_section(evidence),
        proof_section(evidence),
        tradeoff_section(evidence),
        *([search_section(evidence.search)] if evidence.search is not None else []),
        training_section(evidence),
        classes_section(evidence),
        data_section(evidence),
        cost_section(evidence),
        provenance_section(evidence),
        notices_section(notices),
    ]
    metrics = evidence.metrics
    model = metrics.provenance.config.get("model", {}).get("name", "model")
    n_variants = len(metrics.variants) + len(metrics.failed_variants)
    n_seeds = len(metrics.provenance.seeds)
    subtitle = (
        f"{model} on {evidence.stats.dataset}, {plural(n_variants, 'variant')}, {plural(n_seeds, 'seed')}. "
        f"{moment(metrics.provenance.created_utc)}"
    )
    return Page(metrics.experiment, subtitle, sections)


def render(page: Page) -> str:
    """The page as HTML. Its content security policy admits this style and this script, and nothing from outside."""
    environment = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _asset(environment, STYLE), _asset(environment, SCRIPT)
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'"
    template = environment.get_template(TEMPLATE)
    return template.render(page=page, style=style, script=script, policy=policy, words=STATUS_WORDS)


def _asset(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].strip()


def _digest(content: str) -> str:
    """A source expression of the content security policy, https://www.w3.org/TR/CSP3/#framework-directive-source-list."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
