"""Models that say what comes next in each beam of several sources, with an encoder and without."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache

from trainyard.evaluate.beam_cache import BeamLayer


class Decoder(Protocol):
    """A model with the keys and values of all beams; a row is a beam, and those of a source follow each other.

    Attributes:
        first: the token that each source's beams begin with, (sources, 1).
    """

    first: Tensor

    def next_logits(self, tokens: Tensor) -> Tensor:
        """Logits (rows, vocabulary) of what follows a token of each row, (rows, 1)."""
        ...

    def follow(self, parents: Tensor) -> None:
        """Let each row go on from the row that `parents`, (rows), has for it, one of the same source."""
        ...

    def keep(self, sources: Tensor) -> None:
        """Go on with these sources alone."""
        ...


def make_decoder(model: Any, inputs: dict[str, Tensor], beams: int, room: int) -> Decoder:
    """The decoder of a model; `room` is for the tokens of a beam, with the one that is given."""
    kind = AfterEncoder if model.config.is_encoder_decoder else AfterPrompt
    return kind(model, inputs, beams, room)


class AfterEncoder:
    """A decoder that attends to what an encoder made of the sources."""

    def __init__(self, model: Any, inputs: dict[str, Tensor], beams: int, room: int) -> None:
        self._model, self._mask, self._beams = model, inputs["attention_mask"], beams
        self._encoded = model.get_encoder()(**inputs).last_hidden_state  # (sources, time, width)
        self.first = torch.full_like(inputs["input_ids"][:, :1], model.generation_config.decoder_start_token_id)
        self._sources, self._own = DynamicCache(), Cache(layers=[])
        self._cache = EncoderDecoderCache(DynamicCache(), self._sources)
        self.next_logits(self.first)  # one row a source, which fills its keys and values
        self._own = Cache(layers=[BeamLayer(beams, room) for _ in self._sources.layers])
        self._cache = EncoderDecoderCache(self._own, self._sources)

    def next_logits(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        found = self._model(
            encoder_outputs=(self._encoded,),
            attention_mask=self._mask,
            decoder_input_ids=tokens,
            past_key_values=self._cache,
            use_cache=True,
        )
        return found.logits[:, -1].float()

    def follow(self, parents: Tensor) -> None:
        """See `Decoder`."""
        _reorder(self._own, parents)

    def keep(self, sources: Tensor) -> None:
        """See `Decoder`."""
        self._own.batch_select_indices(_rows(sources, self._beams))
        self._sources.batch_select_indices(sources)
        self._encoded, self._mask = self._encoded[sources], self._mask[sources]


class AfterPrompt:
    """A causal model that goes on after the sources; each is read once, and its last token is the first of a beam."""

    def __init__(self, model: Any, inputs: dict[str, Tensor], beams: int, room: int) -> None:
        self._model, self._beams = model, beams
        ids, mask = inputs["input_ids"], inputs["attention_mask"][:, :-1]
        self.first = ids[:, -1:]
        cache = DynamicCache()  # of all positions, where transformers would keep those of a window
        if mask.shape[1]:
            model.base_model(
                input_ids=ids[:, :-1],
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=-1) - 1).clamp(min=0),
                past_key_values=cache,
                use_cache=True,
            )
        prompts = cache.layers or [None] * model.config.num_hidden_layers
        layers: Any = [BeamLayer(beams, room, prompt) for prompt in prompts]
        self._cache = Cache(layers=layers)
        self._mask = mask.repeat_interleave(beams, dim=0)

    def next_logits(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        positions = self._mask.sum(dim=-1, keepdim=True)
        self._mask = torch.cat([self._mask, torch.ones_like(tokens)], dim=-1)
        found = self._model(
            input_ids=tokens,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        return found.logits[:, -1].float()

    def follow(self, parents: Tensor) -> None:
        """See `Decoder`."""
        _reorder(self._cache, parents)

    def keep(self, sources: Tensor) -> None:
        """See `Decoder`."""
        rows = _rows(sources, self._beams)
        self._cache.batch_select_indices(rows)
        self._mask = self._mask[rows]


def _reorder(cache: Any, parents: Tensor) -> None:
    cache.reorder_cache(parents)


def _rows(sources: Tensor, beams: int) -> Tensor:
    """Where the beams of sources are."""
    return (sources[:, None] * beams + torch.arange(beams, device=sources.device)).flatten()


@contextmanager
def share_sources(model: nn.Module) -> Iterator[None]:
    """Let a decoder's rows attend to fewer rows of sources: those of one source become queries of one row.

    So the keys and values of a source are there once, (sources, heads, time, head_width), and are read once for all
    of its beams.
    """
    with ExitStack() as stack:
        for module in model.modules():
            # transformers' names in every family: attention itself knows its layer of the cache
            if hasattr(module, "layer_idx") and "key_value_states" in signature(module.forward).parameters:
                stack.callback(module.register_forward_pre_hook(_fold, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(_unfold, with_kwargs=True).remove)
        yield


def _fold(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """(sources x beams, 1, width) to (sources, beams, width), if it is attention to sources."""
    if kwargs.get("key_value_states") is None:
        return None
    sources = len(kwargs["key_value_states"])

    def fold(states: Tensor) -> Tensor:
        return states.reshape(sources, -1, states.shape[-1])

    if args:
        return (fold(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": fold(kwargs["hidden_states"])}


def _unfold(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: tuple[Any, ...]) -> Any:
    if kwargs.get("key_value_states") is None:
        return output
    return (output[0].reshape(-1, 1, output[0].shape[-1]), *output[1:])
