import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from rouge_score.rouge_scorer import RougeScorer
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from trainyard.config.protocols import SEPARATOR, uses_stemmer
from trainyard.config.study import Rouge
from trainyard.core.errors import InputError
from trainyard.evaluate import pair_encoding
from trainyard.evaluate.encoding import encode
from trainyard.evaluate.generation import Search, continue_prompts, generate, reaches_limit
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.rouge import KINDS, is_scorable, score
from trainyard.evaluate.run import run

Write = Callable[..., Path]
PAIRS = [
    {
        "id": "a",
        "source": "Ada: Where is the ball?\nBen: In the garden. I took it there.\nAda: Thank you!",
        "target": "Ben took the ball to the garden. Ada thanks him.",
    },
    {"id": "b", "source": "A man is sitting on a roof.", "target": "A man sits on a roof."},
    {"id": "c", "source": "The dog is running around. " * 9, "target": "A dog runs."},
]


def evaluate(folder: Path, rows: Path, names: Names, **settings: object) -> dict[str, Any]:
    output = rows.with_name("out.json")
    run("rouge", folder, rows, {"source_length": 48, "max_length": 20, "resamples": 50, **settings}, output, names)
    return json.loads(output.read_text(encoding="utf-8"))


def test_rouge_l_and_lsum_differ_where_sentences_are_in_another_order():
    target, prediction = "Ada went home. Ben took the ball.", "Ben took the ball. Ada went home."
    _, _, longest, by_sentence = score([prediction], [target], stemmer=True)[0]
    assert longest == pytest.approx(100 * 4 / 7)
    assert by_sentence == pytest.approx(100)


@pytest.mark.parametrize("stemmer", [True, False])
def test_scores_equal_those_of_rouge_score_to_the_last_digit(stemmer: bool):
    predictions = ["Ben has taken the balls to a garden.\nAda thanked.", "", "The dogs are running."]
    targets = ["Ben took the ball to the garden.\nAda thanks him.", "A man sits on a roof.", "A dog runs."]
    scorer = RougeScorer(list(KINDS), use_stemmer=stemmer)
    expected = [
        [100 * scorer.score(target, prediction)[kind].fmeasure for kind in KINDS]
        for target, prediction in zip(targets, predictions, strict=True)
    ]
    assert score(predictions, targets, stemmer).tolist() == expected


def test_words_are_stemmed_unless_told():
    assert score(["dogs running"], ["dog runs"], stemmer=True)[0, 0] == 100
    assert score(["dogs running"], ["dog runs"], stemmer=False)[0, 0] == 0


def test_summaries_are_generated_scored_and_set_beside_lead_3(bart_folder: Path, write_rows: Write, names: Names):
    path = write_rows(PAIRS)
    result = evaluate(bart_folder, path, names, beams=2, batch=2, source_length=40)
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    scores = score([item["prediction"] for item in items], [pair["target"] for pair in PAIRS], stemmer=True)
    lead = score(
        [
            "Ada: Where is the ball?\nBen: In the garden.\nI took it there.",
            PAIRS[1]["source"],
            "The dog is running around. " * 3,
        ],
        [pair["target"] for pair in PAIRS],
        stemmer=True,
    )
    assert result["n"] == 3
    assert [item["id"] for item in items] == ["a", "b", "c"]
    for column, kind in enumerate(KINDS):
        assert result["values"][kind]["value"] == scores[:, column].mean()
        assert result["baselines"]["lead3"][kind]["value"] == lead[:, column].mean()
        assert [item[f"lead3_{kind}"] for item in items] == lead[:, column].tolist()
        lead3 = result["baselines"]["lead3"][kind]
        assert lead3["low"] <= lead3["value"] <= lead3["high"]
    assert result["settings"]["cut_sources"] == 2
    assert result["settings"]["stemmer"] is True


