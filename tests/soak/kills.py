"""A real training by two local ranks, and somebody who kills its processes at random moments.

The launcher is that of Snakemake's training rules, in a process of its own. The killer waits for what can be seen on
disk, such as a checkpoint that is being written, and for a random number of looks more. Which process dies when is
drawn from a seed; how far the training is then depends on the machine.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from slimline.config.cluster import ClusterConfig
from slimline.config.model import ModelConfig
from slimline.config.train import AugmentationConfig, TrainConfig
from slimline.data.batches import samples_digest, steps_per_epoch
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.files import read_json, write_json
from slimline.launch.request import launch_training
from slimline.launch.run import JOBS
from slimline.training.spec import CHECKPOINTS_FOLDER, HEARTBEAT_FILE, HISTORY_FILE, RESULT_FOLDER, checkpoint_names

RANKS, BATCH = 2, 64
LOOK_S = 0.002
GIVEN_UP = "have got no further"
IMPORTS = os.pathsep.join(str(Path(__file__).parents[up] / name) for up, name in ((2, "scripts"), (1, "")))
LAUNCHER = "from soak.kills import launch_here; launch_here()"
REQUEST = Path("request.json")
COURSE = ("epoch", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "samples_digest")


class OverError(Exception):
    """The training has come to its end."""


def launch_here():
    """What the launching process runs, in the training's folder."""
    launch_training(**read_json(REQUEST))


@dataclass
class Training:
    """One training job in a folder of its own.

    Args:
        folder: its working folder.
        prepared: folder of the prepared data.
        epochs: how long it takes.
        parallelism: `ddp`, or `fsdp` with a shard on each rank.
        checkpoint_mode: `sync` or `async`.
        launchers: the launching processes so far.
    """

    folder: Path
    prepared: Path
    epochs: int
    parallelism: str = "ddp"
    checkpoint_mode: str = "sync"
    launchers: list = field(default_factory=list)

    def start(self):
        """Launches it, or has another launcher go on with it."""
        if not self.launchers:
            self._write_request()
        with (self.folder / "output.txt").open("a") as output:
            command = [sys.executable, "-c", LAUNCHER]
            self.launchers.append(
                subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=os.environ | {"PYTHONPATH": IMPORTS},
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )

    def wait(self):
        """Returns when the training is over; a launcher that has given up is followed by another."""
        while self.launchers[-1].wait() != 0:
            self._launch_again()

    def look(self):
        """Waits for the time between two looks.

        Raises:
            OverError: there is a result.
        """
        time.sleep(LOOK_S)
        code = self.launchers[-1].poll()
        if code == 0 or any(self.folder.glob(f"{JOBS}/*/{RESULT_FOLDER}")):
            raise OverError
        if code is not None:
            self._launch_again()

    def _launch_again(self):
        told = (self.folder / "output.txt").read_text()
        assert GIVEN_UP in told[told.rindex("Traceback") :], told
        self.start()

    @property
    def job(self):
        """The job's folder; None before there is one."""
        return next((self.folder / JOBS).glob("*"), None)

    @property
    def attempt(self):
        """Id of the newest attempt; empty before it is known."""
        path = self.job / "receipt.json" if self.job else None
        attempts = read_json(path)["attempts"] if path and path.exists() else []
        return attempts[-1]["job_id"] if attempts else ""

    @property
    def phase(self):
        """What the ranks of the newest attempt are at, by its heartbeat."""
        try:
            return read_json(self.job / HEARTBEAT_FILE)["phase"]
        except SlimlineError:  # not yet there
            return ""

    @property
    def validates(self):
        """Whether an epoch's last step is behind and its figures are not there: each epoch logs this step alone."""
        with (self.job / HISTORY_FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1000))
            return b'"kind": "step"' in b"".join(file.read().splitlines()[-1:])

    @property
    def newest_checkpoint(self):
        return max(checkpoint_names(self.job / CHECKPOINTS_FOLDER), default="")

    @property
    def unfinished_checkpoints(self):
        return {path.name for path in (self.job / CHECKPOINTS_FOLDER).glob(".epoch-*.tmp")}

    def ranks(self):
        """Processes of the newest attempt's ranks that live."""
        try:
            children = psutil.Process(int(self.attempt)).children() if self.attempt else []
            return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
        except psutil.Error:
            return []

    def weights(self):
        return (self.folder / "out/weights").read_bytes()

    def course(self):
        """What each epoch has left, but for times."""
        records = map(json.loads, (self.folder / "out/history").read_text().splitlines())
        return [{key: record[key] for key in COURSE} for record in records if record["kind"] == "epoch"]

    def expected_digest(self):
        """The digest of an epoch that sees every sample once."""
        return f"{samples_digest(PreparedDataset.open(self.prepared).rows('train')):016x}"

    def _write_request(self):
        self.folder.mkdir()
        plan = {
            "nodes": 1, "tasks_per_node": RANKS, "cpus_per_task": 1, "gpus_per_node": 0, "precision": "fp32",
            "micro_batch": BATCH // RANKS, "accumulation": 1, "parallelism": self.parallelism,
            "shard_ranks": RANKS if self.parallelism == "fsdp" else 1, "tensor_ranks": 1,
            "memory_mb": 1000, "time_min": 60,
        }  # fmt: skip
        write_json(self.folder / "plan.json", plan)
        recipe = TrainConfig(
            epochs=self.epochs,
            batch_size=BATCH,
            learning_rate=4e-3,
            augmentation=AugmentationConfig(crop_padding=1, horizontal_flip=True),
            ema_decay=0.99,
            ranks=RANKS,
            log_every_steps=steps_per_epoch(PreparedDataset.open(self.prepared).stats.n_train, BATCH),
        )
        cluster = ClusterConfig(
            name="local",
            executor="local",
            cpus_per_node=RANKS,
            memory_mb_per_node=4000,
            checkpoint_interval_s=0.3,
            checkpoint_mode=self.checkpoint_mode,
        )
        request = {
            "entry": "slimline.training.job:run",
            "variant": "dense",
            "seed": 3,
            "inputs": {"plan": "plan.json"}
            | {name: str(self.prepared / file) for name, file in PREPARED_FILES.items()},
            "outputs": {name: f"out/{name}" for name in ("model", "weights", "history", "job")},
            "params": {
                "experiment": "soak",
                "recipe": recipe.model_dump(mode="json", exclude={"seeds"}),
                "cluster": cluster.model_dump(mode="json"),
                "model": ModelConfig(name="convnet", width=0.5, dropout=0.2).model_dump(mode="json"),
            },
        }
        write_json(self.folder / REQUEST, request)


