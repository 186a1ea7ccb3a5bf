"""ColossalAI's HybridParallel plugin: tensor parallel, pipelines and ZeRO in one, on transformers' own models."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from trainyard.core.errors import InputError
from trainyard.optim import optimizers
from trainyard.parallel import process_group
from trainyard.parallel.colossalai.compat import (
    HybridParallelPlugin,
    OneForwardOneBackwardSchedule,
    gather_distributed_param,
    hybrid_parallel_plugin,
    is_customized_distributed_tensor,
    is_distributed_tensor,
    to_unpadded_tensor,
)
from trainyard.parallel.colossalai.plugin import (
    Boosted,
    LossScale,
    gather_master,
    group_names,
    loss_scale_arguments,
    restore_plain_head,
    sum_row_losses,
    use_eager_attention,
)
from trainyard.parallel.engine import Batch, EngineSettings, copy_to_fp32


class Hybrid(Boosted):
    """Shardformer's form of the model, over a mesh of processes (data, pipeline, tensor), the last one innermost.

    It takes transformers' classes apart, so it is given the model without our objective, with a plain head and
    with attention in the eager form: with `sdpa`, in a pipeline GPT-2 would see the tokens to come (ColossalAI 0.5.0).
    """

    def __init__(self, objective: nn.Module, settings: EngineSettings, level: int) -> None:
        model = restore_plain_head(objective.model)
        use_eager_attention(model)
        self.level, self.rows = level, _rows(settings)
        self.names = list(group_names(model).values())
        count_fused_parts()
        self.plugin = HybridParallelPlugin(
            tp_size=settings.parallel.tensor,
            pp_size=settings.parallel.pipeline,
            zero_stage=level,
            precision=settings.precision,
            microbatch_size=self.rows,
            max_norm=math.inf
            if settings.train.max_grad_norm is None
            else settings.train.max_grad_norm,  # at 0 it would tell no norm
            parallel_output=False,
            make_vocab_size_divisible_by=1,
            enable_metadata_cache=False,  # the shapes of a step's batches are no other step's
            overlap_communication=settings.device == "cuda",
            **loss_scale_arguments(settings),  # pyright: ignore[reportArgumentType]
        )
        if level and settings.precision == "fp32":
            self.plugin.precision = "float32"  # by the name "fp32" it refuses ZeRO, which its optimizer is able to do
        super().__init__(model, settings, self.plugin, optimizers.build_optimizer(model, settings.train))
        self.loss_scale = LossScale(vars(self.optimizer).get("mixed_precision_mixin" if level else "mixed_precision"))
        head: Any = model.get_output_embeddings()
        if settings.parallel.tensor > 1:
            head.gather_output = True  # GPT-2's leaves each process its part of the vocabulary whatever it is told

    @override
    def accumulate(self, batches: Sequence[Batch], factor: float) -> Tensor:
        if self.settings.parallel.pipeline == 1:
            return super().accumulate(batches, factor)
        labels = [rows for batch in batches for rows in batch["labels"].split(self.rows)]
        losses = []

        def criterion(outputs: Any, _inputs: Any) -> Tensor:
            label_smoothing = self.settings.train.label_smoothing
            loss = sum_row_losses(outputs.logits, labels[len(losses)], label_smoothing).sum()
            losses.append(loss.detach())
            return loss * factor * len(labels)  # the schedule divides by their number

        # GPT-2's form in a pipeline wants labels, though its own loss is left alone
        inputs = _join([_inputs(batch) | {"labels": batch["labels"]} for batch in batches])
        self.booster.execute_pipeline(iter([inputs]), self.boosted, criterion, self.optimizer, return_loss=False)
        return torch.stack(losses) if losses else torch.zeros(1)  # the last stage alone has them

    @override
    def step(self, learning_rate: float) -> tuple[float, bool]:
        scale = self.loss_scale.value or 1.0
        self._set_rate(learning_rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        skipped = self.loss_scale.update()
        return math.inf if skipped else float(self.optimizer.get_grad_norm()) / scale, skipped

    @override
    def scale(self) -> float | None:
        return self.loss_scale.value

    @override
    def row_losses(self, batch: Batch) -> Tensor:
        if self.settings.parallel.pipeline == 1:
            return super().row_losses(batch)
        losses = torch.zeros(len(batch["labels"]), dtype=torch.float64, device=batch["labels"].device)

        def criterion(outputs: Any, _inputs: Any) -> Tensor:
            return losses.copy_(sum_row_losses(outputs.logits, batch["labels"])).sum()

        inputs = _inputs(batch) | {"labels": batch["labels"]}
        # a new schedule each time, since it holds on to the first number of rows that it sees
        assert self.plugin.stage_manager is not None
        schedule = OneForwardOneBackwardSchedule(self.plugin.stage_manager, 1, enable_metadata_cache=False)
        self.boosted.eval()
        with torch.no_grad():
            schedule.forward_backward_step(self.boosted, iter([inputs]), criterion)
        self.boosted.train()
        dist.all_reduce(losses, group=self.plugin.pp_group)  # the last stage alone has made them
        return losses

    @override
    def local_state(self) -> dict[str, Any]:
        return {
            "model": self._local_tensors(),
            "masters": [master.data for master in self._masters()],
            "optimizer": self.optimizer.optim.state_dict(),
            "scale": self.loss_scale.state_dict(),
        }

    @override
    def load_local_state(self, state: Mapping[str, Any]) -> None:
        for tensor, saved in zip(self._local_tensors(), state["model"], strict=True):
            tensor.copy_(saved)
        for master, saved in zip(self._masters(), state["masters"], strict=True):
            master.data.copy_(saved)
        self.optimizer.optim.load_state_dict(state["optimizer"])
        self.loss_scale.load_state_dict(state["scale"])

    @override
    def full_state(self) -> dict[str, Tensor] | None:
        mine = {name: self._master(parameter) for name, parameter in self.boosted.unwrap().named_parameters()}
        stages: list[Any] = [None] * self.settings.parallel.pipeline
        dist.all_gather_object(stages, mine, group=self.plugin.pp_group)
        if process_group.rank() != 0:
            return None
        state = {name: whole for stage in stages for name, whole in stage.items()}
        return {name: next(state[other] for other in tied if other in state) for tied in self.names for name in tied}

    def _local_tensors(self) -> list[Tensor]:
        """This process's parts of the model: the tensors alone, without what ColossalAI ties to them."""
        model = self.boosted.unwrap()
        return [tensor.data for tensor in (*model.parameters(), *model.buffers())]

    @override
    def _call(self, batch: Batch, by_row: bool = False) -> Tensor:
        logits = self.boosted(**_inputs(batch)).logits
        if by_row:
            return sum_row_losses(logits, batch["labels"])
        return sum_row_losses(logits, batch["labels"], self.settings.train.label_smoothing).sum()

    @override
    def _sync_context(self, last: bool) -> AbstractContextManager[None]:
        if last or self.level == 2:
            return nullcontext()
        return self.booster.no_sync(self.boosted, self.optimizer)

    @override
    def _master(self, parameter: nn.Parameter) -> Tensor:
        master = self.optimizer.get_working_to_master_map()
        mine = parameter if master is None else master.get(id(parameter), parameter)
        if self.level and mine is not parameter:
            mine = gather_master(mine, parameter, self.plugin.dp_group)
        working, parameter.data = parameter.data, mine.data
        try:
            return copy_to_fp32(to_unpadded_tensor(gather_distributed_param(parameter)))
        finally:
            parameter.data = working