@pytest.mark.parametrize("folder", ["bart_folder", "t5_folder"])
def test_a_summary_in_a_batch_is_the_one_generated_alone(
    folder: str, write_rows: Write, names: Names, request: pytest.FixtureRequest
):
    model_folder = request.getfixturevalue(folder)
    path = write_rows(PAIRS)
    evaluate(model_folder, path, names, beams=3, batch=3, prefix="summarize: ", min_length=5, no_repeat_ngram=2)
    predictions = pq.read_table(path.with_name("out.parquet"))["prediction"].to_pylist()
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)
    for pair, prediction in zip(PAIRS, predictions, strict=True):
        ids = tokenizer("summarize: " + pair["source"], truncation=True, max_length=48, return_tensors="pt")[
            "input_ids"
        ]
        with torch.no_grad():
            output = model.generate(
                ids,
                num_beams=3,
                min_length=5,
                max_length=20,
                no_repeat_ngram_size=2,
                early_stopping=True,
                do_sample=False,
            )
        assert prediction == tokenizer.decode(output[0], skip_special_tokens=True).strip()


def test_sources_are_as_long_as_the_model_takes_unless_told(
    bart_folder: Path, t5_folder: Path, write_rows: Write, names: Names
):
    path = write_rows(PAIRS)
    assert evaluate(bart_folder, path, names, source_length=None)["settings"]["source_length"] == 64
    assert evaluate(t5_folder, path, names, source_length=None)["settings"]["source_length"] == 512


def test_greedy_generation_needs_no_beams(bart_folder: Path, write_rows: Write, names: Names):
    assert evaluate(bart_folder, write_rows(PAIRS), names, beams=1)["n"] == 3


def test_lengths_and_blocked_repeats_bound_what_is_generated(bart_folder: Path):
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(bart_folder), AutoTokenizer.from_pretrained(bart_folder)
    search = Search(beams=2, min_length=9, max_length=14, no_repeat_ngram=2, length_penalty=1.0, early_stopping=True)
    sources = tokenizer([pair["source"][:60] for pair in PAIRS])["input_ids"]
    for ids in generate(model, sources, search, [tokenizer.eos_token_id], batch=2):
        summary = ids[: ids.index(tokenizer.eos_token_id, 1) + 1]
        assert 9 <= len(summary) <= 14
        assert len(set(itertools.pairwise(summary))) == len(summary) - 1


def test_the_same_evaluation_twice_is_the_same_file(bart_folder: Path, write_rows: Write, names: Names):
    path = write_rows(PAIRS)
    first, second = (evaluate(bart_folder, path, names) for _ in range(2))
    assert first.pop("generation").keys() == second.pop("generation").keys()  # the clock's
    assert first == second


@pytest.mark.parametrize("beams", [1, 3])
def test_a_causal_model_goes_on_after_source_and_separator(
    causal_folder: Path, write_rows: Write, names: Names, beams: int
):
    path = write_rows(PAIRS)
    result = evaluate(
        causal_folder, path, names, beams=beams, source_length=20, min_length=5, max_length=12, no_repeat_ngram=2
    )
    assert (result["settings"]["separator"], result["settings"]["source_length"]) == (SEPARATOR, 20)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(causal_folder), AutoTokenizer.from_pretrained(causal_folder)
    model.eval()
    end = tokenizer.eos_token_id
    predictions = [item["prediction"] for item in pq.read_table(path.with_name("out.parquet")).to_pylist()]
    for pair, prediction in zip(PAIRS, predictions, strict=True):
        source, separator = encode(tokenizer, [pair["source"], SEPARATOR])
        search = Search(beams, 5, 12, no_repeat_ngram=2, length_penalty=1.0, early_stopping=True)
        alone = generate(model, [[end, *source[:20], *separator]], search, [end], batch=1)
        assert prediction == tokenizer.decode(alone[0][1:], skip_special_tokens=True).strip()
        assert len(set(itertools.pairwise(alone[0][1:]))) == len(alone[0][1:]) - 1  # repeats of the source are none


def test_the_end_of_the_separator_is_no_part_of_a_summary(
    causal_folder: Path, write_rows: Write, names: Names, monkeypatch: pytest.MonkeyPatch
):
    """Tokenizers such as LLaMA 3's have one token for the colon and the line's end."""
    path = write_rows(PAIRS)
    monkeypatch.setattr(pair_encoding, "SEPARATOR", "\nTL;DR:")
    evaluate(causal_folder, path, names, beams=1, source_length=20, min_length=0, max_length=2)
    predictions = pq.read_table(path.with_name("out.parquet"))["prediction"].to_pylist()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(causal_folder), AutoTokenizer.from_pretrained(causal_folder)
    for pair, prediction in zip(PAIRS, predictions, strict=True):
        source, separator = encode(tokenizer, [pair["source"], "\nTL;DR:"])
        tokens = torch.tensor([[tokenizer.eos_token_id, *source[:20], *separator]])
        with torch.no_grad():
            likeliest = model.eval()(tokens).logits[0, -1].argmax()
        assert prediction == tokenizer.decode([likeliest], skip_special_tokens=True).strip()


