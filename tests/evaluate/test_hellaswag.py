import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainyard.core.errors import InputError
from trainyard.core.files import sha256_file
from trainyard.evaluate.hellaswag_items import Shots, add_shots, encode_pairs, fit, make_item, make_queries, preprocess
from trainyard.evaluate.log_likelihood import group_by_length
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.run import run

Write = Callable[..., Path]
ROOF = {
    "id": "24",
    "activity_label": "Roof shingle removal",
    "ctx_a": "A man is sitting on a roof.",
    "ctx_b": "he",
    "ctx": "A man is sitting on a roof. he",
    "endings": [
        "is using wrap to wrap a pair of skis.",
        "is ripping level tiles off.",
        "is holding a rubik's cube.",
        "starts pulling up roofing on a roof.",
    ],
    "label": 3,
    "level": "",
}


def make_rows(count: int) -> list[dict[str, Any]]:
    """Items of unequal lengths, in two levels."""
    generator = random.Random(3)
    words = ("Ada", "Ben", "ball", "garden", "kitchen", "went", "home", "took", "dog", "bath", "roof", "man", "in")

    def say(least: int, most: int) -> str:
        return " ".join(generator.choices(words, k=generator.randint(least, most)))

    return [
        {
            "id": str(row),
            "activity_label": say(1, 2),
            "ctx_a": say(1, 9) + ".",
            "ctx_b": say(0, 2),
            "ctx": say(2, 12),
            "endings": [say(1, 6) + "." for _ in range(4)],
            "label": generator.randrange(4),
            "level": ("easy", "hard")[row % 2],
        }
        for row in range(count)
    ]


def evaluate(folder: Path, rows: Path, names: Names, **settings: object) -> dict[str, Any]:
    output = rows.with_name("out.json")
    run("hellaswag", folder, rows, settings, output, names)
    return json.loads(output.read_text(encoding="utf-8"))


def slow_sum(model: Any, context: list[int], continuation: list[int]) -> float:
    """The log-likelihood of a continuation, one token and one forward pass at a time."""
    total, ids = 0.0, list(context)
    for token in continuation:
        with torch.no_grad():
            total += float(model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)[token])
        ids.append(token)
    return total


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (
            "[header] How to fold a towel [title] Lay it flat. [step] Smooth it.",
            " How to fold a towel. Lay it flat. Smooth it.",
        ),
        (" Wash the car.  Dry it. ", "Wash the car. Dry it."),
        ("[title]Open", "Open"),
        ("a [step] b [substeps] c", "a b c"),
        ("a [un\nclosed] b [x", "a [un\nclosed] b [x"),
        ("four    spaces", "four  spaces"),
    ],
)
def test_wikihows_marks_are_cleaned_as_in_the_harness(text: str, cleaned: str):
    assert preprocess(text) == cleaned


def test_the_harness_form_names_the_activity_and_capitalises_ctx_b():
    item = make_item(ROOF, "harness")
    assert item.context == "Roof shingle removal: A man is sitting on a roof. He"
    assert item.endings[3] == "starts pulling up roofing on a roof."
    assert make_item({**ROOF, "ctx_b": "then ADA"}, "harness").context.endswith(" Then ada")


def test_the_completion_form_leaves_the_text_as_it_is():
    item = make_item({**ROOF, "endings": ["[step] a", "b", "c", "d"]}, "completion")
    assert item.context == "A man is sitting on a roof. he"
    assert item.endings[0] == "[step] a"


def test_shots_are_solved_items_before_an_empty_line():
    first, second = (make_item(row, "harness") for row in make_rows(2))
    item = make_item(ROOF, "harness")
    assert add_shots(item, [first, second]) == (
        f"{first.context} {first.endings[first.label]}\n\n{second.context} {second.endings[second.label]}\n\n"
        "Roof shingle removal: A man is sitting on a roof. He"
    )
    assert add_shots(item, []) == item.context


