"""The settings of a training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainyard.config.catalogue import Entry, NonNegativeInt, PositiveInt
from trainyard.errors import InputError

Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]


class Train(Entry):
    """The settings of a training.

    The length is one of `steps`, `tokens` and `epochs`; the batch of one optimizer
    step is one of `batch` (sequences) and `batch_tokens`, over all processes.
    """

    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    epochs: Rate | None = None
    batch: PositiveInt | None = None
    batch_tokens: PositiveInt | None = None
    micro_batch: PositiveInt | None = Field(
        None, description="sequences a process takes at once; its whole share unless told"
    )
    sequence_length: PositiveInt = Field(1024, description="tokens a sequence (language modelling)")
    source_length: PositiveInt = Field(512, description="longest source, in tokens (summarisation)")
    target_length: PositiveInt = Field(90, description="longest target, in tokens (summarisation)")
    initial: Literal["scratch", "pretrained"] = "scratch"
    learning_rate: Rate
    warmup_steps: NonNegativeInt | None = None
    warmup_ratio: Fraction | None = None
    warmup_start: Fraction = Field(0.0, description="the rate of the first step, as a part of learning_rate")
    decay: Literal["linear", "cosine", "constant"] = "cosine"
    final_fraction: Fraction = Field(0.0, description="the rate at the end, as a part of learning_rate")
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    epsilon: Rate = 1e-8
    clip: Rate | None = Field(1.0, description="largest norm of the gradient; null does not clip")
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = Field(None, description="the model's own unless told")
    activation_checkpointing: bool = False
    compile: bool = False
    validate_every: PositiveInt = 250
    validation_tokens: PositiveInt = Field(163_840, description="predicted tokens a validation, at most")
    checkpoint_every: PositiveInt = 250
    keep_steps: list[PositiveInt] = Field(default_factory=list, description="steps whose model is kept")

    @model_validator(mode="after")
    def _one_of_each(self) -> "Train":
        for names in (("steps", "tokens", "epochs"), ("batch", "batch_tokens")):
            given = [name for name in names if getattr(self, name) is not None]
            if len(given) != 1:
                raise ValueError(f"give exactly one of {', '.join(names)} (given: {', '.join(given) or 'none'})")
        if self.warmup_steps is not None and self.warmup_ratio is not None:
            raise ValueError("give warmup_steps or warmup_ratio, not both")
        return self


def rows_a_step(train: Train, place: str = "train") -> int:
    """Sequences in one optimizer step, over all processes and micro-batches.

    Raises:
        InputError: `batch_tokens` isn't a whole number of sequences; with `place`.
    """
    if train.batch is not None:
        return train.batch
    assert train.batch_tokens is not None
    rows, rest = divmod(train.batch_tokens, train.sequence_length)
    if rest or not rows:
        raise InputError(
            f"{place}.batch_tokens: {train.batch_tokens} isn't a multiple of sequence_length {train.sequence_length}"
        )
    return rows
