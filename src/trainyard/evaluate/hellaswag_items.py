"""HellaSwag's items as text: contexts, endings and shots by either protocol."""

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainyard.evaluate.encoding import encode, encode_as_harness, harness_start_token, start_token
from trainyard.evaluate.log_likelihood import Query

Protocol = Literal["harness", "completion"]
Draw = Literal["random", "first_n"]
BETWEEN_SHOTS = "\n\n"


@dataclass(frozen=True)
class Item:
    """A context and its endings, of which `label` is right; the endings continue after a space."""

    id: str
    level: str
    context: str
    endings: list[str]
    label: int


def preprocess(text: str) -> str:
    """Clean a text of WikiHow's marks, as lm-evaluation-harness does.

    " [title]" becomes ". ", other bracketed text goes, and two spaces become one.
    """
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def make_item(row: Mapping[str, Any], protocol: Protocol) -> Item:
    """An item from a row of kind choices.

    `harness`: the context is preprocess(activity_label: ctx_a Ctx_b), with ctx_b
    capitalised, and the endings are preprocessed. `completion`: context and endings
    are as they are, without the activity label (karpathy/llm.c).
    """
    if protocol == "harness":
        context = preprocess(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
        endings = [preprocess(ending) for ending in row["endings"]]
    else:
        context, endings = row["ctx"], list(row["endings"])
    return Item(row["id"], row["level"], context, endings, row["label"])


class Shots:
    """Solved items before each item, drawn from a pool as lm-evaluation-harness draws them.

    `random`: one generator of the seed draws anew for each item, in the items' order,
    one more than is needed, in case the item itself is among them
    (lm_eval.api.samplers.ContextSampler). `first_n`: the pool's first, the same for all
    (FirstNSampler). A pool holds no item twice.
    """

    def __init__(self, pool: Sequence[Item], shots: int, draw: Draw, seed: int) -> None:
        self._pool, self._shots, self._draw = pool, shots, draw
        self._generator, self._position = random.Random(seed), 0

    def before(self, position: int, item: Item) -> list[Item]:
        """The shots of the item at a position; positions are asked for in rising order, and may be passed over."""
        assert position >= self._position
        if not self._shots:
            return []
        indices: Sequence[int] = range(self._shots + 1)
        if self._draw == "random":
            for _ in range(self._position, position + 1):
                indices = self._generator.sample(range(len(self._pool)), self._shots + 1)
        self._position = position + 1
        return [shot for index in indices if (shot := self._pool[index]) != item][: self._shots]


def add_shots(item: Item, shots: Sequence[Item]) -> str:
    """The item's context after solved items."""
    return BETWEEN_SHOTS.join([*(f"{shot.context} {shot.endings[shot.label]}" for shot in shots), item.context])


def encode_pairs(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], protocol: Protocol
) -> list[tuple[list[int], list[int]]]:
    """Token ids of (context, continuation), split as the protocol splits them.

    `harness`: spaces at the end of the context move to the continuation; the whole text
    is encoded at once, special tokens included, and cut after as many tokens as the
    context alone has. `completion`: both are encoded apart, without special tokens. An
    empty context becomes the protocol's start token, or nothing if there is none.
    """
    if protocol == "completion":
        start = _as_list(start_token(tokenizer))
        contexts, continuations = (encode(tokenizer, texts) for texts in zip(*pairs, strict=True))
        return [(before or start, after) for before, after in zip(contexts, continuations, strict=True)]
    start = _as_list(harness_start_token(tokenizer))
    bare = [context.rstrip() for context, _ in pairs]
    whole = encode_as_harness(tokenizer, [context + continuation for context, continuation in pairs])
    distinct = list(dict.fromkeys(bare))
    lengths = dict(zip(distinct, (len(ids) for ids in encode_as_harness(tokenizer, distinct)), strict=True))

    def split(text: str, continuation: str, ids: list[int]) -> tuple[list[int], list[int]]:
        if not text:
            return start, encode(tokenizer, [continuation])[0]
        return ids[: lengths[text]], ids[lengths[text] :]

    return [
        split(text, context + continuation, ids)
        for (context, continuation), text, ids in zip(pairs, bare, whole, strict=True)
    ]


def _as_list(token: int | None) -> list[int]:
    return [] if token is None else [token]


def make_queries(items: Sequence[Sequence[tuple[Sequence[int], Sequence[int]]]], longest: int) -> list[Query]:
    """The queries that score the (context, continuation) pairs of each item in their order.

    Contexts are cut from the left to fit the model; neighbours of one item with the same
    context share a query.
    """
    cuts = [[fit(context, continuation, longest) for context, continuation in pairs] for pairs in items]
    return [
        Query(np.array(context), tuple(np.array(continuation) for _, continuation in group))
        for pairs in cuts
        for context, group in itertools.groupby(pairs, key=lambda pair: pair[0])
    ]


def fit(context: Sequence[int], continuation: Sequence[int], longest: int) -> tuple[list[int], list[int]]:
    """The continuation, and as much of the context's right end as fits: the last token of all is no input.

    A continuation has `longest` tokens at most, so that one token of context is left.
    """
    assert 0 < len(continuation) <= longest
    return list(context[count_lost_context(context, continuation, longest) :]), list(continuation)


def count_lost_context(context: Sequence[int], continuation: Sequence[int], longest: int) -> int:
    """How many tokens a context loses on its left to fit with its continuation into `longest` + 1 tokens."""
    return max(0, len(context) + min(len(continuation), longest) - (longest + 1))
