"""How a training job is run, as far as it does not touch the result: kept out of the spec and its digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from slimline.files import read_json, write_json

SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class RunSettings:
    """What the launcher tells a job besides its spec.

    Args:
        checkpoint_interval_s: seconds between two checkpoints.
        checkpoint: `sync`, or `async`: training goes on while a copy in host memory is written.
        earlier: folders of unfinished jobs of the same lineage, from whose checkpoints it may go on.
    """

    checkpoint_interval_s: float = 30.0
    checkpoint: Literal["sync", "async"] = "sync"
    earlier: Sequence[str] = ()

    def write(self, folder: Path) -> None:
        """Writes `settings.json` into the job's folder."""
        write_json(folder / SETTINGS_FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The settings in a job's folder; the defaults where there are none."""
        path = folder / SETTINGS_FILE
        return cls(**read_json(path)) if path.exists() else cls()
