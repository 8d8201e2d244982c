"""Saving checkpoints, all ranks together: at once, or in the background from a copy."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn
from torch import distributed as dist

from slimline.training.checkpoint import Progress, save_checkpoint
from slimline.training.distributed import COLLECTIVE_TIMEOUT, World
from slimline.training.finite import NotFiniteError
from slimline.training.parallel import is_sharded
from slimline.training.state import Copies, collect_state
from slimline.training.stop import StoppedError


class Saver:
    """Writes the checkpoints of a run. As a context, it waits at the end for one that is being written.

    Args:
        folder: where the checkpoints lie.
        model: the model, after `parallelise`.
        world: this rank among its peers; all of them make a saver.
        in_background: whether `save` returns once the state is copied to host memory.
    """

    def __init__(self, folder: Path, model: nn.Module, world: World, in_background: bool) -> None:
        self.folder, self.world, self.in_background = folder, world, in_background
        # A group of its own: the writing thread must not mix its messages with those of training.
        self._shards: dist.ProcessGroup | None = None
        if is_sharded(model):
            group = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
            assert isinstance(group, dist.ProcessGroup)
            self._shards = group
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(
        self,
        name: str,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        at: Progress,
        copies: Copies | None = None,
    ) -> None:
        """Saves `folder/name`; all ranks call it at the same step boundary.

        Waits for the save before. What went wrong with that one is raised here.

        Args:
            name: see `checkpoint_name`.
            model: its weights are saved,
            optimizers: and their states,
            at: and where the run is; that of the main rank counts.
            copies: further weights of the model, such as a moving average, by a name for each set.
        """
        self.wait()
        state = collect_state(model, optimizers, copies or {}, self.world.is_main)
        if self._shards is None and not self.world.is_main:
            return
        if not self.in_background:
            self._write(name, state, at)
            return
        state = {key: tensor.to("cpu", copy=True) for key, tensor in state.items()}
        # A daemon: a run that fails does not wait for its last checkpoint.
        self._thread = threading.Thread(
            target=self._write_and_note, args=(name, state, copy.deepcopy(at)), name="checkpoint", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Waits for the save in the background, if there is one, and raises what went wrong with it."""
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        """The saver itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Waits until the last checkpoint is whole on disk, unless a rank has failed alone."""
        if error is None or isinstance(error, StoppedError | NotFiniteError):
            self.wait()
            self.world.barrier()

    def _write(self, name: str, state: dict[str, Tensor], at: Progress) -> None:
        save_checkpoint(self.folder, name, state, at, self.world.is_main, self._shards)

    def _write_and_note(self, name: str, state: dict[str, Tensor], at: Progress) -> None:
        try:
            self._write(name, state, at)
        except BaseException as error:
            self._error = error
