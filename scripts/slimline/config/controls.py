"""Equal-budget controls: dense trained on for as many steps as each variant was after it.

A variant that was fine-tuned or distilled has seen more training than dense. How much of its accuracy that alone would
have given shows only beside dense with the same further training.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

from slimline.config.recipes import step_recipe
from slimline.config.train import TrainConfig
from slimline.config.tree import CONTROL_PREFIX
from slimline.config.variants import DENSE, FinetuneConfig, VariantConfig


class Budget(NamedTuple):
    """Training after dense: epochs of the whole chain, and the peak learning rate of its last training."""

    epochs: int
    learning_rate: float


class Controls(NamedTuple):
    """The controls of an experiment.

    Attributes:
        added: those that the workflow adds, as variants by name.
        of: the name of the control of each variant that has one, declared or added.
    """

    added: dict[str, VariantConfig]
    of: dict[str, str]

    def declared(self) -> Controls:
        """Without those that the workflow adds."""
        return Controls({}, {variant: control for variant, control in self.of.items() if control not in self.added})

    def restricted_to(self, variants: Container[str]) -> Controls:
        """The controls of these variants alone."""
        of = {variant: control for variant, control in self.of.items() if variant in variants}
        return Controls({name: control for name, control in self.added.items() if name in of.values()}, of)


def find_controls(recipe: TrainConfig, variants: Mapping[str, VariantConfig]) -> Controls:
    """A control for every variant that was trained after dense, one for all of equal budgets.

    A variant that is itself nothing but dense trained on needs none, and serves the others as their control.

    Args:
        recipe: the experiment's.
        variants: the declared variants, which form a tree.
    """
    budgets = {name: budget for name in variants if (budget := _budget(recipe, variants, name)) is not None}
    names = {budgets[name]: name for name, variant in variants.items() if _is_dense_trained_on(variant)}
    added: dict[str, VariantConfig] = {}
    of: dict[str, str] = {}
    for variant, budget in budgets.items():
        if _is_dense_trained_on(variants[variant]):
            continue
        if budget not in names:
            names[budget] = _free_name(budget, added)
            added[names[budget]] = VariantConfig.model_validate(
                {"from": DENSE, "finetune": FinetuneConfig(epochs=budget.epochs, learning_rate=budget.learning_rate)}
            )
        of[variant] = names[budget]
    return Controls(added, of)


def _budget(recipe: TrainConfig, variants: Mapping[str, VariantConfig], name: str) -> Budget | None:
    """What a variant's chain was trained after dense; None where nothing in it was."""
    recipes = []
    while name != DENSE:
        variant = variants[name]
        recipes.append(step_recipe(recipe, variant))
        name = variant.parent
    trained = [step for step in recipes if step is not None and step.epochs > 0]  # the last of the chain comes first
    return Budget(sum(step.epochs for step in trained), trained[0].learning_rate) if trained else None


def _is_dense_trained_on(variant: VariantConfig) -> bool:
    return variant.parent == DENSE and variant.finetune is not None


def _free_name(budget: Budget, taken: Mapping[str, VariantConfig]) -> str:
    """`control-10` for ten epochs; `control-10-2` for the second learning rate over as many, and so on."""
    name = first = f"{CONTROL_PREFIX}{budget.epochs}"
    number = 1
    while name in taken:
        number += 1
        name = f"{first}-{number}"
    return name
