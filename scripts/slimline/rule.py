"""What every rule script does around its work: a log, one clear error, an exit code."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from slimline.errors import SlimlineError
from slimline.status_line import erased

INTERRUPTED = 130  # what a shell calls the end by Ctrl-C

log = logging.getLogger("slimline")


def run_rule(work: Callable[[], Any], *, rule: str, log_file: Path) -> None:
    """Runs the work of a rule with its log; a user's mistake ends as one screen and exit code 1, Ctrl-C silently.

    Args:
        work: the rule's work, without arguments.
        rule: what the screen names, such as "train (variant dense, seed 0)".
        log_file: where log lines and warnings go; errors go there and to standard error.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=log_file, filemode="w", level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    try:
        work()
    except SlimlineError as error:
        _stop(error, rule, log_file)
    except KeyboardInterrupt:
        log.warning("interrupted")
        raise SystemExit(INTERRUPTED) from None
    except Exception:
        log.exception("%s failed", rule)
        sys.stderr.write(erased())
        raise


def tell(text: str) -> None:
    """Says on the terminal and in the log why a rule does nothing for a while."""
    log.warning("%s", text)
    sys.stderr.write(f"{erased()}\nslimline: {text}\n\n")


def _stop(error: SlimlineError, rule: str, log_file: Path) -> NoReturn:
    log.error("%s", error)
    sys.stderr.write(f"{erased()}\nslimline: {rule} stopped.\n{error}\n  {'log:':<10}{log_file}\n\n")
    raise SystemExit(1)
