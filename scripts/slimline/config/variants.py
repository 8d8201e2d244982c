"""The compressed variants: each one step on one parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, model_validator
from pydantic_core import InitErrorDetails

from slimline.config.base import Config, PositiveFraction, Temperature, mistake_at, with_mistakes
from slimline.config.model import ModelConfig
from slimline.config.pruning import PruneConfig
from slimline.config.runtime import Runtime, default_runtime
from slimline.config.train import Epochs, LearningRate

DENSE = "dense"
Step = Literal["prune", "distil", "finetune", "quantize"]
STEPS: tuple[Step, ...] = ("prune", "distil", "finetune", "quantize")
STUDENT = ("model", "width")


class DistilConfig(Config):
    """A smaller student learns from its parent's logits (Hinton et al., 2015): exactly one of `model` and `width`."""

    # Editors learn from the schema that there is exactly one student.
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [key], "properties": {key: {"not": {"type": "null"}}}} for key in STUDENT]
        }
    )

    model: ModelConfig | None = Field(default=None, description="The student, by name.")
    width: PositiveFraction | None = Field(
        default=None,
        description="The student is the parent's architecture with this share of its channels; what was pruned from "
        "the parent is there again.",
    )
    epochs: Epochs | None = Field(default=None, description="Epochs of the student; the recipe's where unset.")
    learning_rate: LearningRate | None = Field(
        default=None, description="Peak learning rate of the student; the recipe's where unset."
    )
    temperature: Temperature = Field(default=4.0, description="Softens both distributions before they are compared.")
    weight: PositiveFraction = Field(
        default=0.7, description="Weight of the teacher's distribution; the rest goes to the labels."
    )
    feature_weight: Annotated[float, Field(ge=0.0, le=10_000.0)] = Field(
        default=0.0,
        description="Weight of attention transfer (Zagoruyko and Komodakis, 2017): where both networks have feature "
        "maps of one size, the student learns where its teacher looks; 0 is off. `compile` is not used then.",
    )
    teachers: Literal["parent", "seeds"] = Field(
        default="parent",
        description="`parent`: the parent's model of the same seed teaches. `seeds`: those of all seeds together, by "
        "the mean of their softened distributions.",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _one_student(cls, raw: Any, validate: ModelWrapValidatorHandler[DistilConfig]) -> DistilConfig:
        return with_mistakes(lambda: validate(raw), _student_mistakes(raw))


class FinetuneConfig(Config):
    """The parent is trained on, and nothing else about it changes."""

    epochs: Epochs = Field(default=5, description="Epochs of further training.")
    learning_rate: LearningRate | None = Field(
        default=None, description="Peak learning rate of the further training; half of the recipe's where unset."
    )


class QuantizeConfig(Config):
    """Fewer bits: int8 after training or in training (`epochs`), or bf16."""

    dtype: Literal["int8", "bf16"] = Field(
        default="int8",
        description="Type of weights and activations. `bf16` is for OpenVINO, on CPUs that have instructions for it.",
    )
    runtime: Runtime | None = Field(
        default=None,
        description="Runtime that the file is made for and run in; where unset, `onnxruntime` for int8 and `openvino` "
        "for bf16.",
    )
    calibration_samples: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=512, description="Training images from which activation ranges are taken; not for bf16."
    )
    method: Literal["minmax", "entropy", "percentile"] = Field(
        default="minmax",
        description="How ranges are taken from the calibration images; `entropy` in ONNX Runtime only.",
    )
    reduce_range: bool | None = Field(
        default=None,
        description="Weights of 7 bits, for x86 CPUs without VNNI, on which sums of products of 8 bits are cut off; "
        "where unset, by this machine's CPU.",
    )
    accuracy_drop: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description="Accuracy control, OpenVINO only: layers go back to float, those that cost most first, until no "
        "more than this share of accuracy is lost on the validation split.",
    )
    epochs: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0,
        description="Epochs of quantization-aware training: the parent is trained on while it computes as the int8 "
        "file will, then quantized. 0 quantizes it as it is.",
    )
    learning_rate: LearningRate | None = Field(
        default=None, description="Peak learning rate of those epochs; a tenth of the recipe's where unset."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _fits_together(cls, raw: Any, validate: ModelWrapValidatorHandler[QuantizeConfig]) -> QuantizeConfig:
        return with_mistakes(lambda: validate(raw), _quantize_mistakes(raw))

    @property
    def target_runtime(self) -> Runtime:
        """The runtime that the file is made for."""
        return self.runtime or default_runtime(self.dtype)


# What has nothing to do in bf16, and what it is where it is not set.
INT8_ONLY = {"accuracy_drop": None, "epochs": 0, "calibration_samples": 512, "method": "minmax", "reduce_range": None}


def _quantize_mistakes(raw: Any) -> list[InitErrorDetails]:
    """Settings of a quantization, as they stand in the config, that exclude each other."""
    if not isinstance(raw, Mapping):
        return []
    dtype, method = raw.get("dtype", "int8"), raw.get("method")
    runtime = raw.get("runtime") or default_runtime(dtype)
    mistakes = []
    if dtype == "bf16" and runtime == "onnxruntime":
        expected = "`openvino`: ONNX Runtime has no bf16 on CPUs"
        mistakes.append(mistake_at(("runtime",), "`onnxruntime` with `dtype: bf16`", expected))
    if runtime == "openvino" and method == "entropy":
        mistakes.append(mistake_at(("method",), "`entropy` for OpenVINO", "`minmax` or `percentile`"))
    if dtype == "bf16":
        for key, default in INT8_ONLY.items():  # a resolved config names defaults
            if raw.get(key, default) != default:
                mistakes.append(mistake_at((key,), f"`{key}` with `dtype: bf16`", "`dtype: int8`, or no such setting"))
    elif raw.get("accuracy_drop") is not None and runtime != "openvino":
        mistakes.append(mistake_at(("accuracy_drop",), "accuracy control in ONNX Runtime", "`runtime: openvino`"))
    if raw.get("accuracy_drop") is not None and raw.get("epochs"):
        expected = "one of the two: layers that were trained as int8 stay int8"
        mistakes.append(mistake_at(("accuracy_drop",), "accuracy control with `epochs`", expected))
    if raw.get("learning_rate") is not None and not raw.get("epochs"):
        mistakes.append(mistake_at(("learning_rate",), "a learning rate without `epochs`", "`epochs` above 0"))
    return mistakes


class VariantConfig(Config):
    """One compression step on one parent: exactly one of `prune`, `distil`, `finetune` and `quantize`."""

    # Editors learn from the schema that there is exactly one step.
    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [step], "properties": {step: {"type": "object"}}} for step in STEPS]}
    )

    parent: str = Field(alias="from", description="`dense`, or another variant.")
    prune: PruneConfig | None = Field(default=None, description="Remove channels, then fine-tune.")
    distil: DistilConfig | None = Field(default=None, description="Train a smaller student.")
    finetune: FinetuneConfig | None = Field(default=None, description="Train the parent on.")
    quantize: QuantizeConfig | None = Field(default=None, description="Go to 8-bit integers, or to bf16.")

    @model_validator(mode="wrap")
    @classmethod
    def _one_step(cls, raw: Any, validate: ModelWrapValidatorHandler[VariantConfig]) -> VariantConfig:
        return with_mistakes(lambda: validate(raw), _step_mistakes(raw))

    @property
    def step(self) -> Step:
        """The step that makes this variant."""
        return next(step for step in STEPS if getattr(self, step) is not None)

    @property
    def trains(self) -> bool:
        """Whether the step takes gradient steps."""
        return self.quantize is None or self.quantize.epochs > 0

    @property
    def is_taught(self) -> bool:
        """Whether the step learns from a teacher's answers besides the labels."""
        return self.distil is not None or (self.prune is not None and self.prune.teacher_weight > 0)