PREPARED_FILES = {"stats": "stats.json", "index": "index.parquet"}


def wait_until(training, condition):
    """Returns when `condition` holds; raises OverError when the training is over before."""
    while not condition():
        training.look()


def look_on(training, chance, most, condition=lambda: True):
    """A random number of further looks, as long as `condition` holds."""
    for _ in range(chance.randrange(most)):
        if condition():
            training.look()


def wait_for_steps(training):
    wait_until(training, lambda: training.phase in ("train", "validate"))


def at_the_start(training, chance):
    """While ranks import, join each other and load their checkpoint."""
    look_on(training, chance, 1500, lambda: training.phase in ("", "start"))


def between_steps(training, chance):
    wait_for_steps(training)
    look_on(training, chance, 400)


def in_a_save(training, chance):
    wait_for_steps(training)
    before = training.unfinished_checkpoints
    wait_until(training, lambda: training.unfinished_checkpoints - before)
    look_on(training, chance, 4)


def after_a_save(training, chance):
    wait_for_steps(training)
    before = training.newest_checkpoint
    wait_until(training, lambda: training.newest_checkpoint > before)
    look_on(training, chance, 20)


def in_a_validation(training, chance):
    wait_for_steps(training)
    wait_until(training, lambda: training.validates)


def one_rank(launcher, ranks, chance):
    return [chance.choice(ranks)]


def all_ranks(launcher, ranks, chance):
    return ranks


def everything(launcher, ranks, chance):
    """As when the machine loses its power."""
    return [launcher, *ranks]


def the_launcher(launcher, ranks, chance):
    return [launcher]


MOMENTS = [at_the_start, between_steps, in_a_save, after_a_save, in_a_validation]
VICTIMS = [one_rank] * 4 + [all_ranks] * 3 + [everything] * 2 + [the_launcher]


def train_and_kill(training, chance, most, say):
    """Runs a training to its end, with at most so many kills on the way; returns how many there were."""
    training.start()
    try:
        kills = kill_until_over(training, chance, most, say)
        training.wait()
    except BaseException:
        training.launchers[-1].terminate()  # it cancels the job
        training.launchers[-1].wait()
        raise
    return kills


def kill_until_over(training, chance, most, say):
    kills, killed = 0, ""
    with contextlib.suppress(OverError):
        while kills < most:
            wait_until(training, lambda before=killed: training.attempt != before and len(training.ranks()) == RANKS)
            moment, victims = chance.choice(MOMENTS), chance.choice(VICTIMS)
            moment(training, chance)
            attempt, checkpoint, ranks = training.attempt, training.newest_checkpoint, training.ranks()
            if not ranks:
                continue  # it is about to end
            for process in victims(psutil.Process(training.launchers[-1].pid), ranks, chance):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            kills += 1
            say(f"{kills:>3} {moment.__name__:<15} {victims.__name__:<12} attempt {attempt} {checkpoint}")
            # A job whose launcher alone has died goes on, and may be hit again.
            killed = "" if victims is the_launcher else attempt
            if victims in (everything, the_launcher):
                training.launchers[-1].wait()
                training.start()
    return kills


def assert_exact_recoveries(folder, prepared, epochs, chance, kills, say, **way):
    """Trainings are killed so many times, one training after the other, and all end with an unbroken one's bits.

    `way` are further arguments of a training: how its ranks share it, and how it saves.
    """
    unbroken = Training(folder / "unbroken", prepared, epochs, **way)
    train_and_kill(unbroken, chance, 0, say)
    assert [record["epoch"] for record in unbroken.course()] == list(range(epochs))
    assert {record["samples_digest"] for record in unbroken.course()} == {unbroken.expected_digest()}

    started_s, done, trainings = time.monotonic(), 0, 0
    while done < kills:
        trainings += 1
        killed = Training(folder / f"killed-{trainings}", prepared, epochs, **way)
        done += train_and_kill(killed, chance, kills - done, say)
        assert killed.weights() == unbroken.weights()
        assert killed.course() == unbroken.course()
    say(f"{kills} kills in {trainings} trainings, {time.monotonic() - started_s:.0f} s: all ended with the same bits")
