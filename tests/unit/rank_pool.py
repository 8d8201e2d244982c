"""Ranks for tests: processes that train what they are told, one job after the other, without a launcher."""

import math
import os
import socket
import sys
import traceback
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import multiprocessing, nn

from slimline.files import write_text
from slimline.models import vit
from slimline.training.loop import Trainer
from slimline.training.spec import TrainingSpec
from slimline.training.stop import StoppedError
from slimline.training.tally import Tally

# In a job's folder: after how many steps the ranks are asked to stop; from which step on, how often and on which rank
# the loss is not a number.
STOP_FILE, SPOIL_FILE = "stop-after", "spoil"
VIT_LAYERS = 2  # fewer than the model has, for speed; all of them are alike


def simplify_models(patch):
    """Few layers, and no corners: rounding, which differs with the order of sums, puts a ReLU on its other side.

    `patch` is a monkeypatch; ranks and the process that they are compared with do it alike.
    """
    patch.setattr(vit, "LAYERS", VIT_LAYERS)
    patch.setattr(torch, "relu", nn.functional.silu)
    patch.setattr(nn, "ReLU", nn.SiLU)


# Imported once, by the process that all ranks are forks of.
PRELOADED = ["torch.distributed.fsdp", "torch.distributed.tensor.parallel", "torchvision", "slimline.training.job"]


class RankPool:
    """`size` processes that stay, since starting one takes seconds."""

    def __init__(self, size):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self.inboxes = [context.SimpleQueue() for _ in range(size)]
        self.outbox = context.SimpleQueue()
        self.processes = [
            context.Process(target=_serve, args=(rank, inbox, self.outbox), daemon=True)
            for rank, inbox in enumerate(self.inboxes)
        ]
        for process in self.processes:
            process.start()
        self.failure = ""  # of a rank, which ended with it

    def train(self, spec, folder):
        """Trains on as many of the processes as the spec says; True if it came to its end, False if it stopped."""
        folder.mkdir(exist_ok=True)
        spec.write(folder)
        answers = self._told(_train, str(folder), spec.allocation.ranks)
        assert len(set(answers)) == 1, "ranks do not agree"
        return answers[0] == "done"

    def call(self, function, ranks):
        """Calls a function of a module, without arguments, on some of the processes, which have joined a group."""
        self._told(_call, function, ranks)

    def _told(self, action, argument, ranks):
        assert not self.failure, f"a rank ended in an earlier test: {self.failure}"
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        for inbox in self.inboxes[:ranks]:
            inbox.put((action, argument, ranks, port))
        answers = [self.outbox.get() for _ in range(ranks)]
        failures = [answer for answer in answers if answer not in ("done", "stopped")]
        if failures:
            self.failure = failures[0]
        assert not failures, self.failure
        return answers

    def close(self):
        for inbox in self.inboxes:
            inbox.put(None)
        for process in self.processes:
            process.join(10)
            process.kill()


def _serve(rank, inbox, outbox):
    torch.set_num_threads(1)
    simplify_models(pytest.MonkeyPatch())
    while (order := inbox.get()) is not None:
        action, argument, ranks, port = order
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
        )
        try:
            outbox.put(action(argument))
        except BaseException:
            outbox.put(f"rank {rank}: {traceback.format_exc()}")
            sys.exit(1)


def _train(folder):
    try:
        with _stopping(Path(folder)):
            spec = TrainingSpec.read(Path(folder))
            module, _, function = spec.entry.partition(":")
            getattr(import_module(module), function)(spec, Path(folder))
    except StoppedError:
        torch.distributed.destroy_process_group()
        return "stopped"
    return "done"


def _call(function):
    torch.distributed.init_process_group("gloo")
    function()
    torch.distributed.destroy_process_group()
    return "done"


@contextmanager
def _stopping(folder):
    """Sends the stop request where the test wants it, and notes which rows each step has seen."""
    after = int((folder / STOP_FILE).read_text()) if (folder / STOP_FILE).exists() else None
    spoilt = (folder / SPOIL_FILE).read_text().split() if (folder / SPOIL_FILE).exists() else (-1, 0, -1)
    bad_step, times, bad_rank = map(int, spoilt)
    original, original_see, done, seen, spoils = Trainer._train_step, Tally.see, [], [], []

    def see(self, rows, *answers):
        original_see(self, rows, *answers)
        seen.extend(rows.tolist())

    def step(self, epoch, number, *args):
        seen.clear()
        spoils_now = number == bad_step and len(spoils) < times and int(os.environ["RANK"]) == bad_rank
        loss_sum = self.loss_sum
        if spoils_now:
            spoils.append(None)
            self.loss_sum = lambda *inputs: loss_sum(*inputs) * math.nan
        original(self, epoch, number, *args)
        self.loss_sum = loss_sum
        done.append(None)
        write_text(folder / "seen" / f"{epoch}-{number}" / os.environ["RANK"], str(seen))
        if self.world.is_main:
            self.stop.number = 15 if len(done) == after else 0

    Trainer._train_step, Tally.see = step, see
    try:
        yield
    finally:
        Trainer._train_step, Tally.see = original, original_see
