"""HellaSwag's items, as odd as the reader lets them be, as what a model is asked."""

from typing import Any

import odd
import rows_of
from hypothesis import strategies as st

from trainyard.data.byte_level_bpe import make_byte_tokenizer, train_bpe
from trainyard.data.readers import Row
from trainyard.data.rows import normalize_rows
from trainyard.evaluate.hellaswag import ending_lengths
from trainyard.evaluate.hellaswag_items import encode_pairs, fit, make_item, make_queries

DATASET = rows_of.dataset("choices", "x")
MARKS = st.sampled_from(["[title]", " [header] [step]", "[", "]", "[]", "  ", "\n", "a [b] c", "<|endoftext|>", "</s>"])
TEXTS = odd.TEXTS | MARKS | st.text("ab [].", max_size=6)


@st.composite
def item(draw: st.DrawFn) -> dict[str, Any]:
    """A row of kind choices with other texts."""
    texts = {name: draw(TEXTS) for name in ("activity_label", "ctx_a", "ctx_b", "ctx")}
    return rows_of.GOOD["choices"] | texts | {"endings": draw(st.lists(TEXTS, min_size=4, max_size=4))}


def test_each_ending_of_an_item_is_asked_for_within_the_models_length(fuzz: Any, refused: Any) -> None:
    tokenizers = [make_byte_tokenizer(), train_bpe(["a man has a mop. he mops and sings."] * 3, 300)]

    def check(drawn: tuple[dict[str, Any], int]) -> None:
        row, longest = drawn
        taken = refused(lambda: list(normalize_rows(DATASET, iter([Row("f", 1, row)]))), r"f, row 1: `\w+` ")
        for tokenizer in tokenizers if taken else []:
            for protocol in ("harness", "completion"):
                made = make_item(taken[0], protocol)
                pairs = encode_pairs(tokenizer, [(made.context, f" {ending}") for ending in made.endings], protocol)
                assert all(before and after for before, after in pairs)
                if not all(len(after) <= longest for _, after in pairs):
                    continue  # such an item is left out
                asked = make_queries([pairs], longest)
                assert sum(len(query.continuations) for query in asked) == 4
                for before, after in (fit(*pair, longest) for pair in pairs):
                    assert before
                    assert after
                    assert len(before) + len(after) <= longest + 1
                assert (ending_lengths([made], [len(after) for _, after in pairs], protocol) > 0).all()

    fuzz(st.tuples(item(), st.sampled_from([1, 2, 8, 500])), check, 600)
