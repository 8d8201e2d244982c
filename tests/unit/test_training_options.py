"""Options of the recipe on real digits: each does what it says, and resumes to the same bits."""

import math
import weakref
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_fixtures import history, same, spoil_weights_once, stopping_after, train, training_spec, with_recipe

from slimline.config.model import ModelConfig
from slimline.data.batches import epoch_order, share
from slimline.data.prepared import PreparedDataset
from slimline.errors import SlimlineError
from slimline.files import read_json
from slimline.models.small import ResNet8
from slimline.training import history as history_module
from slimline.training import run
from slimline.training.checkpoint import newest_valid_checkpoint
from slimline.training.ema import WeightAverage
from slimline.training.finite import FiniteWatch, NotFinite
from slimline.training.kernel_matrices import step_on_matrices
from slimline.training.loop import Trainer
from slimline.training.optimisation import build_optimizers, clip_gradients, freeze, plainly_named, set_training
from slimline.training.parallel import compiles
from slimline.training.precision import Precision
from slimline.training.selection import is_best, is_over
from slimline.training.settings import RunSettings
from slimline.training.stop import StoppedError


@pytest.fixture
def spec(digits, monkeypatch):
    return training_spec(digits, monkeypatch)


MIXING = {
    "random_resized_crop": 0.3,
    "crop_padding": 1,
    "random_erasing": 0.5,
    "cutout_px": 2,
    "mixup": 0.4,
    "cutmix": 1.0,
}
OPTIONS = {
    "muon": {"optimizer": "muon", "schedule": "one-cycle"},
    "sgd": {"optimizer": "sgd", "gradient_clipping": 0.5, "learning_rate_scaling": "sqrt"},
    "average": {"ema_decay": 0.9},
    "mixing": {"augmentation": MIXING},
    "best": {"keep": "best", "monitor": "validation-loss", "ema_decay": 0.9},
    "rarely": {"validate_every_epochs": 2, "keep": "best"},
    "groups": {"freeze": ["features.0.*"], "learning_rate_multipliers": {"features.*": 0.1}},
}


@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS)
def test_each_option_learns_and_resumes_to_the_same_bits(spec, tmp_path, monkeypatch, changes):
    spec = with_recipe(spec, **changes)
    unbroken = train(spec, tmp_path / "a")
    with monkeypatch.context() as patch:
        stopping_after(patch, 30)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "b")
    assert same(unbroken, train(spec, tmp_path / "b"))
    losses = [record["train_loss"] for record in history(tmp_path / "a")]
    assert losses[-1] < losses[0]


def test_fp16_scales_the_loss_and_resumes_to_the_same_bits(spec, tmp_path, monkeypatch):
    spec = replace(spec, allocation=replace(spec.allocation, precision="fp16"))
    unbroken = train(spec, tmp_path / "a")
    with monkeypatch.context() as patch:
        stopping_after(patch, 25)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "b")
    assert same(unbroken, train(spec, tmp_path / "b"))
    assert history(tmp_path / "a")[-1]["validation_accuracy"] > 0.6


def test_a_step_that_overflows_in_fp16_is_left_out_and_the_scale_halved(spec, tmp_path, monkeypatch):
    scales = []
    original = Trainer._train_step

    def step(self, *args):
        before = {name: tensor.clone() for name, tensor in self.model.named_parameters()}
        original(self, *args)
        scales.append((self.precision.scaler.get_scale(), same(before, dict(self.model.named_parameters()))))

    monkeypatch.setattr(Trainer, "_train_step", step)
    monkeypatch.setattr(torch.amp.GradScaler, "__init__", _scaler_from(2.0**24, torch.amp.GradScaler.__init__))
    one_epoch = with_recipe(spec, epochs=1)
    train(replace(one_epoch, allocation=replace(spec.allocation, precision="fp16")), tmp_path / "a")
    assert scales[0] == (2.0**23, True)
    assert scales[-1][0] < 2.0**23
    assert not scales[-1][1]


