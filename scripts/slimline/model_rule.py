"""What every rule about one model does around its work: a step that is not supported marks its outputs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimline.config.variants import DENSE
from slimline.errors import NotSupportedError
from slimline.failed import Failure, failure_in, mark
from slimline.rule import run_rule
from slimline.status_line import erased

if TYPE_CHECKING:
    from snakemake.script import Snakemake

log = logging.getLogger("slimline")


def run_model_rule(work: Callable[[], Any], snakemake: Snakemake) -> None:
    """As `run_rule`, for a rule about one model: a step that is not supported marks its outputs, and the run goes on.

    Nothing can be compared without the dense model, so there such a step is an error as any other.

    Args:
        work: the rule's work, without arguments.
        snakemake: the rule's values, with wildcards `variant` and `seed`.
    """
    variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)
    name = f"{snakemake.rule} (variant {variant}, seed {seed})"
    inputs, outputs = ([Path(path) for path in paths] for paths in (snakemake.input, snakemake.output))

    def work_or_mark() -> None:
        inherited = next((failure for path in inputs if (failure := failure_in(path))), None)
        if inherited is not None:
            failure = inherited.inherited(variant, seed)
            log.warning("%s is left out: %s", name, failure.reason)
            mark(outputs, failure)
            return
        try:
            work()
        except NotSupportedError as error:
            if variant == DENSE:
                raise
            log.warning("%s", error)
            sys.stderr.write(f"{erased()}\nslimline: {name} cannot be done; the other variants go on.\n{error}\n\n")
            mark(outputs, Failure(variant, seed, snakemake.rule, error.code, error.reason))

    run_rule(work_or_mark, rule=name, log_file=Path(snakemake.log[0]))
