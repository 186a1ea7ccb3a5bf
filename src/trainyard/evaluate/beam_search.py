"""Beam search that gives what transformers' gives, without what that does in vain."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainyard.evaluate.beam_decoders import make_decoder, share_sources

NEVER = -1e9
"""What is added to the score of a beam that must not be chosen."""
LEAVE = 0.75
"""When the part of a batch that is still searched has fallen to this, what has ended leaves: each time is a copy."""


@torch.inference_mode()
def search_beams(
    model: Any,
    inputs: dict[str, Tensor],
    ends: Sequence[int],
    processors: Any,
    *,
    beams: int,
    room: int,
    length_penalty: float,
    early_stopping: bool,
) -> list[list[int]]:
    """The best beam of each source: the token that was given first, and those after it, with the one that ends it.

    The search is transformers' (`GenerationMixin._beam_search`), and so are its results. Sources that have ended leave
    it, and what the beams of a source share is computed once, and never moved.

    Args:
        model: in evaluation mode.
        inputs: `input_ids` and `attention_mask` of the sources, (sources, time): padded on the right for an encoder, on
            the left for a model without.
        ends: the tokens that end a beam.
        processors: transformers' (`LogitsProcessorList`), which change log-probabilities (rows, vocabulary), given the
            tokens so far (rows, length).
        beams: of each source.
        room: most tokens, with the one that is given.
        length_penalty: a score is divided by the number of new tokens to this power.
        early_stopping: end a source when as many of its beams have ended as there are.
    """
    most = max(2, 1 + len(ends)) * beams  # so many candidates that enough go on if all of the best end
    with share_sources(model):
        decoder = make_decoder(model, inputs, beams, room)
        found: list[list[int]] = [[] for _ in decoder.first]
        state = _Beams(decoder.first, beams, room, torch.tensor(ends, device=model.device))
        for length in range(1, room):
            rows = state.tokens[:, :, :length].flatten(0, 1)
            log_probabilities = processors(rows, decoder.next_logits(rows[:, -1:]).log_softmax(dim=-1))
            parents = state.advance(log_probabilities.unflatten(0, (-1, beams)), length, most, length_penalty)
            done = state.find_done(length, length_penalty, early_stopping)
            for source in done.nonzero()[:, 0].tolist():
                place = int(state.places[source])
                found[place] = found[place] or state.best(source)
            left = (~done).nonzero()[:, 0]
            if not len(left):
                break
            decoder.follow(parents)
            if len(left) <= LEAVE * len(done):
                decoder.keep(left)
                state.keep(left)
        return found


class _Beams:
    """The beams of several sources, those that go on and the best that have ended.

    Attributes:
        tokens: of those that go on, (sources, beams, room), the likeliest first.
        places: of the sources, in the order in which they were given.
    """

    def __init__(self, first: Tensor, beams: int, room: int, ends: Tensor) -> None:
        self._ends = ends
        self.tokens = first[:, None].repeat(1, beams, room)
        self.places = torch.arange(len(first), device=first.device)
        self._scores = torch.full(self.tokens.shape[:2], NEVER, device=first.device)
        self._scores[:, 0] = 0  # at first all beams are the same
        self._ended, self._ended_scores = self.tokens, torch.full_like(self._scores, NEVER)
        self._lengths = torch.zeros_like(self._scores, dtype=torch.long)  # of those that have ended; 0: there is none
        self._improvable = torch.ones_like(self.places, dtype=torch.bool)

    def advance(self, log_probabilities: Tensor, length: int, most: int, penalty: float) -> Tensor:
        """Go on by a token each, given (sources, beams, vocabulary), and say from which row each beam goes on.

        Of the `most` likeliest continuations, the likeliest that don't end go on. One that ends is kept if it is among
        the likeliest `beams`, and its score (over its new tokens to the power `penalty`) is among the best so far.
        """
        sources, beams, vocabulary = log_probabilities.shape
        likeliest, chosen = (log_probabilities + self._scores[:, :, None]).flatten(1).topk(most)
        parents, following = chosen // vocabulary, chosen % vocabulary
        candidates = _choose(self.tokens, parents)
        candidates[:, :, length] = following
        ending = torch.isin(following, self._ends) | (length + 1 == self.tokens.shape[-1])

        self._scores, order = (likeliest + ending * NEVER).topk(beams)
        self.tokens, parents = _choose(candidates, order), parents.gather(1, order)

        kept = ending & (torch.arange(most, device=ending.device) < beams)
        scores = torch.cat([self._ended_scores, likeliest / length**penalty + ~kept * NEVER], dim=1)
        self._ended_scores, order = scores.topk(beams)
        self._ended = _choose(torch.cat([self._ended, candidates], dim=1), order)
        self._lengths = torch.cat([self._lengths, kept * (length + 1)], dim=1).gather(1, order)
        return (parents + beams * torch.arange(sources, device=parents.device)[:, None]).flatten()

    def find_done(self, length: int, penalty: float, early_stopping: bool) -> Tensor:
        """Which sources have their result: (sources)."""
        full = (self._lengths > 0).all(dim=1)
        worst = torch.where(full, self._ended_scores[:, -1], NEVER)
        self._improvable &= self._scores[:, 0] / length**penalty > worst
        return ~self._improvable | (full & early_stopping) | (length + 1 == self.tokens.shape[-1])

    def best(self, source: int) -> list[int]:
        """The tokens of the best beam of a source that is done."""
        return self._ended[source, 0, : int(self._lengths[source, 0])].tolist()

    def keep(self, sources: Tensor) -> None:
        """Go on with these alone."""
        self.tokens, self.places, self._scores = self.tokens[sources], self.places[sources], self._scores[sources]
        self._ended, self._ended_scores = self._ended[sources], self._ended_scores[sources]
        self._lengths, self._improvable = self._lengths[sources], self._improvable[sources]


def _choose(beams: Tensor, order: Tensor) -> Tensor:
    """Beams (sources, beams, room) in an order (sources, chosen)."""
    return beams.take_along_dim(order[:, :, None], dim=1)