def test_gradients_that_overflow_at_every_step_are_no_silent_standstill(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.amp.GradScaler, "__init__", _scaler_from(2.0**-8, torch.amp.GradScaler.__init__))

    def overflowing(self, loss):
        torch.autograd.backward(self.scaler.scale(loss) * math.inf)

    monkeypatch.setattr(Precision, "backward", overflowing)
    with pytest.raises(SlimlineError, match="not a finite number") as caught:
        train(replace(spec, allocation=replace(spec.allocation, precision="fp16")), tmp_path / "a")
    assert "overflow fp16 at every step" in str(caught.value)


def _scaler_from(scale, original):
    return lambda self, *args, **kwargs: original(self, *args, init_scale=scale, **kwargs)


def test_the_average_ships_and_is_what_was_validated(spec, tmp_path):
    plain = train(spec, tmp_path / "a")
    averaged = train(with_recipe(spec, ema_decay=0.9), tmp_path / "b")
    assert not same(plain, averaged)
    first, second = (history(tmp_path / name)[-1] for name in "ab")
    assert first["train_loss"] == second["train_loss"], "the average takes no part in training"
    assert first["validation_loss"] != second["validation_loss"]


def test_the_average_follows_its_formula_and_copies_counters():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = WeightAverage(model, decay=0.5)
    expected = model[0].weight.item()
    for step in range(20):
        with torch.no_grad():
            model[0].weight.fill_(step)
        model[1].num_batches_tracked += 1
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.module[0].weight.item() == pytest.approx(expected, rel=1e-5)
    assert average.module[1].num_batches_tracked == 20


def test_the_best_epoch_ships_though_later_ones_are_worse(spec, tmp_path, monkeypatch):
    states = []
    original = Trainer._evaluate

    def evaluate(self, rows):
        original(self, rows)
        states.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        return {"validation_loss": 1.0, "validation_accuracy": [0.5, 0.9, 0.7][len(states) - 1]}

    monkeypatch.setattr(Trainer, "_evaluate", evaluate)
    assert same(train(with_recipe(spec, keep="best"), tmp_path / "a"), states[1])
    assert same(load_file(tmp_path / "a/result/weights-last.safetensors"), states[2])


def test_epochs_are_validated_as_often_as_asked_and_the_last_one_always(spec, tmp_path):
    weights = {every: train(with_recipe(spec, validate_every_epochs=every), tmp_path / str(every)) for every in (1, 2)}
    looks = {every: ["validation_loss" in epoch for epoch in history(tmp_path / str(every))] for every in (1, 2)}
    assert looks == {1: [True, True, True], 2: [False, True, True]}
    assert same(weights[1], weights[2]), "looking changes nothing"


def test_images_are_small_at_first_and_whole_in_the_end_and_wherever_the_model_is_judged(spec, tmp_path, monkeypatch):
    seen = []
    original = ResNet8.forward

    def forward(self, images):
        if len(images) > 1:  # one image is no batch but a look at the sizes of feature maps
            seen.append((self.training, *images.shape[2:]))
        return original(self, images)

    monkeypatch.setattr(ResNet8, "forward", forward)
    spec = replace(spec, model=ModelConfig(name="resnet8"))
    train(with_recipe(spec, progressive_resizing={"start_px": 4, "step_px": 2, "until": 0.5}), tmp_path / "a")
    trained = [size for training, *size in seen if training]
    assert trained == [[4, 4]] * 14 + [[6, 6]] * 14 + [[8, 8]] * 29, "57 steps, of which half are floor(28.5)"
    assert {tuple(size) for training, *size in seen if not training} == {(8, 8)}


def test_a_run_that_stopped_among_smaller_images_goes_on_to_the_same_bits(spec, tmp_path, monkeypatch):
    resizing = {"start_px": 4, "step_px": 2, "until": 0.7}
    spec = replace(with_recipe(spec, progressive_resizing=resizing), model=ModelConfig(name="resnet8"))
    unbroken = train(spec, tmp_path / "a")
    with monkeypatch.context() as patch:
        stopping_after(patch, 22)
        with pytest.raises(StoppedError):
            train(spec, tmp_path / "b")
    assert same(unbroken, train(spec, tmp_path / "b"))
    assert not same(unbroken, train(with_recipe(spec, progressive_resizing=None), tmp_path / "c"))


