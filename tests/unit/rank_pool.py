"""Ranks for tests: processes that train what they are told, one job after the other, without a launcher."""

import importlib
import os
import socket
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import multiprocessing

from slimline.files import write_text
from slimline.models import vit
from slimline.training.loop import Trainer
from slimline.training.spec import TrainingSpec
from slimline.training.stop import StoppedError
from slimline.training.tally import Tally

STOP_FILE = "stop-after"  # in a job's folder: after how many steps the ranks are asked to stop
VIT_LAYERS = 2  # fewer than the model has, for speed; all of them are alike


class RankPool:
    """`size` processes that stay, since starting one takes seconds."""

    def __init__(self, size):
        context = multiprocessing.get_context("spawn")
        self.inboxes = [context.SimpleQueue() for _ in range(size)]
        self.outbox = context.SimpleQueue()
        self.processes = [
            context.Process(target=_serve, args=(rank, inbox, self.outbox), daemon=True)
            for rank, inbox in enumerate(self.inboxes)
        ]
        for process in self.processes:
            process.start()

    def train(self, spec, folder):
        """Trains on as many of the processes as the spec says; True if it came to its end, False if it stopped."""
        folder.mkdir(exist_ok=True)
        spec.write(folder)
        ranks = spec.allocation.ranks
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        for inbox in self.inboxes[:ranks]:
            inbox.put((str(folder), ranks, port))
        answers = [self.outbox.get() for _ in range(ranks)]
        failures = [answer for answer in answers if answer not in ("done", "stopped")]
        assert not failures, failures[0]
        assert len(set(answers)) == 1, "ranks do not agree"
        return answers[0] == "done"

    def close(self):
        for inbox in self.inboxes:
            inbox.put(None)
        for process in self.processes:
            process.join(10)
            process.kill()


def _serve(rank, inbox, outbox):
    torch.set_num_threads(1)
    vit.LAYERS = VIT_LAYERS
    while (order := inbox.get()) is not None:
        folder, ranks, port = order
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
        )
        try:
            with _stopping(Path(folder)):
                spec = TrainingSpec.read(Path(folder))
                module, _, function = spec.entry.partition(":")
                getattr(importlib.import_module(module), function)(spec, Path(folder))
            outbox.put("done")
        except StoppedError:
            torch.distributed.destroy_process_group()
            outbox.put("stopped")
        except BaseException:
            outbox.put(f"rank {rank}: {traceback.format_exc()}")
            sys.exit(1)


@contextmanager
def _stopping(folder):
    """Sends the stop request where the test wants it, and notes which rows each step has seen."""
    after = int((folder / STOP_FILE).read_text()) if (folder / STOP_FILE).exists() else None
    original, original_see, done, seen = Trainer._train_step, Tally.see, [], []

    def see(self, rows):
        original_see(self, rows)
        seen.extend(rows.tolist())

    def step(self, epoch, number, *args):
        seen.clear()
        original(self, epoch, number, *args)
        done.append(None)
        write_text(folder / "seen" / f"{epoch}-{number}" / os.environ["RANK"], str(seen))
        if self.world.is_main:
            self.stop.number = 15 if len(done) == after else 0

    Trainer._train_step, Tally.see = step, see
    try:
        yield
    finally:
        Trainer._train_step, Tally.see = original, original_see
