"""The settings of a training."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from trainyard.config.lora import Lora
from trainyard.config.model_parts import PartName
from trainyard.config.protocols import SEPARATOR
from trainyard.config.values import Dimension, Distinct, Entry, NonNegativeInt, PositiveInt, Rows
from trainyard.core.errors import InputError

Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
# far from where a number of 32 bits ends
Rate = Annotated[float, Field(gt=0, le=1e30)]
Decay = Annotated[float, Field(ge=0, le=1e6)]
Epsilon = Annotated[float, Field(ge=1e-30, le=1e6)]


LEFT_OUT_IF_DEFAULT = ("lora", "attention", "decay_ratio", "optimizer")
"""Keys that specifications were written without once: a run with their defaults is the run that it was."""
EXACTLY_ONE = (("steps", "tokens", "epochs"), ("batch", "batch_tokens"))


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError(f"{value} is not a power of two")
    return value


LossScale = Annotated[int, Field(gt=0, le=2**31), AfterValidator(_power_of_two)]


class Attention(Entry):
    """Which positions a position attends to."""

    window: Dimension = Field(
        description="a decoder's position sees itself and the window - 1 before it, an encoder's window / 2 on either "
        "side; cross-attention sees all of the source"
    )


class Train(Entry):
    """The settings of a training.

    The length is one of `steps`, `tokens` and `epochs`; the batch of one optimizer
    step is one of `batch` (sequences) and `batch_tokens`, over all processes.
    """

    steps: PositiveInt | None = Field(None, description="optimizer steps; give exactly one of steps, tokens and epochs")
    tokens: PositiveInt | None = Field(
        None, description="training tokens, rounded down to whole steps (language modelling)"
    )
    epochs: Rate | None = Field(None, description="passes over the training rows, rounded up to whole steps")
    batch: Rows | None = Field(
        None, description="sequences of one optimizer step, over all processes; give this or batch_tokens"
    )
    batch_tokens: PositiveInt | None = Field(None, description="the same in tokens: a multiple of sequence_length")
    micro_batch: Rows | None = Field(None, description="sequences of a process at once; by default its whole share")
    sequence_length: Dimension = Field(1024, description="tokens per sequence (language modelling)")
    source_length: Dimension = Field(512, description="longest source, in tokens (summarisation)")
    target_length: Dimension = Field(90, description="longest target, in tokens (summarisation)")
    order: Literal["random", "sortish", "by-length"] = Field(
        "random",
        description="the order of the rows of an epoch; the others put pairs of like lengths into one step, so that "
        "less is padded: by-length out of the whole epoch, sortish out of 50 steps at a time (summarisation)",
    )
    initial: Literal["scratch", "pretrained"] = Field(
        "scratch", description="weights drawn from the seed, or the pretrained ones of the model's entry"
    )
    learning_rate: Rate = Field(description="the highest rate, after the warm-up")
    warmup_steps: NonNegativeInt | None = Field(None, description="steps of warm-up; by default none")
    warmup_ratio: Fraction | None = Field(
        None, description="the same as a part of all steps, rounded up; give one of the two at most"
    )
    warmup_start: Fraction = Field(0.0, description="the rate of the first step, as a part of learning_rate")
    decay: Literal["linear", "cosine", "sqrt", "constant"] = Field(
        "cosine", description="the shape of the rate after the warm-up"
    )
    decay_ratio: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="the part of all steps, at their end, in which the rate decays, and stays whole before (warm-up, "
        "stable, decay); by default it decays from the warm-up on",
    )
    final_fraction: Fraction = Field(0.0, description="the rate at the end, as a part of learning_rate")
    optimizer: Literal["adamw", "muon", "adafactor"] = Field(
        "adamw",
        description="muon: for the matrices of the blocks, with AdamW for all else; others than adamw under parallel "
        "settings whose processes hold whole matrices",
    )
    weight_decay: Decay = Field(0.1, description="for parameters of two or more dimensions")
    betas: tuple[Beta, Beta] = Field((0.9, 0.95), description="AdamW's")
    epsilon: Epsilon = Field(1e-8, description="AdamW's")
    initial_loss_scale: LossScale = Field(
        2**16, description="in fp16: the factor that the loss is given at first; a power of two"
    )
    max_grad_norm: Rate | None = Field(1.0, description="largest norm of the gradient; null does not clip")
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="in place of all of the model's rates; by default its own"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="the part of the training loss's target that all tokens share; validation losses are without it",
    )
    freeze: Distinct[PartName] = Field(
        default_factory=list,
        description="parts that keep their weights, without gradient or optimizer state: embeddings (with a head that "
        "shares them), encoder, decoder, blocks.0 or blocks.0-5 (of an encoder-decoder encoder.blocks.0-5)",
    )
    lora: Lora | None = Field(
        None, description="train adapters of low rank in the place of the model's own weights, which all stay"
    )
    attention: Attention | None = Field(
        None,
        description="within a window, so that time and memory grow with the length and not its square; by default all",
    )
    activation_checkpointing: bool = Field(
        False, description="keep the input of each block and compute the rest again: less memory, more time"
    )
    tf32: bool = Field(
        False,
        description="on a GPU, products of fp32 keep 10 bits of 23, and take a part of the time (from Ampere on)",
    )
    compile: bool = Field(False, description="train through torch.compile")
    validate_every: PositiveInt = Field(250, description="steps between validations; the last step validates too")
    validation_tokens: PositiveInt = Field(163_840, description="most predicted tokens per validation")
    patience: PositiveInt | None = Field(
        None, description="end after so many validations in a row without an improvement; by default never early"
    )
    min_improvement: Annotated[float, Field(ge=0, le=1e6)] = Field(
        0.0, description="nats by which a validation loss must be lower than the best before it, to be an improvement"
    )
    checkpoint_every: PositiveInt = Field(250, description="steps between checkpoints, to resume a killed run")
    keep_steps: Distinct[PositiveInt] = Field(
        default_factory=list, description="steps whose model is kept, besides best and last"
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_keys(cls, given: Any) -> Any:
        if isinstance(given, dict) and "clip" in given:
            value = "null" if given["clip"] is None else given["clip"]
            raise ValueError(f"clip is called max_grad_norm: write max_grad_norm: {value}")
        return given

    @model_serializer(mode="wrap")
    def _leave_out_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = serialize(self).items()
        defaults = {name: type(self).model_fields[name].default for name in LEFT_OUT_IF_DEFAULT}
        return {name: value for name, value in values if name not in defaults or value != defaults[name]}

    @property
    def window(self) -> int | None:
        """Of attention; None where every position attends to all."""
        return None if self.attention is None else self.attention.window

    @model_validator(mode="after")
    def _check_choices(self) -> "Train":
        for names in EXACTLY_ONE:
            given = [name for name in names if getattr(self, name) is not None]
            if len(given) != 1:
                raise ValueError(f"give exactly one of {', '.join(names)} (given: {', '.join(given) or 'none'})")
        if self.warmup_steps is not None and self.warmup_ratio is not None:
            raise ValueError("give warmup_steps or warmup_ratio, not both")
        if self.decay_ratio is not None and self.decay == "constant":
            raise ValueError("decay_ratio: with decay: constant there is none; choose linear, cosine or sqrt")
        if self.lora is not None and self.freeze:
            raise ValueError("give freeze or lora, not both: beside adapters all of the model's own weights are frozen")
        if self.patience is not None and self.keep_steps:
            raise ValueError("give patience or keep_steps, not both: a run that ends early may not reach a kept step")
        return self


def joined_length(train: Train) -> int:
    """The most tokens of a pair as one text, for a model without an encoder: a byte of its separator is one at most."""
    return train.source_length + len(SEPARATOR.encode()) + train.target_length


def fill_required(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Some of the settings, as a grid, an override or a recipe gives them, with what `Train` can't be without."""
    whole = {"learning_rate": 1.0, **settings}
    for names in EXACTLY_ONE:
        if all(whole.get(name) is None for name in names):
            whole[names[0]] = 1
    return whole


def check_last_step(train: Train, last: int, location: str = "train") -> None:
    """See that what `train` asks for at some step comes before the end; `location` is the file and key of the settings.

    Raises:
        InputError: it doesn't.
    """
    if max(train.keep_steps, default=0) > last:
        raise InputError(f"{location}.keep_steps: {max(train.keep_steps)} lies after the last step, {last}")
    if (train.warmup_steps or 0) > last:
        raise InputError(
            f"{location}.warmup_steps: {train.warmup_steps} is more than the {last} steps of the run; make it smaller"
        )


def rows_per_step(train: Train, location: str = "train") -> int:
    """Sequences in one optimizer step, over all processes and micro-batches.

    Raises:
        InputError: `batch_tokens` isn't a whole number of sequences; with `location`.
    """
    if train.batch is not None:
        return train.batch
    assert train.batch_tokens is not None
    rows, rest = divmod(train.batch_tokens, train.sequence_length)
    if rest or not rows:
        nearest = [rows * train.sequence_length, (rows + 1) * train.sequence_length]
        raise InputError(
            f"{location}.batch_tokens: {train.batch_tokens} is not a multiple of sequence_length, "
            f"{train.sequence_length}; make it {' or '.join(str(each) for each in nearest if each)}"
        )
    return rows