def test_an_epoch_that_was_not_validated_neither_ships_nor_counts_for_patience(spec, tmp_path):
    rare = with_recipe(spec, epochs=4, validate_every_epochs=3, keep="best")
    train(rare, tmp_path / "a")
    scores = [epoch.get("validation_accuracy") for epoch in history(tmp_path / "a")]
    assert scores[:2] == [None, None]
    assert None not in scores[2:]
    skipped = {"kind": "epoch", "epoch": 3}
    recipe = with_recipe(spec, early_stopping={"patience": 2}).recipe
    assert not is_over([*records(0.5, 0.6, 0.55), skipped], recipe)
    assert is_over([*records(0.5, 0.6, 0.55), skipped, {**skipped, "epoch": 4, "validation_accuracy": 0.5}], recipe)


def test_training_ends_early_when_the_validation_split_says_so(spec, tmp_path):
    early = {"patience": 1, "min_delta": 1000.0}
    train(with_recipe(spec, early_stopping=early, monitor="validation-loss"), tmp_path / "a")
    assert len(history(tmp_path / "a")) == 2, "the first epoch is an improvement on nothing, the second is none"


def test_an_early_end_is_the_same_after_a_resume(spec, tmp_path, monkeypatch):
    early = with_recipe(spec, early_stopping={"patience": 1, "min_delta": 1000.0}, keep="best")
    unbroken = train(early, tmp_path / "a")
    with monkeypatch.context() as patch:
        stopping_after(patch, 30)
        with pytest.raises(StoppedError):
            train(early, tmp_path / "b")
    assert same(unbroken, train(early, tmp_path / "b"))
    assert len(history(tmp_path / "a")) == len(history(tmp_path / "b")) == 2


def records(*accuracies):
    return [{"kind": "epoch", "epoch": n, "validation_accuracy": accuracy} for n, accuracy in enumerate(accuracies)]


def test_patience_counts_epochs_since_the_last_improvement(spec):
    recipe = with_recipe(spec, early_stopping={"patience": 2, "min_delta": 0.1}).recipe
    assert not is_over([], recipe)
    assert not is_over(records(0.5, 0.55), recipe)
    assert is_over(records(0.5, 0.55, 0.59), recipe)
    assert not is_over(records(0.5, 0.55, 0.65), recipe)
    assert [is_best(records(0.5, 0.7, 0.6)[:n], recipe) for n in (1, 2, 3)] == [True, True, False]