def test_one_generator_draws_the_shots_of_all_items_in_their_order():
    pool = [make_item(row, "harness") for row in make_rows(9)]
    item = make_item(ROOF, "harness")
    generator = random.Random(7)
    drawn = [generator.sample(pool, 3) for _ in range(6)]
    every, some = Shots(pool, 2, "random", 7), Shots(pool, 2, "random", 7)
    assert [every.before(position, item) for position in range(6)] == [three[:2] for three in drawn]
    assert [some.before(position, item) for position in (1, 4)] == [drawn[1][:2], drawn[4][:2]]
    of_pool = Shots(pool, 2, "random", 7)
    assert of_pool.before(0, drawn[0][0]) == drawn[0][1:]


def test_the_first_shots_are_the_same_for_all_items():
    pool = [make_item(row, "harness") for row in make_rows(9)]
    shots = Shots(pool, 2, "first_n", 7)
    assert shots.before(0, pool[8]) == shots.before(5, pool[7]) == pool[:2]
    assert shots.before(6, pool[0]) == pool[1:3]


def test_spaces_at_the_end_of_a_context_move_to_the_continuation(causal_folder: Path):
    tokenizer = AutoTokenizer.from_pretrained(causal_folder)
    ((context, continuation),) = encode_pairs(tokenizer, [("A man is  ", "sitting")], "harness")
    assert tokenizer.decode(context) == "A man is"
    assert tokenizer.decode(continuation) == "  sitting"


def test_a_context_that_is_too_long_loses_its_left_end():
    assert fit([1, 2, 3, 4, 5], [6, 7], longest=4) == ([3, 4, 5], [6, 7])
    assert fit([1, 2, 3], [6, 7], longest=4) == ([1, 2, 3], [6, 7])
    assert fit([1, 2], [3, 4], longest=2) == ([2], [3, 4])


def test_endings_of_one_item_with_one_context_share_a_query():
    items = [[([1, 2], [3]), ([1, 2], [4, 5]), ([6], [3])], [([6], [4])], [([1, 2, 6], [7, 8])]]
    found = make_queries(items, longest=3)
    assert [(query.context.tolist(), [tokens.tolist() for tokens in query.continuations]) for query in found] == [
        ([1, 2], [[3], [4, 5]]),
        ([6], [[3]]),
        ([6], [[4]]),
        ([2, 6], [[7, 8]]),
    ]


@given(st.lists(st.integers(1, 90), max_size=60), st.integers(1, 200))
def test_batches_hold_each_index_once_and_fit(lengths: list[int], most: int):
    groups = list(group_by_length(lengths, most))
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= most


@pytest.mark.parametrize(("shots", "draw"), [(0, "random"), (4, "random"), (1, "first_n")])
@pytest.mark.parametrize("protocol", ["harness", "completion"])
def test_scores_equal_those_of_a_slow_implementation(
    causal_folder: Path, write_rows: Write, names: Names, protocol: str, shots: int, draw: str
):
    rows = make_rows(14)
    path = write_rows(rows)
    result = evaluate(causal_folder, path, names, protocol=protocol, shots=shots, draw=draw, held_out=5, seed=5)
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    model = AutoModelForCausalLM.from_pretrained(causal_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(causal_folder)

    def text_of(row: dict[str, Any]) -> str:
        if protocol == "completion":
            return row["ctx"]
        return f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}".strip()

    right, right_norm, cut = [], [], 0
    generator = random.Random(5)
    for place, row in enumerate(rows[:9] if shots else rows):
        drawn = rows[-5:][:shots] if draw == "first_n" else generator.sample(rows[-5:], shots + 1)[:shots]
        solved = "".join(f"{text_of(shot)} {shot['endings'][shot['label']]}\n\n" for shot in drawn)
        sums, lengths, is_cut = [], [], False
        for ending in row["endings"]:
            context = tokenizer(solved + text_of(row))["input_ids"]
            continuation = tokenizer(" " + ending)["input_ids"]
            is_cut |= len(context) + len(continuation) > 65
            sums.append(slow_sum(model, context[-(65 - len(continuation)) :], continuation))
            lengths.append(len(ending) if protocol == "harness" else len(continuation))
        cut += is_cut
        assert items[place]["row"] == place
        assert (items[place]["cut_tokens"] > 0) == is_cut
        assert items[place]["log_likelihoods"] == pytest.approx(sums, rel=1e-5)
        assert items[place]["lengths"] == lengths
        right.append(int(np.argmax(sums)) == row["label"])
        right_norm.append(int(np.argmax(np.divide(sums, lengths))) == row["label"])
    assert result["n"] == len(right)
    assert result["values"]["acc"]["value"] == np.mean(right)
    assert result["values"]["acc_norm"]["value"] == np.mean(right_norm)
    assert result["settings"]["cut_contexts"] == cut
    assert (cut > 0) == (shots == 4)


