"""Summaries from a sequence-to-sequence model, by beam search."""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby, takewhile
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig


def make_generation_config(
    model: Any, beams: int, min_length: int, max_length: int, no_repeat_ngram: int, length_penalty: float, early: bool
) -> GenerationConfig:
    """The settings of a search: the model's own special tokens, and nothing else of its own.

    Lengths are in tokens with the decoder's start token, as transformers counts them.
    """
    own = model.generation_config
    special = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
    return GenerationConfig(
        **{name: getattr(own, name) for name in (*special, "forced_eos_token_id")},
        num_beams=beams,
        do_sample=False,
        min_length=min_length,
        max_length=max_length,
        no_repeat_ngram_size=no_repeat_ngram,
        length_penalty=length_penalty if beams > 1 else None,
        early_stopping=early if beams > 1 else None,
    )


@torch.inference_mode()
def generate(
    model: Any,
    sources: Sequence[Sequence[int]],
    config: GenerationConfig,
    batch: int,
    done: Callable[[int], None] = lambda sources: None,
) -> list[list[int]]:
    """The generated token ids of each source, special tokens included, in the sources' order.

    Sources are taken longest first, `batch` at a time, padded on the right and masked;
    `done` is told how many each batch has finished.
    """
    order = sorted(range(len(sources)), key=lambda index: -len(sources[index]))
    result: list[list[int]] = [[] for _ in sources]
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        outputs = model.generate(
            **_pad([sources[row] for row in rows], config.pad_token_id or 0, model.device),
            generation_config=config,
        )
        for row, ids in zip(rows, outputs.tolist(), strict=True):
            result[row] = ids
        done(len(rows))
    return result


def reaches_limit(ids: Sequence[int], config: GenerationConfig) -> bool:
    """Whether a summary was ended by `max_length`, and not by the model's own end token before it."""
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    # the first token is the decoder's start, which may be the end token too
    return (
        next((index for index, token in enumerate(ids) if index and token in ends), len(ids)) >= config.max_length - 1
    )


def _pad(sources: list[Sequence[int]], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    width = max(len(ids) for ids in sources)
    ids = torch.tensor([[*source, *[pad] * (width - len(source))] for source in sources])
    mask = torch.tensor([[1] * len(source) + [0] * (width - len(source)) for source in sources])
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
