"""What the training loop asks of a parallel setting: one file an engine, each with a class `Engine`."""

import importlib
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainyard.config.catalogue import ParallelSetting, Precision
from trainyard.config.train import Train
from trainyard.core.errors import InputError
from trainyard.data.labels import IGNORE_INDEX
from trainyard.parallel import engine_module, process_group

Batch = Mapping[str, Tensor]

_SQUARED_AT_ONCE = 2**17  # elements


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is told of a training.

    Attributes:
        precision: fp32; bf16 and fp16 compute in it and keep fp32 master weights.
        train: the settings of the training, whole.
        parallel: the entry of config/parallel.yaml, with the engine's own options.
        micro_batch: sequences of a process at once.
        accumulation: micro-batches a process takes a step.
        family: of the model, for engines that take it apart.
        device: where the processes compute.
        scratch: an empty folder for what an engine swaps to a disk; None where there is none.
    """

    precision: Precision
    train: Train
    parallel: ParallelSetting
    micro_batch: int
    accumulation: int
    family: str
    device: Literal["cpu", "cuda"]
    scratch: Path | None = None


@dataclass(frozen=True)
class Step:
    """What one optimizer step did.

    Attributes:
        loss: mean cross-entropy in nats over the predicted tokens of all data ranks and micro-batches.
        gradient_norm: the 2-norm over all parameters, before clipping.
        tokens: predicted tokens of all data ranks and micro-batches.
        skipped: whether the gradient overflowed in fp16, so that no weight was changed.
        loss_scale: in fp16, the factor that the loss was given so that small gradients don't vanish.
        phase: where the engine has phases that differ in what lies where (Gemini's "warm-up" and "placed").
    """

    loss: float
    gradient_norm: float
    tokens: int
    skipped: bool = False
    loss_scale: float | None = None
    phase: str | None = None


class Engine(ABC):
    """A model, its optimizer, and how both are spread over processes.

    Every rank makes one and calls the same methods in the same order. The gradient
    is that of the mean over all predicted tokens of the global batch, so that ranks
    and micro-batches may hold unequal numbers of them.
    """

    @classmethod
    def start(cls, device: Literal["cpu", "cuda"]) -> None:
        """Join the other processes; before any model is made."""
        process_group.start(device)

    def __init__(self, objective: nn.Module, settings: EngineSettings) -> None:
        """Take `objective`, which maps a batch to the sum of its cross-entropies, or by row, and holds `.model`."""
        self.settings = settings
        self.device = process_group.device(settings.device)
        self.objective = objective
        assert isinstance(objective.model, nn.Module)
        self.model = objective.model
        if settings.train.compile:
            objective.compile()

    @property
    def data_ranks(self) -> int:
        """How many shares a global batch is cut into: processes of one copy of the model take the same share."""
        return process_group.world_size() // (self.settings.parallel.tensor * self.settings.parallel.pipeline)

    @property
    def data_rank(self) -> int:
        """Which of these shares this process takes; the processes of one copy are neighbours."""
        return process_group.rank() // (self.settings.parallel.tensor * self.settings.parallel.pipeline)

    @abstractmethod
    def train_step(self, micro_batches: Sequence[Batch], learning_rate: float) -> Step:
        """Take one optimizer step on this data rank's `micro_batches`."""

    @abstractmethod
    def files(self) -> dict[str, Any] | None:
        """What this rank saves of weights and optimizer, by the names of files; its tensors are those in use.

        What ranks hold alike one of them saves. None: a framework writes files of its own, in `save`.
        """

    def save(self, folder: Path) -> None:
        """Write what this rank saves into `folder`, which exists; all ranks call it."""
        files = self.files()
        assert files is not None
        for name, content in files.items():
            torch.save(content, folder / name)

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read what was saved at the same number of processes, bitwise. Loads tensors, never code."""

    @abstractmethod
    def full_state(self) -> dict[str, Tensor] | None:
        """The whole model in fp32 on the CPU under its own names, on rank 0; None elsewhere. All ranks call it."""

    def row_losses(self, batch: Batch) -> Tensor:
        """The sum of the cross-entropies of each row of this data rank's `batch`, without dropout or gradient.

        Sharded engines gather weights for it: all ranks call it equally often.

        Returns:
            (rows) in fp64, the same on every process of a copy of the model.
        """
        self.objective.eval()
        with torch.no_grad(), self._autocast():
            losses = self.objective(**self._to_device(batch), by_row=True)
        self.objective.train()
        return losses

    def sum_over_data_ranks(self, values: Sequence[float]) -> list[float]:
        """Each value's sum over data ranks: the last process of each copy of the model brings its own."""
        copy = process_group.world_size() // self.data_ranks
        counts = process_group.rank() % copy == copy - 1
        return process_group.sum_over_ranks(values if counts else [0.0] * len(values))

    def close(self) -> None:
        """Leave the other processes."""
        process_group.stop()

    def _to_device(self, batch: Batch) -> dict[str, Tensor]:
        if self.device.type == "cpu":
            return dict(batch)
        # from pinned memory, or the host waits for the copy
        return {name: tensor.pin_memory().to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def _autocast(self) -> AbstractContextManager[object]:
        """The context in which the objective computes in the setting's precision."""
        dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
        if self.settings.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=dtypes[self.settings.precision])

    @property
    def _saver(self) -> int:
        """The rank that saves this one's state: another where all have the same."""
        return process_group.rank()

    @property
    def _state_file(self) -> str:
        return f"rank-{self._saver:05d}.pt"

    def _state_files(self, state: Callable[[], Any]) -> dict[str, Any]:
        """The one file of an engine whose ranks save one, if this rank does."""
        return {self._state_file: state()} if process_group.rank() == self._saver else {}


def count_predicted(micro_batches: Sequence[Batch]) -> int:
    """How many tokens of these batches are predicted."""
    return sum(int((batch["labels"] != IGNORE_INDEX).sum()) for batch in micro_batches)


def count_predicted_by_row(batch: Batch) -> Tensor:
    """How many tokens of each row are predicted: (rows)."""
    return (batch["labels"] != IGNORE_INDEX).sum(1)


def square_sum(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of the squares of all elements of some tensors of one device, a scalar in fp64 there.

    A CPU sums in fp64 throughout; a GPU sums each tensor in fp32, which takes few kernels, and the tensors in fp64.
    """
    if not tensors:
        return torch.zeros((), dtype=torch.float64)
    if tensors[0].device.type == "cpu":
        # by pieces that stay in the cache, since the norm in fp64 copies what it is given to fp64
        pieces = [piece for tensor in tensors for piece in tensor.flatten().split(_SQUARED_AT_ONCE)]
        norms = [torch.linalg.vector_norm(piece, dtype=torch.float64) for piece in pieces]
    else:
        norms = torch._foreach_norm(list(tensors), dtype=torch.float32)  # pyright: ignore[reportPrivateImportUsage]
    return torch.stack(list(norms)).double().square().sum()


def read_together(*scalars: Tensor) -> list[float]:
    """Scalars, in fp64. A step calls this once: the host waits here for all that it has queued on a device."""
    device = scalars[-1].device  # what is offloaded has its norm on the host
    return torch.stack([scalar.double().reshape(()).to(device) for scalar in scalars]).tolist()


def read_state(path: Path) -> Any:
    """What `torch.save` wrote into a file: tensors on the CPU, which are read from it when they are copied elsewhere.

    They lie in the file's mapping: nothing that outlives a loading may keep one.

    Raises:
        UnpicklingError: it holds something other than tensors and plain values.
    """
    # what `torch.save` has not written can't be mapped, and is refused for what it holds
    return torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Give an optimizer the state of a checkpoint, each tensor in memory of its own, where its parameter lies.

    Args:
        optimizer: over the parameters of which this process may hold parts (DTensor).
        saved: its `state_dict`, of which each tensor is this process's part.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {name: _place(tensor, parameters[number]) for name, tensor in entries.items()}
        for number, entries in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": state})


def _place(saved: Tensor, parameter: Tensor) -> Tensor:
    if saved.dim() == 0:  # the count of steps, which the optimizer puts where it wants it
        return saved.clone()
    if not isinstance(parameter, DTensor):
        return saved.to(parameter.device, copy=True)  # of whatever shape: Adafactor's are sums over rows and columns
    result = torch.empty_like(parameter)
    local_part(result).copy_(saved)
    return result


def local_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def copy_to_fp32(tensor: Tensor) -> Tensor:
    """A copy on the CPU, in fp32 where it holds real numbers."""
    return tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)


def load_engine(name: str) -> type[Engine]:
    """The class `Engine` of the engine's module.

    Raises:
        InputError: there is no such engine.
    """
    try:
        module = importlib.import_module(engine_module(name))
    except ModuleNotFoundError as error:
        if error.name != engine_module(name):
            raise
        module = None
    engine = getattr(module, "Engine", None)
    if not (isinstance(engine, type) and issubclass(engine, Engine)) or engine is Engine:
        raise InputError(f"config/parallel.yaml: there is no engine {name!r} in src/trainyard/parallel")
    return engine