def test_each_level_has_its_own_scores(causal_folder: Path, write_rows: Write, names: Names):
    path = write_rows(make_rows(20))
    result = evaluate(causal_folder, path, names)
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    assert list(result["levels"]) == ["easy", "hard"]
    for level, scores in result["levels"].items():
        part = [item["correct"] for item in items if item["level"] == level]
        assert scores["n"] == len(part) == 10
        assert scores["acc"]["value"] == np.mean(part)


def test_items_without_a_level_give_no_levels(causal_folder: Path, write_rows: Write, names: Names):
    assert evaluate(causal_folder, write_rows([ROOF]), names)["levels"] == {}


def test_shots_come_from_the_rows_given_for_them(causal_folder: Path, write_rows: Write, names: Names):
    path, shots = write_rows(make_rows(6)), write_rows(make_rows(3), "shots.parquet")
    result = evaluate(causal_folder, path, names, shots=1, shots_rows=shots)
    assert result["n"] == 6
    assert "from the split 'shots', and every row of the scored split is an item" in result["protocol"]
    assert result["settings"]["shots_rows"] == str(shots)
    assert result["settings"]["shots_rows_sha256"] == sha256_file(shots)


def test_shots_from_the_same_split_are_said_to_be_held_out(causal_folder: Path, write_rows: Write, names: Names):
    result = evaluate(causal_folder, write_rows(make_rows(6)), names, shots=1, held_out=2)
    assert result["n"] == 4
    assert "from the split's own last 2 rows, not scored" in result["protocol"]


def test_of_few_rows_the_second_half_is_held_out_for_shots(causal_folder: Path, write_rows: Write, names: Names):
    result = evaluate(causal_folder, write_rows(make_rows(7)), names, shots=1)
    assert (result["n"], result["settings"]["held_out"]) == (4, 3)
    assert "from the split's own last 3 rows, not scored" in result["protocol"]


def test_too_few_rows_for_the_shots_are_an_error(causal_folder: Path, write_rows: Write, names: Names):
    path = write_rows(make_rows(6))
    with pytest.raises(InputError, match="3 rows to draw 3 shots from; it takes one more"):
        evaluate(causal_folder, path, names, shots=3)
    with pytest.raises(InputError, match="2 rows to draw 2 shots from; it takes one more"):
        evaluate(causal_folder, path, names, shots=2, held_out=2)


def test_a_limit_scores_the_first_items_and_draws_the_same_shots(causal_folder: Path, write_rows: Write, names: Names):
    path = write_rows(make_rows(12))
    whole = (
        pq.read_table(path.with_name("out.parquet"))
        if evaluate(causal_folder, path, names, shots=1, held_out=4)
        else None
    )
    evaluate(causal_folder, path, names, shots=1, held_out=4, limit=3)
    part = pq.read_table(path.with_name("out.parquet"))
    assert whole is not None
    assert part["id"].to_pylist() == whole["id"].to_pylist()[:3]
    assert np.array(part["log_likelihoods"].to_pylist()) == pytest.approx(
        np.array(whole["log_likelihoods"].to_pylist()[:3]), rel=1e-5
    )


def test_a_run_without_a_model_gives_null_and_its_reason(tmp_path: Path, write_rows: Write, names: Names):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/NONE.txt").write_text("the loss is not finite at step 8", encoding="utf-8")
    path = write_rows(make_rows(2))
    result = evaluate(tmp_path / "models/best", path, names)
    assert result["values"] is None
    assert result["reason"] == "the loss is not finite at step 8"
    assert pq.read_table(path.with_name("out.parquet")).num_rows == 0


# what doesn't fit

BEYOND = {**ROOF, "endings": ["goes home.", "kitchen garden ball " * 30, "takes a bath.", "is on a roof."], "label": 0}


