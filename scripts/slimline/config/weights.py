"""Files of weights that a config names: their digests become part of it, so that another content trains anew."""

from __future__ import annotations

from pathlib import Path

from slimline.config.experiment import ExperimentConfig
from slimline.config.model import ModelConfig
from slimline.errors import SlimlineError
from slimline.files import sha256_file


def with_digests(experiment: ExperimentConfig) -> ExperimentConfig:
    """The experiment with `weights_sha256` of every model that starts from a file.

    Raises:
        SlimlineError: a file is not there, or its digest is not the one that the config gives.
    """
    variants = dict(experiment.variants)
    for name, variant in variants.items():
        if variant.distil is not None and variant.distil.model is not None:
            model = _with_digest(variant.distil.model, f"variants.{name}.distil.model")
            variants[name] = variant.model_copy(update={"distil": variant.distil.model_copy(update={"model": model})})
    changed = {"model": _with_digest(experiment.model, "model"), "variants": variants}
    kept = {name: getattr(experiment, name) for name in ExperimentConfig.model_fields}
    return ExperimentConfig.model_validate(kept | changed)  # a copy would keep what was worked out of the old ones


def _with_digest(model: ModelConfig, where: str) -> ModelConfig:
    if model.weights_file is None:
        return model
    path = Path(model.weights_file)
    if not path.is_file():
        raise SlimlineError(
            "The file of weights that the config names is not there.",
            where=f"{where}.weights",
            got=str(path),
            expected=f"a safetensors file; a relative path starts from {Path.cwd()}",
        )
    return model.model_copy(update={"weights_sha256": checked_digest(path, model.weights_sha256, where)})


def checked_digest(path: Path, expected: str | None, where: str) -> str:
    """SHA-256 of a file of weights.

    Raises:
        SlimlineError: it is not the expected one.
    """
    found = sha256_file(path)
    if expected not in (None, found):
        raise SlimlineError(
            "The file of weights is not the one that was meant.",
            where=str(path),
            got=f"SHA-256 {found}",
            expected=f"{expected} ({where}.weights_sha256)",
            next_step="put the right file there, or correct or remove weights_sha256",
        )
    return found
