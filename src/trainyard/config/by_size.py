"""A setting of training that follows the size of the model, in place of a number."""

from typing import Annotated

from pydantic import Field

from trainyard.config.values import Entry

BY_SIZE = ("steps", "tokens", "batch", "batch_tokens", "learning_rate", "warmup_steps", "weight_decay")
"""Settings of a grid that may follow it."""
OF_KAPLAN = ("steps", "tokens", "learning_rate")
"""Those that Kaplan et al. (2020) give a formula for."""
KAPLAN = "kaplan"
"""In place of a number: what his formula gives for the size."""
WHOLE = frozenset(BY_SIZE) - {"learning_rate", "weight_decay"}
"""Those that are whole numbers."""


class PowerOfSize(Entry):
    """scale x N ^ exponent, N the model's parameters: `tokens: {scale: 20}` is 20 tokens a parameter.

    With exponent -1 and scale C / 6, `tokens` gives each size the same compute of C FLOP.
    """

    scale: Annotated[float, Field(gt=0, le=1e30)] = Field(description="the value of a model of one parameter")
    exponent: Annotated[float, Field(ge=-4, le=4)] = Field(1.0, description="1: in proportion to the parameters")
