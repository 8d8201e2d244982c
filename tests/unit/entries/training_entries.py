"""Stand-ins for a trainer, run by submitit in processes of their own."""

import json
import os
import signal
import threading
from pathlib import Path

from slimline.errors import NotSupportedError, SlimlineError
from slimline.files import replacing_folder, write_json, write_text
from slimline.training.spec import HEARTBEAT_FILE, HISTORY_FILE, RESULT_FOLDER, SUMMARY_FILE
from slimline.training.stop import StoppedError

SPEED = {"phase": "train", "images_per_s": 1.0, "loss": 1.0}


def succeed(spec, folder):
    if os.environ["RANK"] == "0":
        with replacing_folder(folder / RESULT_FOLDER) as result:
            for name in ("model.json", "weights.safetensors"):
                (result / name).write_text("{}")
            (result / HISTORY_FILE).write_text(json.dumps({"world": int(os.environ["WORLD_SIZE"])}) + "\n")
            write_json(result / SUMMARY_FILE, {"seconds": 0.0, "devices": os.environ["CUDA_VISIBLE_DEVICES"]})


def mistake(spec, folder):
    raise SlimlineError("The learning rate is too wild.")


def not_supported(spec, folder):
    raise NotSupportedError("It cannot be pruned.", got="ZeroDivisionError", next_step="leave it out", code="odd")


def fail_on_rank_one(spec, folder):
    if os.environ["RANK"] == "1":
        raise OSError("the disk is gone")
    threading.Event().wait()


def killed_on_rank_one(spec, folder):
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


def fail_once(spec, folder):
    if not (folder / "failed").exists():
        (folder / "failed").touch()
        raise OSError("not this time")
    succeed(spec, folder)


def succeed_alone(spec, folder):
    if os.environ["WORLD_SIZE"] != "1":
        raise OSError("too many of us")
    succeed(spec, folder)


def killed_once(spec, folder):
    if not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    succeed(spec, folder)


def stop_once(spec, folder):
    if not (folder / "stopped").exists():
        (folder / "stopped").touch()
        raise StoppedError("stopped at epoch 0, step 1", announced=False, saved=True)
    succeed(spec, folder)


def at_the_time_limit_once(spec, folder):
    if not (folder / "stopped").exists():
        (folder / "stopped").touch()
        write_json(folder / HEARTBEAT_FILE, {"eta_s": 600.0, "epoch": 1, "epochs": 2, "step": 1, "steps": 2} | SPEED)
        signal.raise_signal(signal.SIGUSR2)
    succeed(spec, folder)


def wait_for_ever(spec, folder):
    """Says that it is up; ends when the file `go.json` appears in the working directory."""
    write_text(Path(f"up-{os.environ['RANK']}"), str(os.getpid()))
    while not Path("go.json").exists():
        os.sched_yield()
    succeed(spec, folder)