@pytest.mark.parametrize("protocol", ["harness", "completion"])
def test_an_item_with_an_ending_longer_than_the_context_is_left_out_and_counted(
    causal_folder: Path, write_rows: Write, names: Names, protocol: str
):
    path = write_rows([ROOF, BEYOND, ROOF])
    result = evaluate(causal_folder, path, names, protocol=protocol)
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    length = max(items[1]["ending_tokens"])
    assert length > 64
    assert (result["n"], result["settings"]["unscored_items"]) == (2, 1)
    assert result["unscored"] == (
        f"row 1: ending 1 has {length} tokens, and the model takes 64; one item has an ending that can't be scored "
        "whole: left out"
    )
    assert [items[1][name] for name in ("log_likelihoods", "lengths", "chosen_norm", "correct")] == [None] * 4
    assert items[0]["log_likelihoods"] == items[2]["log_likelihoods"]
    alone = evaluate(causal_folder, write_rows([ROOF, ROOF], "alone.parquet"), names, protocol=protocol)
    assert result["values"] == alone["values"]


def test_where_no_item_fits_there_is_no_figure_and_both_lengths_are_named(
    causal_folder: Path, write_rows: Write, names: Names
):
    path = write_rows([BEYOND, BEYOND])
    result = evaluate(causal_folder, path, names)
    assert (result["n"], result["values"]) == (0, None)
    assert "row 0: ending 1 has " in result["reason"]
    assert " tokens, and the model takes 64; 2 items have an ending" in result["reason"]


def test_an_ending_that_is_as_long_as_the_context_is_scored_after_one_token(
    causal_folder: Path, write_rows: Write, names: Names
):
    tokenizer = AutoTokenizer.from_pretrained(causal_folder)
    ending = next(text for count in range(1, 200) if len(tokenizer(" " + (text := "x" * count))["input_ids"]) == 64)
    path = write_rows(
        [{**ROOF, "endings": [ending, "b", "c", "d"]}, {**ROOF, "endings": [ending + "x", "b", "c", "d"]}]
    )
    result = evaluate(causal_folder, path, names, protocol="completion")
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    assert (items[0]["ending_tokens"][0], items[1]["ending_tokens"][0]) == (64, 65)
    model = AutoModelForCausalLM.from_pretrained(causal_folder).eval()
    context = tokenizer(ROOF["ctx"])["input_ids"]
    alone = slow_sum(model, context[-1:], tokenizer(" " + ending)["input_ids"])
    assert items[0]["log_likelihoods"][0] == pytest.approx(alone, rel=1e-5)
    assert items[0]["cut_tokens"] == len(context) - 1
    assert items[1]["log_likelihoods"] is None
    assert result["settings"]["unscored_items"] == 1


def test_how_many_tokens_contexts_lost_is_stated(causal_folder: Path, write_rows: Write, names: Names):
    rows = [ROOF, {**ROOF, "ctx": "kitchen garden ball " * 40}]
    path = write_rows(rows)
    result = evaluate(causal_folder, path, names, protocol="completion")
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    tokenizer = AutoTokenizer.from_pretrained(causal_folder)
    lost = len(tokenizer(rows[1]["ctx"])["input_ids"]) + max(items[1]["ending_tokens"]) - 65
    assert [item["cut_tokens"] for item in items] == [0, lost]
    assert (result["settings"]["cut_contexts"], result["settings"]["cut_context_tokens"]) == (1, lost)


def test_an_empty_ending_is_one_character_long_and_scored(causal_folder: Path, write_rows: Write, names: Names):
    path = write_rows([{**ROOF, "endings": ["", "b", "c", "d"]}])
    evaluate(causal_folder, path, names, protocol="harness")
    (item,) = pq.read_table(path.with_name("out.parquet")).to_pylist()
    assert item["lengths"] == [1, 1, 1, 1]


def test_lengths_are_counted_in_code_points_as_in_the_harness(causal_folder: Path, write_rows: Write, names: Names):
    endings = ["e\N{COMBINING ACUTE ACCENT}t", "été", "中文", "🙂👍🏽"]
    path = write_rows([{**ROOF, "endings": endings}])
    evaluate(causal_folder, path, names, protocol="harness")
    (item,) = pq.read_table(path.with_name("out.parquet")).to_pylist()
    assert item["lengths"] == [3, 3, 2, 3]
