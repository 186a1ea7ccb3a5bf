"""Perplexity by `harness` is the task `wikitext` of lm-evaluation-harness; `rolling` cuts windows as that does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.tasks.wikitext import preprocess_wikitext
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from trainyard.core.files import read_json
from trainyard.evaluate.perplexity import rolling_windows
from trainyard.evaluate.run import run
from trainyard.evaluate.wikitext_detokenizer import count_as_harness, detokenize

from .conftest import NAMES, Subject, write_lines, write_parquet
from .harness import Found, evaluate, load, wikitext

VALUES = {
    "word_perplexity": "perplexity_word",
    "byte_perplexity": "perplexity_byte",
    "bits_per_byte": "bits_per_byte",
}
PIECES = (*" .,:;!?-@='\"()[]{}\n\u00b0/", "a", "s '", " 's", " @-@ ", " @,@ ", " @.@ ", " N ", "/' 1/")
Cut = tuple[list[int], list[int]]


@pytest.fixture(scope="module")
def theirs(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("harness")
    pages = write_lines([{"page": page} for page in subject.pages], folder / "pages.jsonl")
    return evaluate(subject.model, {"pages": wikitext(pages)}, max_length=subject.context)["pages"]


def ours(subject: Subject, folder: Path, **settings: object) -> tuple[dict[str, Any], list[Any]]:
    rows = write_parquet([{"text": page} for page in subject.pages], folder / "rows.parquet")
    output = folder / "ours.json"
    run("perplexity", subject.model, rows, settings, output, NAMES)
    return read_json(output), pq.read_table(output.with_suffix(".parquet")).to_pylist()


def test_word_byte_perplexity_and_bits_are_the_harness_s(subject: Subject, theirs: Found, tmp_path: Path) -> None:
    result, items = ours(subject, tmp_path, protocol="harness", context=subject.context)
    assert [item["log_likelihood"] for item in items] == pytest.approx(np.ravel(theirs.log_likelihoods), rel=1e-4)
    for name, value in VALUES.items():
        assert result["values"][value]["value"] == pytest.approx(theirs.metrics[name], rel=1e-4)


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_a_page_is_joined_again_and_counted_as_there(page: str) -> None:
    assert detokenize(page) == preprocess_wikitext.wikitext_detokenizer({"page": page})
    counted = preprocess_wikitext.process_results({"page": page}, [-1.0])
    assert count_as_harness(page) == {"words": counted["word_perplexity"][1], "bytes": counted["byte_perplexity"][1]}


@pytest.mark.parametrize("part", [1, 4])
def test_rolling_windows_get_the_likelihoods_that_the_harness_gives_its_own(
    subject: Subject, tmp_path: Path, part: int
) -> None:
    """Its task moves by whole windows (1); its windows can see more before them as well."""
    context = subject.context // 4
    stride = context // part
    _, items = ours(subject, tmp_path, protocol="rolling", context=context, stride=stride)
    lm = load(subject.model, batch_size=4)
    assert len(items) == len(subject.pages)
    for item, page in zip(items, subject.pages, strict=True):
        tokens = lm.tokenizer.encode(page, add_special_tokens=False)
        cuts = [(("", ""), *cut) for cut in their_windows(tokens, start_token(lm), context, stride)]
        total = sum(likelihood for likelihood, _ in lm._loglikelihood_tokens(cuts, disable_tqdm=True))
        assert item["log_likelihood"] == pytest.approx(total, rel=1e-4)


def start_token(lm: Any) -> int:
    """`rolling` conditions on the token before documents in training, where a chat model's own opens a turn."""
    return lm.tokenizer.convert_tokens_to_ids("<|endoftext|>")


def their_windows(tokens: list[int], start: int, context: int, stride: int) -> Iterator[Cut]:
    """The harness's windows, whose `context_len` is what each sees at least, its own first token among it."""
    rolling = get_rolling_token_windows(tokens, start, max_seq_len=context, context_len=context - stride + 1)
    return (make_disjoint_window(window) for window in rolling)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, int, int]:
    """A length, a context and a stride that fits it."""
    context = draw(st.integers(1, 40))
    return draw(st.integers(1, 200)), context, draw(st.integers(1, context))


@given(cuts())
def test_windows_are_the_harness_s_for_every_length_context_and_stride(cut: tuple[int, int, int]) -> None:
    length, context, stride = cut
    tokens = list(range(1, length + 1))
    ids = [0, *tokens]
    mine = [
        (ids[begin : end - scored], ids[end - scored : end])
        for begin, end, scored in rolling_windows(len(ids), context, stride)
    ]
    assert mine == list(their_windows(tokens, 0, context, stride))


@given(cuts())
def test_each_token_is_scored_once_after_its_beginning_or_context_minus_stride_tokens(
    cut: tuple[int, int, int],
) -> None:
    length, context, stride = cut
    seen_before: dict[int, int] = {}
    for begin, end, scored in rolling_windows(length + 1, context, stride):
        assert end - 1 - begin <= context  # inputs: all but the last
        for place in range(end - scored, end):
            assert place not in seen_before
            seen_before[place] = place - begin
    assert sorted(seen_before) == list(range(1, length + 1))
    assert all(before >= min(place, context - stride) for place, before in seen_before.items())
