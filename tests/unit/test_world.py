"""What ranks tell each other: flags on the hosts, gradients once per step."""

import contextlib
from dataclasses import replace

import pytest
import torch
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from training_fixtures import train, training_spec, with_recipe

from slimline.training import job
from slimline.training.distributed import REPLICATE, SHARD, TENSOR, World
from slimline.training.loop import Trainer
from slimline.training.parallel import gradient_sync

CPU = torch.device("cpu")


@pytest.fixture
def world():
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    mesh = init_device_mesh("cpu", (1, 1, 1), mesh_dim_names=(REPLICATE, SHARD, TENSOR))
    yield World(0, 1, CPU, mesh, dist.new_group(backend="gloo"))
    dist.destroy_process_group()


def test_ranks_agree_without_asking_their_devices(world):
    """`meta` stands for a GPU: nothing can be read from it."""
    elsewhere = replace(world, device=torch.device("meta"))
    assert elsewhere.any(True, False) == [True, False]
    assert elsewhere.from_main("checkpoint") == "checkpoint"
    assert elsewhere.from_all(3) == [3]
    assert dist.get_backend(elsewhere.hosts) == "gloo"


@pytest.mark.parametrize("accumulation", [1, 4])
def test_replicas_exchange_gradients_once_per_step(digits, monkeypatch, tmp_path, world, accumulation):
    """However many parts a batch has."""
    spec = with_recipe(training_spec(digits, monkeypatch), epochs=1)
    spec = replace(spec, allocation=replace(spec.allocation, micro_batch=64 // accumulation, accumulation=accumulation))
    exchanged, original = [], Trainer._train_step

    def exchange(state, bucket):
        exchanged.append(sum(gradient.numel() for gradient in bucket.gradients()))
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    def step(self, epoch, number, *args):
        if number == 0:
            assert isinstance(self.parallel, DistributedDataParallel)
            self.parallel.register_comm_hook(None, exchange)
        original(self, epoch, number, *args)
        trained = sum(parameter.numel() for parameter in self.model.parameters())
        assert sum(exchanged) == (number + 1) * trained

    monkeypatch.setattr(Trainer, "_train_step", step)
    monkeypatch.setattr(job, "joined", lambda allocation: contextlib.nullcontext(world))
    train(spec, tmp_path / "a")
    assert exchanged


def test_shards_exchange_gradients_with_the_last_part_only(world):
    """A shard has its gradient once ranks have exchanged theirs; until then the sum of the parts waits."""
    model = fully_shard(torch.nn.Linear(4, 2), mesh=world.mesh[SHARD])
    gradients = []
    for part in range(3):
        with gradient_sync(model, last=part == 2):
            model(torch.ones(1, 4)).sum().backward()
        gradients.append(model.weight.grad)
    assert gradients[:2] == [None, None]
    assert torch.equal(gradients[2].full_tensor(), torch.full((2, 4), 3.0))