def test_an_epoch_without_a_finite_score_is_worse_than_any(spec):
    recipe = with_recipe(spec, monitor="validation-loss", early_stopping={"patience": 2}).recipe
    figures = enumerate((None, 0.7, None, 0.9))
    losses = [{"kind": "epoch", "epoch": epoch, "validation_loss": loss} for epoch, loss in figures]
    assert [is_best(losses[:n], recipe) for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert [is_over(losses[:n], recipe) for n in (1, 2, 3, 4)] == [False, False, False, True]


def test_figures_that_are_not_finite_are_null_in_history_and_checkpoints(spec, tmp_path, monkeypatch):
    """The norm of gradients that overflow fp16, and a validation loss of weights that are none."""
    monkeypatch.setattr(torch.amp.GradScaler, "__init__", _scaler_from(2.0**24, torch.amp.GradScaler.__init__))
    original = Trainer._evaluate
    monkeypatch.setattr(Trainer, "_evaluate", lambda *args: original(*args) | {"validation_loss": math.nan})
    spec = with_recipe(spec, epochs=1, log_every_steps=1)
    (tmp_path / "a").mkdir()
    RunSettings(checkpoint_interval_s=0.0).write(tmp_path / "a")  # after every step
    train(replace(spec, allocation=replace(spec.allocation, precision="fp16")), tmp_path / "a")
    assert history(tmp_path / "a", "step")[0]["gradient_norm"] is None
    assert history(tmp_path / "a")[0]["validation_loss"] is None
    assert read_json(newest_valid_checkpoint(tmp_path / "a/checkpoints") / "progress.json")["records"]


def test_a_round_is_judged_by_its_own_epochs(spec):
    recipe = with_recipe(spec, early_stopping={"patience": 2}).recipe
    course = records(0.9, 0.5, 0.4, 0.6)
    assert is_over(course[:3], recipe)
    assert not is_over(course[:3], recipe, first=1)
    assert [is_best(course[:n], recipe, first=1) for n in (2, 3, 4)] == [True, False, True]


def test_a_gradient_that_is_not_finite_is_named_with_its_step_though_nobody_looked_at_first(
    spec, tmp_path, monkeypatch
):
    place, careful = [], []
    original, unscale = Trainer._train_step, Precision.unscale

    def step(self, epoch, step, *args):
        place[:] = epoch, step
        careful.append(self.careful)
        original(self, epoch, step, *args)

    def spoil(self, optimizers):
        unscale(self, optimizers)
        if place == [1, 3]:
            optimizers[0].param_groups[0]["params"][0].grad[:] = math.nan

    monkeypatch.setattr(Trainer, "_train_step", step)
    monkeypatch.setattr(Precision, "unscale", spoil)
    with pytest.raises(SlimlineError, match="epoch 1, step 3") as caught:
        train(spec, tmp_path / "a")
    assert "norm of the gradients nan" in str(caught.value)
    assert set(careful) == {False, True}


@pytest.mark.parametrize("heartbeat_interval_s", [1.0, 0.0], ids=["heartbeat later", "heartbeat due"])
def test_a_passing_fault_costs_a_return_to_the_last_checkpoint_and_nothing_else(
    spec, tmp_path, monkeypatch, heartbeat_interval_s
):
    monkeypatch.setattr(history_module, "HEARTBEAT_INTERVAL_S", heartbeat_interval_s)
    unbroken = train(spec, tmp_path / "a")
    spoil_weights_once(monkeypatch, 30)
    assert same(unbroken, train(spec, tmp_path / "b"))
    (record,) = history(tmp_path / "b", "rollback")
    assert "epoch 1, step 11" in record["reason"]
    data = PreparedDataset.open(spec.prepared)
    rows = share(epoch_order(data.rows("train"), spec.seed, 1), 19, 11)
    assert record["sample_ids"] == data.sample_ids(rows)


def test_the_model_that_failed_is_gone_before_the_next_is_built(spec, tmp_path, monkeypatch):
    original, built, alive = Trainer.__init__, [], []

    def init(self, *args, **kwargs):
        alive.append([trainer() is not None for trainer in built])
        built.append(weakref.ref(self))
        original(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "__init__", init)
    spoil_weights_once(monkeypatch, 5)
    train(with_recipe(spec, epochs=1), tmp_path / "a")
    assert alive == [[], [False]]


@pytest.mark.parametrize("n_steps", [12, 19])  # in the middle of an epoch; its last step
def test_weights_that_an_update_has_spoilt_are_neither_saved_nor_shipped(spec, tmp_path, monkeypatch, n_steps):
    unbroken = train(spec, tmp_path / "a")
    (tmp_path / "b").mkdir()
    RunSettings(checkpoint_interval_s=0.0 if n_steps == 12 else 1e9).write(tmp_path / "b")
    original, done = Precision.step, []

    def step(self, optimizers):
        original(self, optimizers)
        done.append(None)
        if len(done) == n_steps:  # once
            with torch.no_grad():
                optimizers[0].param_groups[0]["params"][0].view(-1)[0] = math.inf

    monkeypatch.setattr(Precision, "step", step)
    assert same(unbroken, train(spec, tmp_path / "b"))
    (record,) = history(tmp_path / "b", "rollback")
    assert f"epoch 0, step {n_steps - 1}: weights that are not finite" in record["reason"]
    assert (record["epoch"], record["step"]) == ((0, 11) if n_steps == 12 else (0, 0))


@pytest.mark.parametrize("bad", ["loss", "norm"])
def test_the_first_bad_step_is_remembered(bad):
    watch = FiniteWatch(torch.device("cpu"))
    for step in range(6):
        value = torch.tensor(math.inf if step in (2, 4) else 1.0)
        fine = torch.tensor(0.5)
        watch.note(step, *((value, fine) if bad == "loss" else (fine, value)))
        assert (watch.found() is None) == (step < 2)
    expected = (2, math.inf, 0.5) if bad == "loss" else (2, 0.5, math.inf)
    assert watch.found() == NotFinite(*expected)


@pytest.mark.parametrize("deterministic", [True, False])
def test_determinism_is_switched_for_the_whole_run(spec, tmp_path, monkeypatch, deterministic):
    original, seen = Trainer._train_step, set()

    def step(self, *args):
        seen.add((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark))
        original(self, *args)

    monkeypatch.setattr(Trainer, "_train_step", step)
    train(with_recipe(spec, epochs=1, deterministic=deterministic), tmp_path / "a")
    assert seen == {(deterministic, not deterministic)}


def test_images_and_kernels_lie_channels_last(spec, tmp_path, monkeypatch):
    original, seen = Trainer._train_step, []

    def step(self, *args):
        convolution = [layer for layer in self.model.modules() if isinstance(layer, nn.Conv2d)][-1]
        hook = convolution.register_forward_hook(
            lambda layer, inputs, output: seen.extend((inputs[0], layer.weight, output))
        )
        original(self, *args)
        hook.remove()

    monkeypatch.setattr(Trainer, "_train_step", step)
    train(with_recipe(spec, epochs=1), tmp_path / "a")
    for tensor in seen:
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert not tensor.is_contiguous()


@pytest.mark.parametrize(
    ("wanted", "device", "does"), [("auto", "cuda", True), ("auto", "cpu", False), ("off", "cuda", False)]
)
def test_models_are_compiled_on_gpus_unless_that_is_off(wanted, device, does):
    assert compiles(wanted, torch.device(device)) == does


def test_compiling_in_place_keeps_names_and_values(spec, tmp_path, monkeypatch):
    plain = train(with_recipe(spec, epochs=1), tmp_path / "a")
    compiled, compile_in_place = [], nn.Module.compile

    def compile_eagerly(self):
        compiled.append(self)
        compile_in_place(self, backend="eager")  # what is traced runs as it is: no compiler needed

    monkeypatch.setattr(run, "compiles", lambda wanted, device: True)
    monkeypatch.setattr(nn.Module, "compile", compile_eagerly)
    traced = train(with_recipe(spec, epochs=1), tmp_path / "b")
    assert len(compiled) == 1
    assert plain.keys() == traced.keys()
    assert all(torch.allclose(plain[name], traced[name], atol=1e-4) for name in plain)


def test_clipping_shortens_all_gradients_together():
    model = nn.Linear(3, 2)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1)]
    assert clip_gradients(optimizers, None).item() == pytest.approx(math.sqrt(8 * 4))
    assert clip_gradients(optimizers, 1.0).item() == pytest.approx(math.sqrt(8 * 4))
    assert clip_gradients(optimizers, None).item() == pytest.approx(1.0, rel=1e-4)


