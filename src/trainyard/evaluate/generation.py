"""Summaries by beam search, and continuations of prompts."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any

import torch
from torch import Tensor
from transformers import (
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    LogitsProcessor,
    LogitsProcessorList,
    MinLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
)

from trainyard.evaluate.beam_search import search_beams
from trainyard.evaluate.generation_speed import TimedBatch, count_generated


@dataclass(frozen=True)
class Search:
    """The settings of a beam search; lengths are in tokens with the first one, as transformers counts a decoder's.

    Attributes:
        beams: 1 takes the likeliest token each time.
        min_length: of a summary.
        max_length: of a summary.
        no_repeat_ngram: no n-gram of so many tokens stands twice in a summary.
        length_penalty: a score is divided by the length to this power.
        early_stopping: end when as many beams have ended as there are.
    """

    beams: int
    min_length: int
    max_length: int
    no_repeat_ngram: int
    length_penalty: float
    early_stopping: bool

    def make_processors(self, model: Any, ends: Sequence[int]) -> LogitsProcessorList:
        """What forbids tokens, as `GenerationMixin.generate` has it for these settings and a model's special tokens.

        Without an encoder they don't see the source: transformers' own would ban its n-grams too.
        """
        own, given = model.generation_config, 0 if model.config.is_encoder_decoder else 1
        processors: list[LogitsProcessor] = []
        if self.no_repeat_ngram:
            processors.append(NoRepeatNGramLogitsProcessor(self.no_repeat_ngram))
        if self.min_length > given:
            processors.append(MinLengthLogitsProcessor(self.min_length - given, list(ends), device=str(model.device)))
        if own.forced_bos_token_id is not None and not given:
            processors.append(ForcedBOSTokenLogitsProcessor(own.forced_bos_token_id))
        if own.forced_eos_token_id is not None:
            end = own.forced_eos_token_id
            processors.append(ForcedEOSTokenLogitsProcessor(self.max_length - given, end, device=str(model.device)))
        return LogitsProcessorList([_AfterFirst(each) for each in processors] if given else processors)


class _AfterFirst(LogitsProcessor):
    """A processor that doesn't see the first token, which is the prompt's."""

    def __init__(self, processor: LogitsProcessor) -> None:
        self._processor = processor

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        return self._processor(input_ids[:, 1:], scores)


def generate(
    model: Any,
    sources: Sequence[Sequence[int]],
    search: Search,
    ends: Sequence[int],
    batch: int,
    done: Callable[[TimedBatch], None] = lambda batch: None,
) -> list[list[int]]:
    """The generated token ids of each source, in the sources' order, after a first token that was given.

    Sources are taken longest first, `batch` at a time, padded and masked: on the right for an encoder, on the left for
    a model that goes on after them. `done` is told of each batch what it was and took.
    """
    processors = search.make_processors(model, ends)
    pad, left = model.generation_config.pad_token_id, not model.config.is_encoder_decoder
    order = sorted(range(len(sources)), key=lambda index: -len(sources[index]))
    result: list[list[int]] = [[] for _ in sources]
    for start in range(0, len(order), batch):
        rows, began = order[start : start + batch], time.perf_counter()
        inputs = _pad([sources[row] for row in rows], ends[0] if pad is None else pad, model.device, left)
        found = search_beams(
            model,
            inputs,
            ends,
            processors,
            beams=search.beams,
            room=search.max_length,
            length_penalty=search.length_penalty,
            early_stopping=search.early_stopping or search.beams == 1,
        )
        for row, ids in zip(rows, found, strict=True):  # a GPU has finished once its ids are here
            result[row] = ids
        seconds = time.perf_counter() - began
        tokens = sum(count_generated(ids, ends) for ids in found)
        positions = inputs["input_ids"].numel()
        done(TimedBatch(len(rows), tokens, positions, positions - sum(len(sources[row]) for row in rows), seconds))
    return result


def reaches_limit(ids: Sequence[int], ends: Collection[int], max_length: int) -> bool:
    """Whether a summary was ended by `max_length`, and not by the model's own end token before it."""
    # the first token is the decoder's start, which may be the end token too
    return next((index for index, token in enumerate(ids) if index and token in ends), len(ids)) >= max_length - 1