def count_fused_parts() -> None:
    """Let the norm of a gradient count each process's part of a fused projection whole.

    ColossalAI 0.5.0 takes GPT-2's fused queries, keys and values for a matrix that all processes of a copy hold
    alike, and divides the square of its part's norm by their number: it would clip too little.
    """
    hybrid_parallel_plugin.is_distributed_tensor = _is_part


def _is_part(tensor: Tensor) -> bool:
    return is_distributed_tensor(tensor) or is_customized_distributed_tensor(tensor)


def _inputs(batch: Batch) -> dict[str, Tensor]:
    """What the model reads of a batch; shardformer's models want a mask."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    return {"attention_mask": torch.ones_like(inputs["input_ids"])} | inputs


def _join(batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Batches one after another, padded to the longest with zeros, which the mask or the labels' end leaves out."""
    joined = {}
    for name in batches[0]:
        longest = max(batch[name].shape[1] for batch in batches)
        joined[name] = torch.cat([F.pad(batch[name], (0, longest - batch[name].shape[1])) for batch in batches])
    return joined


def _rows(settings: EngineSettings) -> int:
    """How many rows go through the pipeline at once: a micro-batch, or less where stages would lie idle for ever.

    Raises:
        InputError: a step has fewer rows than the pipeline stages.
    """
    for rows in range(settings.micro_batch, 0, -1):
        pieces = settings.accumulation * settings.micro_batch // rows
        if settings.micro_batch % rows == 0 and pieces >= settings.parallel.pipeline:
            return rows
    raise InputError(
        f"a step has {settings.accumulation * settings.micro_batch} rows per process, but a pipeline of "
        f"{settings.parallel.pipeline} stages wants as many; raise train.batch_tokens in the study, or take a setting "
        "with a shorter pipeline"
    )