def _step_mistakes(raw: Any) -> list[InitErrorDetails]:
    """Whether a variant, as it stands in the config, has exactly one step."""
    if not isinstance(raw, Mapping):
        return []
    given = [step for step in STEPS if raw.get(step) is not None]
    empty = [step for step in STEPS if step in raw and raw[step] is None]
    one = f"exactly one of {', '.join(f'`{step}`' for step in STEPS)}"
    if len(given) > 1:
        got = " and ".join(f"`{step}`" for step in given)
        return [mistake_at((), got, f"{one}; chain variants with `from`")]
    if empty and not given:
        example = "`distil: {width: 0.5}`" if empty[0] == "distil" else f"`{empty[0]}: {{}}`"
        return [mistake_at((empty[0],), "nothing", f"settings; the least is {example}")]
    misspelt = set(raw) - {"from", *STEPS}
    if not given and not misspelt:
        return [mistake_at((), "no step", one)]
    return []


def _student_mistakes(raw: Any) -> list[InitErrorDetails]:
    """Whether a distillation, as it stands in the config, has exactly one student."""
    if not isinstance(raw, Mapping):
        return []
    given = [key for key in STUDENT if raw.get(key) is not None]
    misspelt = set(raw) - set(DistilConfig.model_fields)
    if len(given) == 1 or (misspelt and not given):
        return []
    got = "both" if given else "neither"
    return [
        mistake_at((), got, "exactly one of `model` and `width`: the student by name, or the parent's model narrower")
    ]
