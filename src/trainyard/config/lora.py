"""Adapters of low rank: what a training adds to a model whose own weights stay as they are."""

from typing import Annotated, Literal

from pydantic import Field

from trainyard.config.values import Dimension, Distinct, Entry, Name


class Lora(Entry):
    """Adapters of low rank (Hu et al. 2021), made by peft."""

    rank: Dimension = Field(8, description="of each adapter: columns of its first factor, rows of its second")
    alpha: Annotated[float, Field(gt=0, le=1e6)] = Field(
        16.0, description="an adapter's output is multiplied by alpha / rank"
    )
    targets: Literal["all-linear"] | Annotated[Distinct[Name], Field(min_length=1)] | None = Field(
        None,
        description="the linear layers of the blocks that get one, by their last names, or all-linear; "
        "by default peft's for the family: those that make queries and values",
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of what an adapter reads")