def network():
    inner = nn.Sequential()
    inner.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    inner.classifier = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    return nn.Sequential(nn.Identity(), inner)


def test_what_is_frozen_stays_with_its_running_statistics():
    model = network()
    freeze(model, ["features.*"])
    set_training(model)
    assert [name for name, parameter in plainly_named(model).items() if parameter.requires_grad] == [
        "classifier.0.weight", "classifier.0.bias", "classifier.1.weight", "classifier.1.bias",
    ]  # fmt: skip
    assert model[1].classifier[0].training
    assert not model[1].features[1].training


@pytest.mark.parametrize("patterns", [["layer1.*"], ["features.*", "classifer.*"]])
def test_a_pattern_that_fits_nothing_is_a_mistake(patterns):
    with pytest.raises(SlimlineError, match="fits nothing") as caught:
        freeze(network(), patterns)
    assert "features, classifier" in str(caught.value)


def test_freezing_everything_is_a_mistake():
    with pytest.raises(SlimlineError, match="Every parameter"):
        freeze(network(), ["*"])


def test_groups_have_the_first_multiplier_that_fits(spec):
    multipliers = {"classifier.1.*": 10.0, "classifier.*": 2.0}
    recipe = with_recipe(spec, learning_rate_multipliers=multipliers, learning_rate=0.1, weight_decay=0.3).recipe
    model = network()
    names = {id(parameter): name for name, parameter in plainly_named(model).items()}
    (optimizer,) = build_optimizers(model, recipe)
    found = {
        names[id(parameter)]: (group["multiplier"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found["features.0.weight"] == (1.0, 0.3)
    assert found["features.1.weight"] == (1.0, 0.0)
    assert found["classifier.0.weight"] == (2.0, 0.3)
    assert found["classifier.1.bias"] == (10.0, 0.0)


def test_muon_takes_hidden_matrices_and_kernels_and_nothing_else(spec):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, groups=2),
        nn.Flatten(), nn.Linear(4 * 6 * 6, 8), nn.Linear(8, 10),
    )  # fmt: skip
    muon, adamw = build_optimizers(model, with_recipe(spec, optimizer="muon").recipe)
    taken = {id(p) for group in muon.param_groups for p in group["params"]}
    assert taken == {id(model[2].weight), id(model[5].weight)}
    assert len([p for group in adamw.param_groups for p in group["params"]]) == 10
    only_head = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2))
    with pytest.raises(SlimlineError, match="Muon has nothing to do"):
        build_optimizers(only_head, with_recipe(spec, optimizer="muon").recipe)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_step_of_muon_on_kernels_is_that_on_their_matrices(channels_last):
    """As in K. Jordan's flattening; the order of the columns changes nothing but the last bits."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(6, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 16, 3)]
    if channels_last:
        layers = [layer.to(memory_format=torch.channels_last) for layer in layers]
    kernels = [layer.weight for layer in layers]
    matrices = [nn.Parameter(kernel.detach().clone().contiguous().flatten(1)) for kernel in kernels]
    places = [(kernel.data_ptr(), kernel.shape, kernel.stride()) for kernel in kernels]
    ours = step_on_matrices(lambda: torch.optim.Muon(kernels, lr=0.1), kernels)
    theirs = torch.optim.Muon(matrices, lr=0.1)
    for _ in range(3):
        for kernel, matrix in zip(kernels, matrices, strict=True):
            gradient = torch.randn(kernel.shape)
            kernel.grad = gradient.clone(memory_format=torch.preserve_format)
            matrix.grad = gradient.flatten(1)
        given = [kernel.grad for kernel in kernels]
        ours.step()
        theirs.step()
        assert all(kernel.grad is gradient for kernel, gradient in zip(kernels, given, strict=True))
    assert [(kernel.data_ptr(), kernel.shape, kernel.stride()) for kernel in kernels] == places
    for kernel, matrix in zip(kernels, matrices, strict=True):
        torch.testing.assert_close(kernel.flatten(1), matrix, rtol=0, atol=0.01)  # it computes in bf16
        momentum = ours.state[kernel]["momentum_buffer"]
        assert momentum.shape == kernel.shape
        torch.testing.assert_close(momentum.flatten(1), theirs.state[matrix]["momentum_buffer"])


def test_kernels_without_a_gradient_stay():
    kernel = nn.Conv2d(2, 3, 3).weight
    optimizer = step_on_matrices(lambda: torch.optim.Muon([kernel]), [kernel])
    before = kernel.detach().clone()
    optimizer.step()
    assert torch.equal(kernel, before)
    assert kernel.grad is None
