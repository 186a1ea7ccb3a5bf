"""The training loop: one for every model and every parallel setting.

It knows steps, rows and checkpoints; what a step is on which devices, the engine knows.
"""

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from trainyard.config.train import Train
from trainyard.core.errors import InputError
from trainyard.data.loader import Loader
from trainyard.hardware.memory_usage import DeviceMemory, host_memory
from trainyard.optim.schedule import learning_rate
from trainyard.parallel import process_group
from trainyard.parallel.engine import Batch, Engine, count_predicted_by_row
from trainyard.train.checkpoint import CheckpointWriter
from trainyard.train.early_stopping import count_without_improvement
from trainyard.train.metrics import MetricsFile, Row, finite_or_none
from trainyard.train.row_losses import RowLosses, save_row_losses

Export = Callable[[str, int, float | None], None]

# a loss that is made smaller than it is has small gradients vanish, and DeepSpeed's and ColossalAI's scales end here
_SMALLEST_LOSS_SCALE = 1.0


class DivergedError(Exception):
    """A loss is not finite, or in fp16 no gradient is; the message says which, and where."""


class StoppedError(Exception):
    """The trainer was asked to stop, and has saved a checkpoint first."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}, which is saved")
        self.step = step


class Loop:
    """Steps, validations, exports and checkpoints, from one step to the last.

    Every rank runs one alike; on rank 0 only writes rows and models.

    Attributes:
        steps: the number of the last step of the schedule.
        last: the number of the last step, unless the run stops early.
        stopped_early: the step after which it has, for want of improvement; None while it has not.
        stop: ask it to save a checkpoint after the step it is in, and to end; one rank's wish is enough.
    """

    def __init__(
        self,
        train: Train,
        engine: Engine,
        loader: Loader,
        metrics: MetricsFile | None,
        checkpoints: Path,
        validation: Loader | None = None,
        export: Export | None = None,
        best: Path | None = None,
        validations: Path | None = None,
        until: int | None = None,
    ) -> None:
        """Prepare the loop.

        Args:
            train: the settings.
            engine: takes the steps.
            loader: gives the micro-batches of a step.
            metrics: where rank 0 writes its rows, those of earlier steps in it; None on other ranks.
            checkpoints: the folder of checkpoints.
            validation: the held-out rows, if there are any.
            export: writes a model under a name (`best`, `last`, `step-N`), given step and validation
                loss; a collective. None keeps no models.
            best: where `export` writes the best model, which is a part of a checkpoint.
            validations: the folder where rank 0 keeps each validation's losses by row; None keeps none.
            until: the step after which it ends, though the schedule goes on; what ends so leaves a checkpoint.
        """
        self.train = train
        self.engine = engine
        self.loader = loader
        self.metrics = metrics
        self.checkpoints = CheckpointWriter(checkpoints, engine, best)
        self.validation = validation
        self.export = export
        self.validations = validations
        self.steps = loader.steps
        self.until = until
        self.last = until or self.steps
        self.stop = False
        self.stopped_early: int | None = None
        self._device_memory = DeviceMemory(engine.device)
        earlier = metrics.rows if metrics else []
        last = earlier[-1] if earlier else {"tokens": 0, "elapsed_seconds": 0.0}
        self._tokens: int = last["tokens"]
        self._computed: int = last.get("computed_tokens", 0)
        self._padding: int = last.get("padding_tokens", 0)
        self._started: float = time.perf_counter() - last["elapsed_seconds"]
        self._validated: list[float] = [row["validation_loss"] for row in earlier if "validation_loss" in row]
        self._best: float = min(self._validated, default=math.inf)

    def run(self, done: int = 0) -> None:
        """Train from the step after `done` to the last.

        Raises:
            DivergedError: a loss is not finite, or no gradient under the smallest loss scale, on all ranks alike.
            StoppedError: `stop` was set on some rank.
            InputError: a checkpoint or a model can't be written.
        """
        try:
            for step in range(done + 1, self.last + 1):
                self._run_step(step)
                if self._ends(step):
                    break
        except InputError:
            self.checkpoints.check()  # the one that fills a disk is named, rather than a row that finds it full
            raise
        self.checkpoints.close()

    def _run_step(self, step: int) -> None:
        row = self.step(step)
        loss = self._validate(step) if self._validates(step) else None
        if loss is not None:
            row["validation_loss"] = loss
            if self._has_stalled(loss) and step < self.last:
                self.stopped_early = step
        self._export(step, loss)
        if self.metrics:
            row["elapsed_seconds"] = time.perf_counter() - self._started
            self.metrics.append(row)
        if not self._ends(step):
            self._save(step)
        elif self.until is not None:
            self._save_checkpoint(step, wait=True)

    def step(self, step: int) -> Row:
        """Take one optimizer step; its row of metrics.jsonl."""
        start = time.perf_counter()
        rate = learning_rate(self.train, step, self.steps)
        micro_batches = self.loader.micro_batches(step, self.engine.data_rank, self.engine.data_ranks)
        step_result = self.engine.train_step(micro_batches, rate)
        seconds = time.perf_counter() - start
        if not math.isfinite(step_result.loss):
            raise DivergedError(f"the training loss is {step_result.loss} at step {step} (learning rate {rate:.3g})")
        if step_result.skipped and (step_result.loss_scale or math.inf) <= _SMALLEST_LOSS_SCALE:
            raise DivergedError(
                f"the gradient is not finite in fp16 at step {step} though the loss is scaled by no more than "
                f"{step_result.loss_scale:g} (learning rate {rate:.3g})"
            )
        self._tokens += step_result.tokens
        row = {
            "step": step,
            "tokens": self._tokens,
            "loss": step_result.loss,
            "learning_rate": rate,
            "gradient_norm": finite_or_none(step_result.gradient_norm),
            "step_seconds": seconds,
            "tokens_per_second": step_result.tokens / seconds,
            "elapsed_seconds": time.perf_counter() - self._started,
            "device_memory": self._device_memory.since_last(),
            "host_memory": host_memory(),
            "skipped": step_result.skipped or None,
            "loss_scale": step_result.loss_scale,
            "phase": step_result.phase,
        }
        row |= self._count_padding(step)
        sometimes = ("skipped", "loss_scale", "phase")
        return {name: value for name, value in row.items() if value is not None or name not in sometimes}

    def _count_padding(self, step: int) -> Row:
        """Of pairs, which are padded: the positions computed so far, and how many of them were padding."""
        if self.loader.kind != "pairs" or self.metrics is None:
            return {}
        computed, padding = self.loader.count_positions(step, self.engine.data_ranks)
        self._computed, self._padding = self._computed + computed, self._padding + padding
        return {"computed_tokens": self._computed, "padding_tokens": self._padding}

    @property
    def peak_device_memory(self) -> int:
        """The most that this process's tensors have taken of its GPU at once, in bytes; 0 without one."""
        return self._device_memory.peak()

    def _ends(self, step: int) -> bool:
        return step in (self.last, self.stopped_early)

    def _has_stalled(self, loss: float) -> bool:
        """Whether this validation is one more without an improvement, and one too many; rank 0 tells the others."""
        if self.train.patience is None:
            return False
        self._validated.append(loss)
        unimproved = count_without_improvement(self._validated, self.train.min_improvement)
        return bool(process_group.broadcast(int(unimproved >= self.train.patience)))

    def _validates(self, step: int) -> bool:
        return self.validation is not None and (step % self.train.validate_every == 0 or step == self.last)

    def _validate(self, step: int) -> float:
        assert self.validation is not None
        micro_batch = self.loader.micro_batch(self.engine.data_ranks)
        limit = self.train.validation_tokens
        batches = self.validation.validation_batches(micro_batch, limit, self.engine.data_rank, self.engine.data_ranks)
        found = validate(self.engine, batches, self.validation.count_validation_rows(limit))
        if not math.isfinite(found.mean):
            raise DivergedError(f"the validation loss is {found.mean} after step {step}")
        if self.metrics and self.validations:
            save_row_losses(self.validations, step, found)
        return found.mean

    def _export(self, step: int, loss: float | None) -> None:
        if self.export is None:
            return
        if step in self.train.keep_steps:
            self.export(f"step-{step}", step, loss)
        if loss is not None and process_group.broadcast(int(loss < self._best)):
            self._best = loss
            self.checkpoints.release_best()
            self.export("best", step, loss)
        if self._ends(step):
            self.export("last", step, loss)

    def _save(self, step: int) -> None:
        # one rank's wish is every rank's: the signal reaches them at different moments
        stop = process_group.sum_over_ranks([float(self.stop)])[0] > 0
        self.checkpoints.advance()
        if stop or step % self.train.checkpoint_every == 0:
            self._save_checkpoint(step, wait=stop)
        if stop:
            raise StoppedError(step)

    def _save_checkpoint(self, step: int, wait: bool) -> None:
        if self.metrics:
            self.metrics.sync()
        self.checkpoints.save(step, wait)


def validate(engine: Engine, batches: Iterable[tuple[range, Batch]], count: int) -> RowLosses:
    """The losses of all data ranks' `batches`, each with its rows' numbers among `count` rows.

    A collective: every rank brings equally many batches, if need be some of no row, in which nothing is predicted.
    """
    losses = torch.zeros(count, dtype=torch.float64, device=engine.device)
    tokens = torch.zeros(count, dtype=torch.float64)
    for rows, batch in batches:
        found = engine.row_losses(batch)
        losses[rows.start : rows.stop] = found[: len(rows)]
        tokens[rows.start : rows.stop] = count_predicted_by_row(batch)[: len(rows)]
    # a row is of one data rank alone: to add the zeros of the others rounds nothing
    everyones = engine.sum_over_data_ranks([*losses.tolist(), *tokens.tolist()])
    return RowLosses(everyones[:count], [int(number) for number in everyones[count:]])
