"""Continuations from a causal model: the likeliest token each time, or drawn."""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby, takewhile
from typing import Any

import torch
from torch import Tensor


def continuations(
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
    found: list[list[int]] = [[] for _ in prompts]
    for places in _batches(prompts, batch):
        draws = [torch.Generator().manual_seed(seeds[place]) for place in places]
        ids = torch.tensor([list(prompts[place]) for place in places])
        for place, tokens in zip(places, _batch(model, ids, new_tokens, ends, temperature, draws), strict=True):
            found[place] = tokens
        done(len(places))
    return found


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
    """One token a row, shape `(rows, 1)`, of logits `(rows, vocabulary)`."""
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    # by its distance from the likeliest: a small temperature would make the logits themselves infinite
    below = (logits - logits.amax(dim=-1, keepdim=True)).double()
    shares = torch.softmax(below / temperature, dim=-1)
    return torch.stack([torch.multinomial(row, 1, generator=draw) for row, draw in zip(shares, draws, strict=True)])
