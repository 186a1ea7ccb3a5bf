"""The masters and AdamW's state of ZeRO-3, one sub-group after the other, wherever they lie.

DeepSpeed's own functions read a whole sub-group from its files for each parameter, and its checkpoints of
swapped state leave out what is too small to be swapped and the number of steps.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainyard.parallel.engine import copy_to_fp32, read_state


class Shards:
    """This rank's shards under DeepSpeed's optimizer of level 3. All ranks call its methods alike."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def swapped(self) -> int:
        """How many elements of this rank's masters lie in files."""
        numbers = range(len(self._optimizer.fp32_partitioned_groups_flat))
        sizes = self._optimizer.fp16_partitioned_groups_flat_numel
        return sum(int(sizes[number]) for number in numbers if self._optimizer._swappable_optimizer_subgroup(number))

    def masters(self, leads: bool) -> dict[nn.Parameter, Tensor | None]:
        """Each trained parameter, whole, in fp32 on the CPU where `leads`; None elsewhere."""
        results = {}
        for number, master, _ in self._groups(write=False):
            for parameter, part in self._parts(number, master):
                whole = self._optimizer._fp32_state_allgather(parameter, part.to(parameter.device))
                results[parameter] = copy_to_fp32(whole) if leads else None
        return results

    def set_masters(self, wholes: Mapping[nn.Parameter, Tensor]) -> None:
        """Start the masters from `wholes`; what is computed with stays as it is."""
        rank = torch.distributed.get_rank(self._optimizer.dp_process_group)
        for number, master, _ in self._groups(write=True):
            for parameter, part in self._parts(number, master):
                # the last part is padded
                mine = wholes[parameter].flatten()[rank * part.numel() : (rank + 1) * part.numel()]
                part[: mine.numel()].copy_(mine)

    def save(self, folder: Path) -> None:
        """Write a file a sub-group into `folder`."""
        for number, master, state in self._groups(write=False):
            torch.save({"master": master.detach(), "state": dict(state)}, self._path(folder, number))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote, and give the model its weights."""
        self._optimizer.checkpoint_event_prologue()
        for number, master, state in self._groups(write=True):
            saved = read_state(self._path(folder, number))
            master.data.copy_(saved["master"])
            for name, tensor in saved["state"].items():
                if name in state:
                    state[name].copy_(tensor)
                else:
                    state[name] = tensor.to(master.device, copy=True)
            self._optimizer._reassign_or_swap_out_partitioned_parameters(number)
        self._optimizer.checkpoint_event_epilogue()

    def _groups(self, write: bool) -> Iterator[tuple[int, Tensor, dict[str, Tensor]]]:
        """Number, masters and AdamW's state of each sub-group, in memory until the next; `write` keeps changes."""
        for number, master in enumerate(self._optimizer.fp32_partitioned_groups_flat):
            swapped = self._optimizer._swappable_optimizer_subgroup(number)
            if swapped:
                self._optimizer._optimizer_states_and_gradient_swap_in(number)
            yield number, master, self._optimizer.optimizer.state[master]
            if swapped and write:
                self._optimizer._optimizer_states_and_gradient_swap_out(number)
            elif swapped:
                self._optimizer._release_swap_buffers(number)

    def _parts(self, number: int, master: Tensor) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """The parameters of a sub-group, and the part of its masters that is of each."""
        for parameter in self._optimizer.fp16_groups[number]:
            _, start, length = self._optimizer.grad_position[self._optimizer.get_param_id(parameter)]
            yield parameter, master.detach().narrow(0, start, length)

    def _path(self, folder: Path, number: int) -> Path:
        return folder / f"rank-{torch.distributed.get_rank():05d}-{number}.pt"
