"""How much memory a process will need, by arithmetic on the model's shape: no torch, no weights.

docs/explanation/memory.md derives each term, and compares prediction with measurement.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from trainyard.config.catalogue import Model, ParallelSetting, Precision
from trainyard.config.lora import Lora
from trainyard.config.train import Train, joined_length, rows_per_step
from trainyard.estimate.activations import BatchShape, activations
from trainyard.estimate.blocks import Arithmetic
from trainyard.estimate.engine_memory import (
    EngineMemory,
    Moment,
    Workload,
    colossalai,
    ddp,
    deepspeed,
    fsdp,
    single,
    tensor,
    zero1,
)
from trainyard.estimate.families import load_family
from trainyard.estimate.frozen import count_frozen, count_whole
from trainyard.estimate.lora import count_adapters
from trainyard.estimate.parameters import parameters

# measured on CPUs (docs/explanation/memory.md): what libraries keep for themselves from the first real step on, and
# DeepSpeed from its start, in bytes; and glibc's free pieces among the activations, as a part of them
_RUNTIME = 30e6
_RUNTIME_OF_DEEPSPEED = 45e6
_FRAGMENTS = 1 / 3
_TUNED_ON = {("gpt2-52m", setting) for setting in ("single", "fsdp", "zero2", "zero3")}

_ENGINES: dict[str, Callable[[Workload], EngineMemory | None]] = {
    "single": single,
    "ddp": ddp,
    "zero1": zero1,
    "fsdp": fsdp,
    "tensor": tensor,
    "pipeline": single,
    "deepspeed": deepspeed,
    "colossalai": colossalai,
}
# engines on torch's autocast below fp32; the others hold the weights that compute in 16 bits
_AUTOCAST = {"single", "ddp", "zero1", "tensor", "pipeline"}


@dataclass(frozen=True)
class Prediction:
    """What a process needs at its peak, in bytes.

    Attributes:
        parameters: weights, and the copies of them that compute.
        gradients: of them, in whatever buffers they lie.
        optimizer: masters in fp32, and the optimizer's state.
        activations: what the forward pass keeps for the backward pass, and what that holds of its own; on a CPU
            their memory is not given back.
        buffers: the loss's, some in which processes exchange, and what libraries and the allocator keep.
        kind: which memory it is about: the device's that computes, or the host's where that is a CPU.
        host: what is offloaded to the host, where a GPU computes.
        moment: when the peak is.
    """

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    buffers: int
    kind: Literal["host", "device"]
    host: int = 0
    moment: str = ""

    @property
    def total(self) -> int:
        """Of the kind of memory that it is about."""
        return self.parameters + self.gradients + self.optimizer + self.activations + self.buffers

    def to_json(self) -> dict[str, Any]:
        """As a measurement's file holds it."""
        return asdict(self) | {"total": self.total}