def _pad(sources: list[Sequence[int]], pad: int, device: torch.device, left: bool) -> dict[str, torch.Tensor]:
    width = max(len(ids) for ids in sources)
    ids = torch.full((len(sources), width), pad)
    mask = torch.zeros_like(ids)
    for row, source in enumerate(sources):
        place = slice(width - len(source), None) if left else slice(len(source))
        ids[row, place] = torch.tensor(source)
        mask[row, place] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def continue_prompts(
    model: Any,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    *,
    ends: Collection[int],
    seeds: Sequence[int],
    temperature: float = 0.0,
    batch: int = 16,
    done: Callable[[int], None] = lambda prompts: None,
) -> list[list[int]]:
    """The tokens that follow each prompt, in the prompts' order, without the one that ends a text.

    Prompts of equal length share a batch, so that nothing is padded. What a prompt draws
    depends on its seed, not on who shares its batch.

    Args:
        model: a causal model of transformers, in evaluation mode.
        prompts: token ids, one or more each.
        new_tokens: how many, at most.
        ends: the tokens that end a text.
        seeds: of each prompt's draws.
        temperature: 0 takes the likeliest token, the first of equals; above, logits are divided by it.
        batch: prompts that are continued at once, at most.
        done: is told how many prompts each batch has finished.
    """
    results: list[list[int]] = [[] for _ in prompts]
    for places in _batches(prompts, batch):
        draws = [torch.Generator().manual_seed(seeds[index]) for index in places]
        ids = torch.tensor([list(prompts[index]) for index in places])
        for index, tokens in zip(places, _batch(model, ids, new_tokens, ends, temperature, draws), strict=True):
            results[index] = tokens
        done(len(places))
    return results


def _batches(prompts: Sequence[Sequence[int]], batch: int) -> Iterator[list[int]]:
    """The places of prompts of one length, the longest first, at most `batch` at a time."""
    order = sorted(range(len(prompts)), key=lambda place: (-len(prompts[place]), place))
    for _, group in groupby(order, key=lambda place: len(prompts[place])):
        places = list(group)
        yield from (places[start : start + batch] for start in range(0, len(places), batch))


@torch.inference_mode()
def _batch(
    model: Any,
    ids: Tensor,
    new_tokens: int,
    ends: Collection[int],
    temperature: float,
    draws: Sequence[torch.Generator],
) -> list[list[int]]:
    """The tokens after each row of `ids`, shape `(rows, length)`."""
    columns: list[Tensor] = []
    ended = torch.zeros(len(ids), dtype=torch.bool)
    past: Any = None
    for _ in range(new_tokens):
        output = model(input_ids=ids.to(model.device), past_key_values=past, use_cache=True)
        past = output.past_key_values
        ids = _next(output.logits[:, -1].float().cpu(), temperature, draws)
        columns.append(ids)
        ended |= torch.tensor([token in ends for token in ids[:, 0].tolist()])
        if ended.all():
            break
    rows = torch.cat(columns, dim=1).tolist()
    return [list(takewhile(lambda token: token not in ends, row)) for row in rows]


def _next(logits: Tensor, temperature: float, draws: Sequence[torch.Generator]) -> Tensor:
    """One token per row, shape `(rows, 1)`, of logits `(rows, vocabulary)`."""
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    # by its distance from the likeliest: a small temperature would make the logits themselves infinite
    below = (logits - logits.amax(dim=-1, keepdim=True)).double()
    shares = torch.softmax(below / temperature, dim=-1)
    return torch.stack([torch.multinomial(row, 1, generator=draw) for row, draw in zip(shares, draws, strict=True)])
