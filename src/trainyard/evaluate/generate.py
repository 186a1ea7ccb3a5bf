"""Summaries from a sequence-to-sequence model, by beam search."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig


def generation_config(
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
            **_padded([sources[row] for row in rows], config.pad_token_id or 0, model.device),
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
        next((place for place, token in enumerate(ids) if place and token in ends), len(ids)) >= config.max_length - 1
    )


def _padded(sources: list[Sequence[int]], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    width = max(len(ids) for ids in sources)
    ids = torch.tensor([[*source, *[pad] * (width - len(source))] for source in sources])
    mask = torch.tensor([[1] * len(source) + [0] * (width - len(source)) for source in sources])
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
