"""Batches of a folder of tokens: a pure function of seed and step, so that resuming needs no state.

Rows are drawn for the whole group of processes and sliced afterwards, so that their
order depends only on the seed. One process with the same `micro_batch` sees the
micro-batches of all ranks, in the order of the ranks. The pairs of a step are sorted by
length before they are cut into micro-batches, so that less is padded.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from trainyard.config.train import Train, rows_per_step
from trainyard.core.errors import InputError
from trainyard.data.labels import IGNORE_INDEX
from trainyard.data.pairs import PairsReader
from trainyard.data.shards import TokenStream, read_index

Batch = dict[str, torch.Tensor]
Ids = npt.NDArray[np.int64]

_ORDER, _TAILS, _BATCHES = 0, 1, 2
SORTISH_STEPS = 50  # rows of so many steps are sorted together


def _batch(train: Train, kind: str) -> int:
    """The rows of one optimizer step; pairs differ in length, so that tokens tell nothing of their number."""
    if kind == "pairs" and train.batch_tokens is not None:
        raise InputError("train.batch_tokens: source/target pairs differ in length; give `batch` (pairs) instead")
    return rows_per_step(train)


def count_steps(train: Train, rows: int, kind: str = "text") -> int:
    """The number of optimizer steps that `train` asks for on `rows` windows or pairs.

    `tokens` are rounded down to whole steps, as llm.c does; `epochs` up, so that every row is seen.

    Raises:
        InputError: the length can't be had from this kind of data.
    """
    if train.steps is not None:
        return train.steps
    batch = _batch(train, kind)
    if train.epochs is not None:
        return max(1, math.ceil(round(train.epochs * rows / batch, 9)))
    assert train.tokens is not None
    if kind == "pairs":
        raise InputError("train.tokens: source/target pairs differ in length; give `steps` or `epochs` instead")
    steps = train.tokens // (batch * train.sequence_length)
    if not steps:
        raise InputError(f"train.tokens: {train.tokens} is less than one step of {batch} x {train.sequence_length}")
    return steps


def _random_bits(seed: int, purpose: int, number: int, count: int) -> npt.NDArray[np.uint64]:
    # Raw output of a bit generator, which NumPy promises never to change; Generator's methods may.
    return np.random.PCG64([seed, purpose, number]).random_raw(count)


class _Rows(ABC):
    """The rows of a folder and how a micro-batch is made of some."""

    count: int

    @abstractmethod
    def batch(self, rows: Sequence[int], tails: npt.NDArray[np.uint64] | None) -> Batch:
        """The micro-batch of these rows; a random number for each row, if given, shortens its labels."""

    @abstractmethod
    def count_predicted(self, row: int) -> int:
        """How many tokens of a row are predicted."""

    @cached_property
    @abstractmethod
    def lengths(self) -> tuple[Ids, ...]:
        """How many positions of each row the model computes, of each of its stacks: shapes `(count,)`."""


def _count_kept_labels(length: int, tail: np.uint64) -> int:
    """How many of a row's `length` labels stay: from a quarter to all."""
    fewest = -(-length // 4)
    return fewest + int(tail) % (length - fewest + 1)


class _Windows(_Rows):
    """Windows of `length` predicted tokens over the concatenated documents."""

    def __init__(self, folder: Path, length: int) -> None:
        self._stream = TokenStream(folder)
        self._length = length
        self.count = (len(self._stream) - 1) // length
        if self.count < 1:
            raise InputError(
                f"{folder}: contains {len(self._stream)} tokens, less than one window of sequence_length {length} and "
                "the token after it; lower train.sequence_length or take more data"
            )

    def count_predicted(self, row: int) -> int:
        return self._length

    @cached_property
    def lengths(self) -> tuple[Ids, ...]:
        return (np.full(self.count, self._length),)

    def batch(self, rows: Sequence[int], tails: npt.NDArray[np.uint64] | None) -> Batch:
        windows = np.stack([self._stream.read(row * self._length, self._length + 1) for row in rows]).astype(np.int64)
        labels = windows[:, 1:].copy()  # (rows, time)
        if tails is not None:
            for row, tail in zip(labels, tails, strict=True):
                row[_count_kept_labels(self._length, tail) :] = IGNORE_INDEX
        return {"input_ids": torch.from_numpy(windows[:, :-1].copy()), "labels": torch.from_numpy(labels)}


class _OfPairs(_Rows):
    """Source/target pairs, cut to their longest lengths and padded to the longest of a micro-batch."""

    def __init__(self, folder: Path, source_length: int, target_length: int) -> None:
        self._reader = PairsReader(folder)
        self._longest = source_length, target_length
        self.count = len(self._reader)
        if self.count < 1:
            raise InputError(f"{folder}: contains no pairs")

    def _pad_rows(self, rows: Sequence[Ids], value: int) -> Ids:
        padded = np.full((len(rows), max(len(row) for row in rows)), value, dtype=np.int64)
        for line, row in zip(padded, rows, strict=True):
            line[: len(row)] = row
        return padded


class _Pairs(_OfPairs):
    """Pairs for a model with an encoder."""

    def __init__(self, folder: Path, source_length: int, target_length: int, start_token: int) -> None:
        super().__init__(folder, source_length, target_length)
        self._pad = self._reader.pad
        self._start = start_token

    def _cut(self, ids: Ids, length: int) -> Ids:
        if len(ids) <= length:
            return ids
        if ids[-1] == self._reader.end:
            return np.append(ids[: length - 1], ids[-1])
        return ids[:length]

    def count_predicted(self, row: int) -> int:
        return min(len(self._reader[row][1]), self._longest[1])

    @cached_property
    def lengths(self) -> tuple[Ids, ...]:
        sources, targets = self._reader.read_lengths()
        return np.minimum(sources, self._longest[0]), np.minimum(targets, self._longest[1])

    def batch(self, rows: Sequence[int], tails: npt.NDArray[np.uint64] | None) -> Batch:
        pairs = [self._reader[row] for row in rows]
        sources = [self._cut(source, self._longest[0]) for source, _ in pairs]
        targets = [self._cut(target, self._longest[1]) for _, target in pairs]
        labels = self._pad_rows(targets, IGNORE_INDEX)  # (rows, target)
        if tails is not None:
            for line, target, tail in zip(labels, targets, tails, strict=True):
                line[_count_kept_labels(len(target), tail) :] = IGNORE_INDEX
        started = [np.append(self._start, target[:-1]) for target in targets]
        return {
            "input_ids": torch.from_numpy(self._pad_rows(sources, self._pad)),
            "attention_mask": torch.from_numpy(self._pad_rows([np.ones_like(source) for source in sources], 0)),
            "decoder_input_ids": torch.from_numpy(self._pad_rows(started, self._pad)),
            "labels": torch.from_numpy(labels),
        }


class _JoinedPairs(_OfPairs):
    """Pairs for a model without an encoder: one text of source, separator and target, of which it predicts the last.

    A text begins and ends as a document does, with the end-of-text token. It is padded on the right, where no
    position before the padding looks.
    """

    def _join(self, row: int) -> tuple[Ids, int]:
        """The tokens of a row, and how many of them are before its target."""
        (before, after), (source_length, target_length) = self._reader.framing, self._longest
        source, target = self._reader[row]
        source = source[before : len(source) - after][:source_length]
        target = target[before : len(target) - max(after, 1)][: target_length - 1]  # a target has an end in any case
        end = [self._reader.end_of_text]
        return np.concatenate([end, source, self._reader.separator, target, end]), 1 + len(source) + len(
            self._reader.separator
        )

    def count_predicted(self, row: int) -> int:
        tokens, given = self._join(row)
        return len(tokens) - given

    @cached_property
    def lengths(self) -> tuple[Ids, ...]:
        before, after = self._reader.framing
        sources, targets = self._reader.read_lengths()
        source, target = np.minimum(sources - before - after, self._longest[0]), targets - before - max(after, 1) + 1
        return (source + len(self._reader.separator) + np.minimum(target, self._longest[1]),)

    def batch(self, rows: Sequence[int], tails: npt.NDArray[np.uint64] | None) -> Batch:
        joined = [self._join(row) for row in rows]
        labels = [np.where(np.arange(1, len(tokens)) < given, IGNORE_INDEX, tokens[1:]) for tokens, given in joined]
        if tails is not None:
            for line, (tokens, given), tail in zip(labels, joined, tails, strict=True):
                line[given - 1 + _count_kept_labels(len(tokens) - given, tail) :] = IGNORE_INDEX
        return {
            "input_ids": torch.from_numpy(self._pad_rows([tokens[:-1] for tokens, _ in joined], self._reader.pad)),
            "labels": torch.from_numpy(self._pad_rows(labels, IGNORE_INDEX)),
        }


class Loader:
    """Batches for training and validation of one folder of tokens.

    Attributes:
        kind: `text` or `pairs`.
        rows: windows of `sequence_length` tokens, or pairs.
        batch: rows of one optimizer step, over all processes.
    """

    def __init__(
        self, folder: Path, train: Train, seed: int, start_token: int | None = None, unequal: bool = False
    ) -> None:
        """Open `folder`.

        Args:
            folder: a folder written by `trainyard.data.tokenize.tokenize`.
            train: lengths and batch.
            seed: orders the rows of each epoch.
            start_token: the first token of a decoder that has an encoder; without one, pairs are joined.
            unequal: mask a random tail of each row's labels (a quarter to all of a row stays), so that ranks
                and micro-batches hold unequal numbers of predicted tokens.

        Raises:
            InputError: the folder is damaged or holds too little, or the settings don't fit it.
        """
        self.kind: str = read_index(folder)["kind"]
        self._folder, self._train, self._seed, self._unequal = folder, train, seed, unequal
        self.batch = _batch(train, self.kind)
        self._rows: _Rows
        if self.kind == "text":
            self._rows = _Windows(folder, train.sequence_length)
        elif start_token is None:
            self._rows = _JoinedPairs(folder, train.source_length, train.target_length)
        else:
            self._rows = _Pairs(folder, train.source_length, train.target_length, start_token)
        self.rows = self._rows.count
        self._order = lru_cache(maxsize=2)(self._epoch)

    @property
    def steps(self) -> int:
        """The number of optimizer steps of the whole training."""
        return count_steps(self._train, self.rows, self.kind)

    def micro_batch(self, world: int) -> int:
        """The rows of one micro-batch of one of `world` processes.

        Raises:
            InputError: the batch can't be cut into equal micro-batches, or is larger than the data.
        """
        share, rest = divmod(self.batch, world)
        if rest:
            raise InputError(f"train.batch: {self.batch} rows per step can't be shared equally by {world} processes")
        micro_batch = self._train.micro_batch or share
        if share % micro_batch:
            raise InputError(
                f"train.micro_batch: {micro_batch} doesn't divide a process's share of {share} rows "
                f"({self.batch} rows per step over {world} processes)"
            )
        if self.batch > self.rows:
            raise InputError(
                f"{self._folder}: contains {self.rows} rows, fewer than one step of {self.batch}; lower train.batch"
            )
        return micro_batch

    def accumulation(self, world: int) -> int:
        """The number of micro-batches that each of `world` processes takes a step."""
        return self.batch // world // self.micro_batch(world)

    def _epoch(self, epoch: int) -> npt.NDArray[np.intp]:
        """The rows in the order of an epoch, shape `(rows,)`.

        By length, rows that were shuffled are sorted, longest first, all of them or so many steps' at a time; then the
        steps that lie within the epoch are shuffled (as fairseq and fastai have it; transformers leaves them in their
        order, so that lengths rise and fall with the steps). That depends on the rows of a step and not on the number
        of processes.
        """
        shuffled = np.argsort(_random_bits(self._seed, _ORDER, epoch, self.rows), kind="stable")
        if self._train.order == "random":
            return shuffled
        head = -epoch * self.rows % self.batch  # they end the step that the epoch before began
        pool = self.rows if self._train.order == "by-length" else SORTISH_STEPS * self.batch
        lengths = self._rows.lengths[0][shuffled]
        bounds = [0, *range(head, self.rows, pool), self.rows]
        by_length = [first + np.argsort(-lengths[first:end], kind="stable") for first, end in pairwise(bounds)]
        ordered = shuffled[np.concatenate(by_length)]
        steps = (self.rows - head) // self.batch
        within = ordered[head : head + steps * self.batch].reshape(steps, self.batch)
        within[:] = within[np.argsort(_random_bits(self._seed, _BATCHES, epoch, steps), kind="stable")]
        return ordered

    def _cut_step(self, step: int, size: int) -> Ids:
        """The rows of a step's micro-batches, (micro-batches, size), out of the endless stream of shuffled epochs.

        Like lengths meet in one. They are dealt out in the order of van der Corput's sequence, so that the shares
        of ranks, of which each is a run of them, are as long as each other.
        """
        places = [divmod(place, self.rows) for place in range((step - 1) * self.batch, step * self.batch)]
        rows = np.array([self._order(epoch)[index] for epoch, index in places])
        lengths = self._rows.lengths[0][rows]
        if (lengths == lengths[0]).all():
            return rows.reshape(-1, size)
        by_length = rows[np.argsort(-lengths, kind="stable")].reshape(-1, size)
        bits = len(f"{len(by_length) - 1:b}")
        return by_length[sorted(range(len(by_length)), key=lambda number: f"{number:0{bits}b}"[::-1])]

    def micro_batches(self, step: int, rank: int, world: int) -> list[Batch]:
        """The micro-batches of one rank in optimizer step `step`, which counts from 1.

        Text: `input_ids` and `labels` (rows, time); `labels[:, t]` is the token after `input_ids[:, t]`.
        Pairs: `input_ids` and `attention_mask` (rows, source), `decoder_input_ids` and `labels` (rows, target); joined,
        for a model without an encoder, as text.
        Labels are -100 where nothing is predicted.

        Raises:
            InputError: the batch can't be cut into equal micro-batches, or is larger than the data.
        """
        assert step >= 1, "steps count from 1"
        assert 0 <= rank < world
        rows = self._cut_step(step, self.micro_batch(world))
        tails = _random_bits(self._seed, _TAILS, step, self.batch).reshape(rows.shape) if self._unequal else None
        share = len(rows) // world
        return [
            self._rows.batch(rows[number].tolist(), None if tails is None else tails[number])
            for number in range(rank * share, (rank + 1) * share)
        ]

    def count_positions(self, step: int, world: int) -> tuple[int, int]:
        """How many positions all of `world` processes compute in a step, and how many of them are padding.

        Those of sources and of targets together: each micro-batch is as wide as its longest row.
        """
        size = self.micro_batch(world)
        rows = self._cut_step(step, size)
        computed = needed = 0
        for lengths in self._rows.lengths:
            of_batches = lengths[rows]
            computed += size * int(of_batches.max(axis=1).sum())
            needed += int(of_batches.sum())
        return computed, computed - needed

    def count_validation_rows(self, limit_tokens: int) -> int:
        """How many rows, the first ones, have `limit_tokens` predicted tokens at most; one at least."""
        rows, predicted = 0, 0
        while rows < self.rows and (predicted := predicted + self._rows.count_predicted(rows)) <= limit_tokens:
            rows += 1
        return max(rows, 1)

    def validation_batches(
        self, micro_batch: int, limit_tokens: int, rank: int, world: int
    ) -> Iterator[tuple[range, Batch]]:
        """The first rows, in order, until `limit_tokens` tokens are predicted, each batch with its rows' numbers.

        Micro-batch k goes to rank k % world. Every rank gets equally many: a rank that
        would have one less gets one of no row, whose labels are all -100.
        """
        count = self.count_validation_rows(limit_tokens)
        starts = range(0, count, micro_batch)
        for index in range(-(-len(starts) // world)):
            number = index * world + rank
            if number < len(starts):
                rows = range(starts[number], min(starts[number] + micro_batch, count))
                yield rows, self._rows.batch(rows, None)
            else:
                blank = self._rows.batch([0], None)
                yield range(0), blank | {"labels": torch.full_like(blank["labels"], IGNORE_INDEX)}
