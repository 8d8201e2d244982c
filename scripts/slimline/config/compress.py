"""The target search: a limit and an aim instead of hand-set ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from slimline.config.base import Config, mistake
from slimline.config.train import Epochs, LearningRate
from slimline.config.tree import TRIAL_PREFIX
from slimline.config.variants import DENSE, QuantizeConfig, VariantConfig

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
DEFAULT_ROUNDS = 3
Quantization = Literal["int8", "int8-openvino", "bf16"]
QUANTIZATIONS: dict[Quantization, QuantizeConfig] = {
    "int8": QuantizeConfig(dtype="int8"),
    "int8-openvino": QuantizeConfig(dtype="int8", runtime="openvino"),
    "bf16": QuantizeConfig(dtype="bf16"),
}


class CompressConfig(Config):
    """What to reach; the search finds how: pruned networks and students, each in float and quantized.

    Successive halving (Jamieson and Talwalkar, 2016): all structures are trained for a few epochs, the better part of
    them for twice as many, and so on. What is better is judged on the validation split of one seed; the finalists are
    then trained for all seeds, and only those are scored on the test split.
    """

    accuracy_drop: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.005, description="Largest loss of accuracy against dense, on the validation split, as a share."
    )
    minimize: Literal["latency", "size"] = Field(
        default="latency", description="What is made as small as possible within that limit."
    )
    prune_ratios: list[Share] = Field(
        default=[0.3, 0.5, 0.6, 0.7], description="Shares of channels to remove that are tried; `[]` for none."
    )
    student_widths: list[Share] = Field(
        default=[0.5, 0.35, 0.25], description="Widths of students, as shares of dense's, that are tried."
    )
    quantizations: list[Quantization] = Field(
        default=["int8"], description="What is tried on every structure, besides leaving it in float."
    )
    epochs: Epochs = Field(default=10, description="Epochs of fine-tuning of pruned finalists.")
    student_epochs: Epochs | None = Field(
        default=None, description="Epochs of students among the finalists; those of `train` where unset."
    )
    trial_epochs: Epochs = Field(
        default=4, description="Epochs of a trial in the last round; rounds before it take half of those of the next."
    )
    rounds: Annotated[int, Field(ge=1, le=6)] | None = Field(
        default=None,
        description="Rounds of the search; each leaves the better half. Where unset 3, or as many as `trial_epochs` "
        "can be halved into.",
    )
    finalists: Annotated[int, Field(ge=1, le=10)] = Field(
        default=2,
        description="Networks that are trained in full, for all seeds, and compared on the test split in every form "
        "that was usable.",
    )
    learning_rate: LearningRate | None = Field(
        default=None, description="Peak learning rate of all of them; each step's own where unset."
    )
    teacher_weight: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=0.0,
        description="Weight of dense's softened distribution in the fine-tuning of pruned networks, in trials too; the "
        "rest goes to the labels.",
    )
    budget_hours: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None,
        description="Most core-hours, or GPU-hours where training runs on GPUs, that the trials may take by forecast; "
        "rounds that do not fit are left out.",
    )

    @field_validator("quantizations", "prune_ratios", "student_widths")
    @classmethod
    def _each_once(cls, values: list[float | str]) -> list[float | str]:
        # As they are written in the names of variants: what differs later than that would be one variant.
        written = [value if isinstance(value, str) else _percent(value) for value in values]
        if repeated := sorted(
            {str(value) for value, name in zip(values, written, strict=True) if written.count(name) > 1}
        ):
            raise mistake(f"{', '.join(repeated)} more than once", "each value once")
        return values

    @field_validator("epochs", "student_epochs", "teacher_weight")
    @classmethod
    def _are_of_use(cls, value: float | None, info: ValidationInfo) -> float | None:
        name = str(info.field_name)
        networks = "student_widths" if name == "student_epochs" else "prune_ratios"
        if value != cls.model_fields[name].default and info.data.get(networks) == []:
            raise mistake(f"{value:g} with `{networks}: []`", "no such setting, or something that it is for")
        return value

    @field_validator("rounds")
    @classmethod
    def _fit_the_epochs(cls, rounds: int | None, info: ValidationInfo) -> int | None:
        epochs = info.data.get("trial_epochs")
        if rounds is not None and epochs is not None and rounds > (most := _most_rounds(epochs)):
            raise mistake(
                str(rounds), f"at most {most}, so that the first round has an epoch of `trial_epochs` {epochs}"
            )
        return rounds

    @property
    def round_epochs(self) -> list[int]:
        """Epochs of the trials of each round."""
        rounds = self.rounds or min(DEFAULT_ROUNDS, _most_rounds(self.trial_epochs))
        return [self.trial_epochs // 2 ** (rounds - 1 - number) for number in range(rounds)]

    @property
    def structures(self) -> list[Structure]:
        """What is trained: every network that is smaller than dense."""
        pruned = [Structure(f"prune-{_percent(ratio)}", "prune", ratio) for ratio in sorted(self.prune_ratios)]
        students = [
            Structure(f"student-{_percent(width)}", "distil", width)
            for width in sorted(self.student_widths, reverse=True)
        ]
        return [*pruned, *students]


class Structure(NamedTuple):
    """A way to a smaller network: `prune` with a ratio, or `distil` with a width."""

    name: str
    step: Literal["prune", "distil"]
    amount: float

    def variant(self, config: CompressConfig, epochs: int | None) -> VariantConfig:
        """The variant that makes it from dense in `epochs` epochs, or in those of the recipe."""
        settings: dict[str, Any] = {"epochs": epochs, "learning_rate": config.learning_rate}
        settings |= (
            {"ratio": self.amount, "teacher_weight": config.teacher_weight}
            if self.step == "prune"
            else {"width": self.amount}
        )
        return VariantConfig.model_validate({"from": DENSE, self.step: settings})

    def trial(self, epochs: int) -> str:
        """Name of its trial of so many epochs."""
        return f"{TRIAL_PREFIX}{self.name}-e{epochs}"


def quantized(name: str, quantization: str) -> str:
    """Name of the quantized variant of the one called `name`; the quantization alone for dense."""
    return quantization if name == DENSE else f"{name}-{quantization}"


def trial_variants(config: CompressConfig) -> dict[str, VariantConfig]:
    """The variants that rounds of the search train and measure, by name."""
    trained = {
        structure.trial(epochs): structure.variant(config, epochs)
        for structure in config.structures
        for epochs in config.round_epochs
    }
    return trained | _quantized(config, trained)


def final_variants(config: CompressConfig) -> dict[str, VariantConfig]:
    """The variants that the search may choose, by name: every structure and dense, in float and quantized."""
    epochs = {"prune": config.epochs, "distil": config.student_epochs}
    trained = {structure.name: structure.variant(config, epochs[structure.step]) for structure in config.structures}
    return trained | _quantized(config, [DENSE, *trained])


def _quantized(config: CompressConfig, parents: Iterable[str]) -> dict[str, VariantConfig]:
    return {
        quantized(parent, quantization): VariantConfig.model_validate(
            {"from": parent, "quantize": QUANTIZATIONS[quantization]}
        )
        for parent in parents
        for quantization in config.quantizations
    }


class Trial(NamedTuple):
    """One file that a round measures.

    Attributes:
        variant: the variant that it is.
        structure: name of its structure; `dense` where only the dense model is quantized.
        final: the variant that is trained in full if this one is chosen.
    """

    variant: str
    structure: str
    final: str


def round_trials(config: CompressConfig, structures: Sequence[str], epochs: int) -> list[Trial]:
    """What a round measures: dense in its quantized forms, and each structure in float and in these.

    Args:
        config: the search.
        structures: names of those that take part.
        epochs: for which they were trained.
    """
    trials = [Trial(quantized(DENSE, quantization), DENSE, quantization) for quantization in config.quantizations]
    for structure in config.structures:
        if structure.name in structures:
            parent = structure.trial(epochs)
            trials.append(Trial(parent, structure.name, structure.name))
            trials += [
                Trial(quantized(parent, quantization), structure.name, quantized(structure.name, quantization))
                for quantization in config.quantizations
            ]
    return trials


def trials_of_round(
    config: CompressConfig, round_epochs: Sequence[int], number: int, before: Mapping[str, Any] | None
) -> list[Trial]:
    """What a round measures, by what the one before it has found.

    Args:
        config: the search.
        round_epochs: epochs of a trial in each round, by the plan of the search.
        number: the round, from 0.
        before: content of the file of the round before; None for the first.
    """
    all_structures = [structure.name for structure in config.structures]
    return round_trials(config, all_structures if before is None else before["survivors"], round_epochs[number])


def _most_rounds(trial_epochs: int) -> int:
    """As many as leave an epoch for the first of them."""
    return trial_epochs.bit_length()


def _percent(share: float) -> str:
    return f"{share * 100:.10g}".replace(".", "-")