def test_greedy_search_of_a_causal_model_is_its_likeliest_next_tokens(causal_folder: Path):
    model = AutoModelForCausalLM.from_pretrained(causal_folder).eval()
    search = Search(beams=1, min_length=0, max_length=6, no_repeat_ngram=0, length_penalty=1.0, early_stopping=True)
    sources = [[5, 6, 7, 8], [9, 10]]
    expected = continue_prompts(model, sources, 5, ends=[3], seeds=[0, 0])
    for ids, tokens in zip(generate(model, sources, search, [3], batch=2), expected, strict=True):
        assert ids[1 : len(tokens) + 1] == tokens
        assert set(ids[len(tokens) + 1 :]) <= {0, 3}


def test_source_separator_and_summary_share_the_positions_of_a_causal_model(
    causal_folder: Path, write_rows: Write, names: Names
):
    path = write_rows(PAIRS)
    result = evaluate(causal_folder, path, names, source_length=None, max_length=20)
    context = AutoModelForCausalLM.from_pretrained(causal_folder).config.max_position_embeddings
    assert result["settings"]["source_length"] == context - 20 - len(SEPARATOR)
    with pytest.raises(InputError, match=f"max_length {context}: leaves no room for a source"):
        evaluate(causal_folder, path, names, source_length=None, max_length=context)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source_length": 65}, "source_length 65: .* takes 64 tokens at most"),
        ({"max_length": 65}, "max_length 65: .* takes 64 tokens at most"),
        ({"min_length": 21}, "min_length 21: no more than max_length, 20"),
    ],
)
def test_lengths_that_do_not_fit_are_named(
    bart_folder: Path, write_rows: Write, names: Names, settings: dict[str, int], message: str
):
    with pytest.raises(InputError, match=message):
        evaluate(bart_folder, write_rows(PAIRS), names, **settings)


def test_a_run_without_a_model_gives_null_and_its_reason(tmp_path: Path, write_rows: Write, names: Names):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/NONE.txt").write_text("zero3 needs deepspeed", encoding="utf-8")
    path = write_rows(PAIRS)
    result = evaluate(tmp_path / "models/best", path, names)
    assert result["values"] is None
    assert result["reason"] == "zero3 needs deepspeed"
    assert np.array_equal(pq.read_table(path.with_name("out.parquet")).shape, (0, 17))


# beyond English

LANGUAGES = [
    "Правительство утвердило новый бюджет на 2024 год.",
    "国务院批准了新的预算。总理主持了会议。",
    "وافقت الحكومة على الميزانية الجديدة.",
    "सरकार ने नया बजट पारित किया।",
    "รัฐบาลอนุมัติงบประมาณใหม่",
    "政府は新しい予算を承認した。",
    "정부가 새 예산을 승인했다.",
    "\N{GREEK CAPITAL LETTER ETA} κυβέρνηση ενέκρινε τον προϋπολογισμό.",
    "הממשלה אישרה את התקציב החדש.",
]


@pytest.mark.parametrize("text", LANGUAGES)
def test_a_summary_of_any_language_is_like_itself_under_the_unicode_tokenizer_alone(text: str):
    assert score([text], [text], stemmer=False, tokenizer="unicode").tolist() == [[100.0] * 4]
    assert np.isnan(score([text], [text], stemmer=True, tokenizer="ascii")).all()


def test_english_without_marks_scores_alike_under_both_tokenizers():
    texts = ["Ben took the ball to the garden. Ada went home."], ["Ada went home. Ben took 2 balls."]
    assert np.array_equal(score(*texts, stemmer=False, tokenizer="unicode"), score(*texts, stemmer=False))