def predict(
    model: Model,
    setting: ParallelSetting,
    *,
    processes: int,
    precision: Precision,
    micro_batch: int,
    sequence_length: int,
    target_length: int | None = None,
    activation_checkpointing: bool = False,
    dropout: float | None = None,
    accumulation: int = 1,
    device: Literal["cpu", "cuda"] = "cpu",
    freeze: Sequence[str] = (),
    lora: Lora | None = None,
    window: int | None = None,
    optimizer: str = "adamw",
) -> Prediction | None:
    """What the process that needs most needs at its peak, besides what it has before a model is made.

    None for an engine or a family that nobody has counted.

    Args:
        model: the catalogue's entry.
        setting: the catalogue's entry.
        processes: of the whole run.
        precision: that it trains in.
        micro_batch: sequences that a process takes at once.
        sequence_length: tokens per sequence, or a source.
        target_length: tokens a target of an encoder-decoder; as many as the source by default.
        activation_checkpointing: the input of each block is kept alone.
        dropout: instead of the shape's own.
        accumulation: micro-batches a process takes a step.
        device: that computes.
        freeze: parts that keep their weights.
        lora: adapters, beside which all parts do.
        window: within which a token attends.
        optimizer: of the training.
    """
    family = load_family(model.family)
    if family.saved is None:
        return None
    arithmetic, on_cpu = _arithmetic(setting, precision), device == "cpu"
    pieces = _pieces(micro_batch, accumulation, setting.pipeline)
    batch = BatchShape(micro_batch // pieces, sequence_length, target_length or sequence_length)
    frozen = count_frozen(model, freeze) if lora is None else count_whole(model)
    saved = activations(
        model,
        batch,
        arithmetic,
        dropout=dropout,
        checkpointing=activation_checkpointing,
        on_cpu=on_cpu,
        tensor=setting.tensor,
        pipeline=setting.pipeline,
        eager=setting.options.get("plugin") == "hybrid",
        idle_blocks=frozen.idle_blocks,
        lora=lora,
        window=window,
    )
    load = Workload(
        model,
        arithmetic,
        saved,
        positions=batch.rows * (batch.target if family.is_encoder_decoder else batch.source),
        ranks=max(1, processes // (setting.tensor * setting.pipeline)),
        tensor=setting.tensor,
        pipeline=setting.pipeline,
        options=setting.options,
        on_cpu=on_cpu,
        plain_head=setting.options.get("plugin") in ("gemini", "hybrid"),
        frozen=frozen,
        adapters=count_adapters(model, lora),
        optimizer=optimizer,
    )
    on = estimate_engine(setting.engine, load)
    if on is None:
        return None
    peak = max(_moments(load, on, accumulation > 1 or pieces > 1), key=lambda each: each.total)
    return _round_up(peak, _slack(setting.engine, load), device)


def predict_execution(specification: Mapping[str, Any]) -> Prediction | None:
    """What a process of a run or a measured cell needs, by its specification.

    None for a search for the largest batch, and for an engine that nobody has counted.
    """
    if specification["kind"] == "search":
        return None
    model = Model.from_spec(specification["model"])
    setting = ParallelSetting.from_spec(specification["parallel"])
    train = Train.model_validate(specification["train"])
    ranks, rows = setting.data_ranks(specification["processes"]), rows_per_step(train)
    micro_batch = train.micro_batch or max(1, rows // ranks)
    return predict(
        model,
        setting,
        processes=specification["processes"],
        precision=specification["precision"],
        micro_batch=micro_batch,
        sequence_length=_longest_sequence(model, train, specification.get("task")),
        target_length=train.target_length,
        activation_checkpointing=train.activation_checkpointing,
        dropout=train.dropout,
        accumulation=max(1, rows // (ranks * micro_batch)),
        device=specification["device"],
        freeze=train.freeze,
        lora=train.lora,
        window=train.window,
        optimizer=train.optimizer,
    )


def _longest_sequence(model: Model, train: Train, task: str | None) -> int:
    if load_family(model.family).is_encoder_decoder:
        return train.source_length
    return joined_length(train) if task == "summarisation" else train.sequence_length


def is_tuned_on(cell: Mapping[str, Any]) -> bool:
    """Whether a predicted cell is of a model and setting that the constants were chosen on: its error says little."""
    return cell["predicted_memory"]["kind"] == "host" and (cell["model"], cell["parallel"]) in _TUNED_ON


def compare_prediction(predicted: Prediction | None, measured: int | None) -> dict[str, Any]:
    """What a measurement's file says of a prediction: its figures, and how far off it is.

    Args:
        predicted: None where there is none.
        measured: what a process took, in bytes of the same memory; None where it wasn't measured.

    Returns:
        `predicted_memory` and `prediction_error`, which is predicted over measured, less one.
    """
    return {
        "predicted_memory": predicted and predicted.to_json(),
        "prediction_error": predicted.total / measured - 1 if predicted and measured else None,
    }


def estimate_engine(engine: str, load: Workload) -> EngineMemory | None:
    """What a process of an engine holds; None where nobody has counted it."""
    count = _ENGINES.get(engine)
    return None if count is None else count(load)


def _arithmetic(setting: ParallelSetting, precision: Precision) -> Arithmetic:
    if precision == "fp32":
        return "fp32"
    return "autocast" if setting.engine in _AUTOCAST or setting.options.get("level") == 0 else "half"


def _slack(engine: str, load: Workload) -> float:
    """What libraries and the allocator keep for themselves, where the CPU computes."""
    if not load.on_cpu:
        return 0.0
    runtime = _RUNTIME + (_RUNTIME_OF_DEEPSPEED if engine == "deepspeed" else 0.0)
    return runtime + _FRAGMENTS * load.activations.kept


def _round_up(peak: Moment, slack: float, device: Literal["cpu", "cuda"]) -> Prediction:
    return Prediction(
        parameters=round(peak.parameters),
        gradients=round(peak.gradients),
        optimizer=round(peak.optimizer),
        activations=round(peak.activations),
        buffers=round(peak.buffers + slack),
        kind="host" if device == "cpu" else "device",
        host=round(peak.host),
        moment=peak.name,
    )


def _pieces(micro_batch: int, accumulation: int, pipeline: int) -> int:
    """Into how many a pipeline cuts a micro-batch, so that every process has work (parallel/pytorch/pipeline.py)."""
    divisors = (number for number in range(1, micro_batch + 1) if micro_batch % number == 0)
    return next((number for number in divisors if accumulation * number >= pipeline), micro_batch)


def _moments(load: Workload, on: EngineMemory, accumulates: bool) -> Iterator[Moment]:
    """When memory may be at its peak, in the order of a training."""
    # transformers makes the head's matrix before it ties it to the table of tokens
    yield Moment("building the model", 4 * (parameters(load.model) + load.head))
    saved, head = load.activations.kept, load.size * load.trained_head
    passing = Moment(
        "the loss",
        on.parameters + on.gathered + on.tables,
        on.gradients + (on.between if accumulates else 0.0),
        on.optimizer,
        saved,
        on.buffers,
        on.host,
    )
    yield replace(passing, gradients=passing.gradients + 4 * load.trained_head, buffers=on.buffers + load.logits)
    # models/loss.py scales the head's gradient into a second tensor
    yield replace(passing, name="starting the backward pass", gradients=passing.gradients + 2 * head)
    working = saved + load.activations.working
    yield replace(passing, name="the backward pass", gradients=passing.gradients + head, activations=working)
    # the table of tokens has a second gradient, of the embedding, before both are added
    made = on.gradients + max(on.made, on.between if accumulates else 0.0) + 2 * head
    # glibc's heap, in which activations and gathered blocks lie, never shrinks, and gradients of the blocks fill what
    # these leave; a GPU's allocator uses their memory again for anything
    left, gathered = (working, on.gathered) if load.on_cpu else (0.0, 0.0)
    yield replace(passing, name="ending the backward pass", gradients=made, activations=max(0.0, left - on.made))
    after = replace(passing, parameters=on.parameters + gathered, activations=left)
    yield replace(after, name="exchanging gradients", gradients=on.gradients + on.exchanged)
    yield replace(after, name="the optimizer's step", gradients=on.gradients + on.stepping)
