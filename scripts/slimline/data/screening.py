"""Which images are used: what the config says about files that are corrupt or in both splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from slimline.config.dataset import DatasetConfig
from slimline.data.audit_table import AuditRow
from slimline.data.duplicates import find_duplicates
from slimline.data.prepared import ExcludedSample
from slimline.errors import SlimlineError

NAMED = 10


def screen(
    cfg: DatasetConfig, rows: list[AuditRow], class_names: Sequence[str], audit_json: Path
) -> tuple[list[AuditRow], list[ExcludedSample]]:
    """Applies `corrupt` and `leakage` of the config.

    Readable images of the test split are always kept.

    Args:
        cfg: the dataset.
        rows: the audit table.
        class_names: all classes.
        audit_json: the report that errors point to.

    Returns:
        The rows that are used, in their order, and what is excluded.

    Raises:
        SlimlineError: the config says `stop`, or what is left cannot be learned from.
    """
    corrupt = [ExcludedSample(row.sample_id, f"corrupt: {row.reason}") for row in rows if row.status == "corrupt"]
    if corrupt and cfg.corrupt == "stop":
        raise SlimlineError(
            f"{_count(len(corrupt), 'image')} cannot be read.",
            where=str(audit_json),
            got=_listed([f"{exclusion.sample_id}: {exclusion.reason}" for exclusion in corrupt]),
            expected="files that can be decoded",
            next_step="mend or remove the files, or leave them out with `dataset: {corrupt: exclude}`",
        )
    leaking = [group for group in find_duplicates(rows) if group.leaks]
    copies = [
        ExcludedSample(row.sample_id, f"identical to {group.test[0].sample_id} of the test split")
        for group in leaking
        for row in group.train
    ]
    if leaking and cfg.leakage == "stop":
        raise SlimlineError(
            f"{_count(len(leaking), 'image')} of the test split {'is' if len(leaking) == 1 else 'are'} in the training "
            "split too: test results would be too good.",
            where=str(audit_json),
            got=_listed([f"{group.train[0].sample_id} = {group.test[0].sample_id}" for group in leaking]),
            expected="no image in both splits",
            next_step=f"remove the copies, or drop {_count(len(copies), 'training image')} with "
            "`dataset: {leakage: drop-train}`",
        )
    excluded = [*corrupt, *copies]
    dropped = {exclusion.sample_id for exclusion in excluded}
    kept = [row for row in rows if row.sample_id not in dropped]
    _check_learnable(kept, class_names, audit_json)
    return kept, excluded


def _check_learnable(rows: list[AuditRow], class_names: Sequence[str], audit_json: Path) -> None:
    trained = Counter(row.class_name for row in rows if row.split == "train")
    if missing := [name for name in class_names if name not in trained]:
        raise SlimlineError(
            "Some classes have no training image.",
            where=str(audit_json),
            got=_listed(missing),
            expected="at least one readable training image of every class",
            next_step="check the folders' spelling in train/ and test/, add images, or remove the class",
        )
    if len(class_names) < 2:
        raise SlimlineError(
            "There is one class only.", where=str(audit_json), got=class_names[0], expected="two classes or more"
        )
    if not any(row.split == "test" for row in rows):
        raise SlimlineError(
            "The test split is empty.",
            where=str(audit_json),
            expected="at least one readable test image",
            next_step="add images to test/, or remove test/ and let `dataset: {test: 0.2}` set a share aside",
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
    return ("\n" + " " * 12).join([*names[:NAMED], *more])
