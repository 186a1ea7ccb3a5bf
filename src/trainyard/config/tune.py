"""What a search over recipes may change: the ranges of a setting, and which settings can be searched at all."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from trainyard.config.values import Entry

Method = Literal["pbt", "grid", "random", "halving"]
COPYING: frozenset[Method] = frozenset({"pbt"})
"""Methods in which a member goes on from another one's state under other settings."""
MUTABLE = (
    "learning_rate",
    "weight_decay",
    "betas",
    "epsilon",
    "max_grad_norm",
    "dropout",
    "label_smoothing",
    "final_fraction",
)
"""Settings that a training may change from one step to the next: no state depends on them."""
_BUDGET = "every member takes the same steps of the same batches, or their budgets and losses would not compare"
_OWN = "a search has its own"
_MACHINE = "it changes time and memory, and no loss"
FIXED = {
    **dict.fromkeys(("steps", "tokens", "epochs"), f"{_OWN}, steps times generations"),
    **dict.fromkeys(("keep_steps", "patience", "min_improvement"), f"{_OWN}: its members end where it says"),
    **dict.fromkeys(("batch", "batch_tokens", "sequence_length", "source_length", "target_length"), _BUDGET),
    **dict.fromkeys(("validation_tokens", "initial"), _BUDGET),
    **dict.fromkeys(
        ("micro_batch", "activation_checkpointing", "compile", "validate_every", "checkpoint_every"), _MACHINE
    ),
}
"""Settings that can't be searched, and why; any other can, by a method that never copies."""
NOT_GIVEN = ("steps", "tokens", "epochs", "keep_steps", "patience", "min_improvement")
"""Settings that can't stand in a search's `train` either."""

Bound = Annotated[float, Field(ge=-1e30, le=1e30)]


class Range(Entry):
    """The values that a setting may have in a search: exactly one of the three."""

    log: tuple[Bound, Bound] | None = Field(None, description="least and largest; drawn evenly by their logarithms")
    linear: tuple[Bound, Bound] | None = Field(None, description="least and largest; drawn evenly")
    choice: list[Any] | None = Field(None, min_length=1, description="the values, in an order that has a meaning")

    @model_validator(mode="after")
    def _check(self) -> "Range":
        given = [name for name in ("log", "linear", "choice") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of log, linear, choice (given: {', '.join(given) or 'none'})")
        if (bounds := self.log or self.linear) and bounds[0] >= bounds[1]:
            raise ValueError(f"{given[0]}: {bounds[0]:g} is not below {bounds[1]:g}; give the least value first")
        if self.log and self.log[0] <= 0:
            raise ValueError(f"log: {self.log[0]:g} has no logarithm; begin above 0, or take linear")
        return self

    @property
    def ends(self) -> list[Any]:
        """The values that have to be allowed: the bounds, or every choice."""
        return list(self.choice if self.choice is not None else self.log or self.linear or ())


def explain_not_searched(name: str, methods: list[Method]) -> str | None:
    """Why a setting of training can't be searched by these methods, or None."""
    if name in FIXED:
        return f"can't be searched: {FIXED[name]}"
    copying = [method for method in methods if method in COPYING]
    if name not in MUTABLE and copying:
        return (
            f"can't change in the middle of a training, and {copying[0]} goes on from another member's state under "
            f"other settings; search it by grid, random or halving, or take {copying[0]} out of this search's methods "
            f"({copying[0]} can search {', '.join(MUTABLE)})"
        )
    return None