def test_characters_are_compared_where_a_script_has_no_spaces():
    ((one, two, *_),) = score(["北京下雨"], ["北京下雪"], stemmer=False, tokenizer="unicode")
    assert (one, two) == pytest.approx((100 * 3 / 4, 100 * 2 / 3))


def test_a_target_that_keeps_half_of_its_letters_is_scored():
    assert is_scorable("Łódź is a city in Poland", "ascii")
    assert not is_scorable("ВВП вырос на 2023", "ascii")
    assert not is_scorable("…", "unicode")
    assert not is_scorable("", "unicode")


def pairs_of(*targets: str) -> list[dict[str, Any]]:
    return [{"id": str(row), "source": target, "target": target} for row, target in enumerate(targets)]


def test_rows_without_a_scorable_target_are_counted_and_left_out(bart_folder: Path, write_rows: Write, names: Names):
    path = write_rows(pairs_of("Ada went home.", LANGUAGES[0], "", "Ben took a ball."))
    result = evaluate(bart_folder, path, names)
    assert result["n"] == 2
    assert result["settings"]["unscored_targets"] == 2
    assert result["baselines"]["lead3"]["rouge1"]["value"] == 100
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    assert [item["lead3_rouge1"] for item in items] == [100, None, None, 100]
    assert [(item["letters"], item["kept_letters"]) for item in items] == [(11, 11), (42, 4), (0, 0), (12, 12)]


def test_where_no_target_can_be_scored_every_figure_says_why_and_what_to_do(
    bart_folder: Path, write_rows: Write, names: Names
):
    path = write_rows(pairs_of(*LANGUAGES))
    result = evaluate(bart_folder, path, names)
    assert result["n"] == 0
    assert result["settings"]["unscored_targets"] == len(LANGUAGES)
    for figure in (*result["values"].values(), *result["baselines"]["lead3"].values()):
        assert figure["value"] is figure["standard_error"] is figure["low"] is figure["high"] is None
        assert figure["reason"] == result["reason"]
    assert result["reason"].startswith("the tokenizer ascii keeps 4 of the ")
    assert result["reason"].endswith("set `tokenizer: unicode` under `rouge`")
    result = evaluate(bart_folder, path, names, tokenizer="unicode")
    assert (result["n"], result["reason"]) == (len(LANGUAGES), None)
    assert result["baselines"]["lead3"]["rouge1"]["value"] == 100
    assert (result["settings"]["tokenizer"], result["settings"]["stemmer"]) == ("unicode", False)
    assert "on words of any script, single characters where it puts no space" in result["protocol"]


def test_what_was_cut_is_counted_with_its_tokens(bart_folder: Path, write_rows: Write, names: Names):
    path = write_rows(PAIRS)
    result = evaluate(bart_folder, path, names, source_length=40, max_length=8)
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    tokenizer = AutoTokenizer.from_pretrained(bart_folder)
    lost = [max(0, len(tokenizer(pair["source"])["input_ids"]) - 40) for pair in PAIRS]
    assert [item["cut_tokens"] for item in items] == lost
    assert result["settings"]["cut_sources"] == sum(each > 0 for each in lost) == 2
    assert result["settings"]["cut_source_tokens"] == sum(lost)
    assert result["settings"]["cut_predictions"] == sum(item["cut_prediction"] for item in items)
    assert [item["long_target"] for item in items] == [
        len(tokenizer(pair["target"])["input_ids"]) > 8 for pair in PAIRS
    ]
    assert result["settings"]["long_targets"] == 3


def test_a_summary_that_ends_itself_is_not_cut():
    end, pad = 2, 1
    assert not reaches_limit([end, 9, 9, end, pad, pad], [end], 6)
    assert reaches_limit([end, 9, 9, 9, 9, end], [end], 6)  # the forced end
    assert reaches_limit([end, 9, 9, 9, 9, 9], [end], 6)


def test_porters_stemmer_is_refused_beside_a_tokenizer_of_every_language():
    with pytest.raises(ValidationError, match="stemmer: Porter's is for English only; leave it out"):
        Rouge.model_validate({"tokenizer": "unicode", "stemmer": True})
    assert [uses_stemmer("ascii", None), uses_stemmer("unicode", None), uses_stemmer("ascii", False)] == [
        True,
        False,
        False,
    ]
