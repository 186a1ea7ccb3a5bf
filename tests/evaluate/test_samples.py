import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainyard.core.errors import InputError
from trainyard.evaluate.generation import continue_prompts
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.run import run
from trainyard.evaluate.samples import Settings, select_prompts

Write = Callable[..., Path]
ROWS = [
    {"text": "Too short."},
    {"text": "Ada is in the kitchen. Ben took the red ball to the garden, and then he went home."},
    {"text": "  A man <b>is</b>\nsitting on a roof & he starts pulling up roofing."},
    {"text": "The dog is running around, trying to avoid a bath."},
]


def sampled(folder: Path, rows: Path, names: Names, **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    output = rows.with_name("out.json")
    run("samples", folder, rows, {"prompt_words": 3, "new_tokens": 9, **settings}, output, names)
    return json.loads(output.read_text(encoding="utf-8")), pq.read_table(output.with_suffix(".parquet")).to_pylist()


def test_the_first_long_documents_are_continued_beside_how_they_go_on(
    causal_folder: Path, write_rows: Write, names: Names
):
    result, items = sampled(causal_folder, write_rows(ROWS), names, prompts=2)
    assert [(item["row"], item["prompt"]) for item in items] == [(1, "Ada is in"), (2, "  A man <b>is</b>")]
    for item in items:
        text = ROWS[item["row"]]["text"].removeprefix(item["prompt"])
        assert item["target"]
        assert text.startswith(item["target"])
        assert item["target"][0].isspace()
        assert 0 <= item["new_tokens"] <= 9
    assert (result["metric"], result["values"], result["reason"], result["n"]) == ("samples", None, None, 2)
    assert result["settings"]["temperature"] == 0


def test_greedy_text_is_what_transformers_generates(causal_folder: Path, write_rows: Write, names: Names):
    _, items = sampled(causal_folder, write_rows(ROWS), names, batch=1)
    model: Any = AutoModelForCausalLM.from_pretrained(causal_folder)
    tokenizer = AutoTokenizer.from_pretrained(causal_folder)
    for item in items:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(item["prompt"], add_special_tokens=False).input_ids]])
        with torch.no_grad():
            output = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False, pad_token_id=0
            )
        assert item["prompt_tokens"] == ids.shape[1]
        assert item["prediction"] == tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_prompt_in_a_batch_is_continued_as_it_is_alone(causal_folder: Path, temperature: float):
    model = AutoModelForCausalLM.from_pretrained(causal_folder).eval()
    prompts = [[5, 6, 7], [8, 9], [10, 11, 12], [13, 14], [15, 16, 17]]
    together = continue_prompts(model, prompts, 12, ends=(), temperature=temperature, seeds=range(5))
    assert together == continue_prompts(model, prompts, 12, ends=(), temperature=temperature, seeds=range(5), batch=1)
    assert {len(tokens) for tokens in together} == {12}


def test_the_seed_decides_what_is_drawn(causal_folder: Path, write_rows: Write, names: Names):
    path = write_rows(ROWS)
    first = sampled(causal_folder, path, names, temperature=1.0, seed=1)
    assert first == sampled(causal_folder, path, names, temperature=1.0, seed=1)
    assert first[1] != sampled(causal_folder, path, names, temperature=1.0, seed=2)[1]


def test_a_text_ends_with_its_end_token(causal_folder: Path):
    model = AutoModelForCausalLM.from_pretrained(causal_folder).eval()
    (whole,) = continue_prompts(model, [[5, 6]], 12, ends=(), seeds=[1])
    (cut,) = continue_prompts(model, [[5, 6]], 12, ends={whole[4], 999}, seeds=[1])
    assert cut == whole[: whole.index(whole[4])]


def test_a_prompt_that_does_not_fit_loses_its_left_end_and_says_how_much(
    causal_folder: Path, write_rows: Write, names: Names
):
    _, whole = sampled(causal_folder, write_rows(ROWS), names)
    room = min(item["prompt_tokens"] for item in whole) - 1
    result, items = sampled(causal_folder, write_rows(ROWS), names, new_tokens=64 - room)
    assert [item["prompt_tokens"] for item in items] == [room] * len(whole)
    lost = [item["prompt_tokens"] - room for item in whole]
    assert [item["cut_tokens"] for item in items] == lost
    assert (result["settings"]["cut_prompts"], result["settings"]["cut_prompt_tokens"]) == (len(whole), sum(lost))


def test_no_room_for_a_prompt_is_refused(causal_folder: Path, write_rows: Write, names: Names):
    with pytest.raises(InputError, match=r"samples: new_tokens 64: .* takes 64 tokens, prompt included"):
        sampled(causal_folder, write_rows(ROWS), names, new_tokens=64)


def test_rows_that_are_all_too_short_give_no_texts_and_say_why(causal_folder: Path, write_rows: Write, names: Names):
    result, items = sampled(causal_folder, write_rows(ROWS), names, prompt_words=30)
    assert (result["n"], items) == (0, [])
    assert result["reason"] == "none of the first 4 rows continues after 30 words; make prompt_words smaller"


@pytest.mark.parametrize(
    ("text", "prompt", "rest"),
    [
        ("one two three four", "one two three", " four"),
        (" one  two\nthree four", " one  two\nthree", " four"),
        ("one, two- three. Four", "one, two- three.", " Four"),
        ("北京在下雨。上海", "北京在", "下雨。上海"),
        ("你好。世界", "你好。世", "界"),
        ("用 ABC 公司的车", "用 ABC 公", "司的车"),
        ("สวัสดีครับ", "สวัส", "ดีครับ"),
        ("привет как дела друг", "привет как дела", " друг"),
        ("हिन्दी में लिखा गया", "हिन्दी में लिखा", " गया"),
    ],
)
def test_a_prompt_ends_with_a_word_or_with_a_character_where_there_are_no_spaces(text: str, prompt: str, rest: str):
    settings = Settings.model_validate({"prompt_words": 3})
    assert select_prompts([text, "too short"], settings) == [(0, prompt, rest)]


def test_a_sequence_to_sequence_model_is_refused(bart_folder: Path, write_rows: Write, names: Names):
    with pytest.raises(InputError, match="needs a causal model"):
        sampled(bart_folder, write_rows(ROWS), names)


def test_a_run_without_a_model_gives_its_reason_and_no_texts(tmp_path: Path, write_rows: Write, names: Names):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/NONE.txt").write_text("diverged: at step 3", encoding="utf-8")
    result, items = sampled(tmp_path / "models/best", write_rows(ROWS), names)
    assert (result["values"], result["reason"], items) == (None, "diverged: at step 3", [])


def test_a_step_that_a_run_never_reached_is_named_with_what_there_is(
    causal_folder: Path, write_rows: Write, names: Names
):
    with pytest.raises(InputError, match=r"step-900: the run kept no such model, but best; did it end before"):
        sampled(causal_folder.with_name("step-900"), write_rows(ROWS), names)
