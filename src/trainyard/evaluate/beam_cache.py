"""Keys and values of a beam search, of which those of a prompt, which beams share, are never moved."""

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer


class BeamLayer(DynamicLayer):
    """Keys and values of a layer for the beams of several sources, each (sources x beams, heads, time, head_width).

    transformers' own grows by a copy of all, and moves all when beams are chosen. This one has room for the whole
    search, and moves what comes after the prompt, which the beams of a source share.

    Args:
        beams: of each source.
        room: positions after the prompt.
        prompt: a layer of transformers' with the keys and values of a prompt, a row a source; None without one.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, beams: int, room: int, prompt: Any = None) -> None:
        super().__init__()
        self._room = room
        self._shared = 0
        if prompt is not None:
            self._shared = prompt.get_seq_length()
            self.update(*(each.repeat_interleave(beams, dim=0) for each in (prompt.keys, prompt.values)))

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Put the keys and values of new positions, (sources x beams, heads, new, head_width), behind those there."""
        start, new = self.get_seq_length(), (key_states, value_states)
        if not self.is_initialized:
            self.lazy_initialization(*new)
            rows, heads, _, width = key_states.shape
            self._buffers = [each.new_empty(rows, heads, self._shared + self._room, width) for each in new]
        end = start + key_states.shape[-2]
        for buffer, states in zip(self._buffers, new, strict=True):
            buffer[:, :, start:end] = states
        self._show(end)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Let row i go on from row `beam_idx[i]`, one of the same source."""
        for states in (self.keys, self.values):
            own = states[:, :, self._shared :]
            own.copy_(own.index_select(0, beam_idx))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows alone."""
        length = self.get_seq_length()
        self._buffers = [buffer.index_select(0, indices) for buffer in self._buffers]
        self._show(length)

    def _show(self, length: int) -> None:
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)
