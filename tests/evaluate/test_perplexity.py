import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainyard.config.catalogue import BytesTokenizer
from trainyard.core.errors import InputError
from trainyard.data.tokenize import Encoder
from trainyard.data.tokenizers import make_tokenizer
from trainyard.evaluate.encoding import encode, encode_as_harness
from trainyard.evaluate.model import load_tokenizer
from trainyard.evaluate.perplexity import rolling_windows
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.run import run

TEXTS = [
    "Ada is in the kitchen. " * 12,
    "",
    "Ben took the red ball to the garden, and then he went home.",
    "é",
    "A woman is outside with a bucket and a dog. " * 5,
]
WORDS, BYTES = 60 + 13 + 1 + 50, 12 * 23 + 59 + 2 + 5 * 44

Write = Callable[..., Path]


def brute_force(folder: Path, text: str, context: int, stride: int) -> tuple[float, int]:
    """The log-likelihood of a text, one token and one forward pass at a time, and its tokens."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]
    total = 0.0
    for position in range(1, len(ids)):
        end = context + 1  # one past the last target of the window that scores this position
        while position >= end:
            end += stride
        begin = max(0, min(end, len(ids)) - context - 1)
        with torch.no_grad():
            logits = model(torch.tensor([ids[begin:position]])).logits[0, -1]
        total += float(logits.double().log_softmax(-1)[ids[position]])
    return total, len(ids) - 1


def evaluate(folder: Path, rows: Path, names: Names, **settings: object) -> dict:
    output = rows.with_name("out.json")
    run("perplexity", folder, rows, settings, output, names)
    return json.loads(output.read_text(encoding="utf-8"))


@pytest.fixture
def rows(write_rows: Write) -> Path:
    return write_rows([{"text": text} for text in TEXTS])


@pytest.mark.parametrize(("context", "stride"), [(16, 4), (16, 16), (64, 1), (1, 1)])
def test_windows_score_what_a_loop_over_single_tokens_scores(
    causal_folder: Path, rows: Path, names: Names, context: int, stride: int
):
    result = evaluate(causal_folder, rows, names, context=context, stride=stride)
    expected = {row: brute_force(causal_folder, TEXTS[row], context, stride) for row in (0, 2, 3, 4)}
    items = pq.read_table(rows.with_name("out.parquet")).to_pylist()
    assert [item["row"] for item in items] == list(expected)
    assert [item["tokens"] for item in items] == [count for _, count in expected.values()]
    assert [item["log_likelihood"] for item in items] == pytest.approx(
        [sum_ for sum_, _ in expected.values()], rel=1e-5
    )
    loss, tokens = -sum(total for total, _ in expected.values()), sum(count for _, count in expected.values())
    values = {name: part["value"] for name, part in result["values"].items()}
    assert result["n"] == 4
    assert result["counts"] == {"tokens": tokens, "words": WORDS, "bytes": BYTES}
    assert values == pytest.approx(
        {
            "loss_token": loss / tokens,
            "perplexity_token": math.exp(loss / tokens),
            "perplexity_word": math.exp(loss / WORDS),
            "perplexity_byte": math.exp(loss / BYTES),
            "bits_per_byte": loss / BYTES / math.log(2),
        },
        rel=1e-4,
    )


def test_a_perplexity_that_no_number_holds_is_left_out(causal_folder: Path, write_rows: Write, names: Names):
    """A document without a space is one word; e to the loss of 600 tokens is beyond a float."""
    path = write_rows([{"text": "Ada" * 900}] * 2)
    result = evaluate(causal_folder, path, names)
    assert result["values"]["perplexity_word"]["value"] is None
    assert result["values"]["perplexity_word"]["reason"] == result["reason"] == "too large for a number"
    others = ("loss_token", "perplexity_token", "perplexity_byte", "bits_per_byte")
    assert all(result["values"][name]["value"] > 0 for name in others)


@given(st.integers(1, 300), st.integers(1, 40), st.data())
def test_each_token_is_scored_once_with_enough_context(length: int, context: int, data: st.DataObject):
    stride = data.draw(st.integers(1, context))
    scored: list[int] = []
    for begin, end, count in rolling_windows(length, context, stride):
        assert 0 < count <= end - begin - 1 <= context
        assert begin == 0 or end - count - begin > context - stride
        scored.extend(range(end - count, end))
    assert scored == list(range(1, length))


def test_the_size_of_the_batch_changes_nothing_but_rounding(causal_folder: Path, rows: Path, names: Names):
    one = evaluate(causal_folder, rows, names, context=16, stride=8, batch_tokens=1)
    many = evaluate(causal_folder, rows, names, context=16, stride=8, batch_tokens=4096)
    assert one["values"]["loss_token"] == pytest.approx(many["values"]["loss_token"], rel=1e-5)


def test_the_same_evaluation_twice_is_the_same_file(causal_folder: Path, rows: Path, names: Names):
    assert evaluate(causal_folder, rows, names) == evaluate(causal_folder, rows, names)


def test_the_result_says_what_was_done(causal_folder: Path, rows: Path, names: Names):
    result = evaluate(causal_folder, rows, names, limit=3)
    assert {key: result[key] for key in ("study", "run", "evaluation", "checkpoint", "metric", "dataset", "split")} == {
        "study": "demo",
        "run": "tiny",
        "evaluation": "an-evaluation",
        "checkpoint": "best",
        "metric": "perplexity",
        "dataset": "a-dataset",
        "split": "validation",
    }
    assert result["n"] == 2
    assert result["settings"]["context"] == 64
    assert result["settings"]["stride"] == 32
    assert result["settings"]["dtype"] == "float32"
    assert "conditioned on '<|endoftext|>'" in result["protocol"]


def test_one_document_has_no_standard_error(causal_folder: Path, write_rows: Write, names: Names):
    result = evaluate(causal_folder, write_rows([{"text": TEXTS[0]}]), names)
    assert result["n"] == 1
    assert result["values"]["perplexity_token"]["standard_error"] is None


def test_without_a_start_token_the_first_token_is_not_scored(
    tmp_path: Path, causal_folder: Path, write_rows: Write, names: Names
):
    folder = tmp_path / "best"
    shutil.copytree(causal_folder, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.bos_token = tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    count = len(tokenizer(TEXTS[2])["input_ids"])
    rows = write_rows([{"text": TEXTS[2]}, {"text": "A"}])
    result = evaluate(folder, rows, names)
    assert result["counts"] == {"tokens": count - 1, "words": 14, "bytes": 60}
    assert result["settings"]["start_token"] is None
    assert "no start token" in result["protocol"]
    with pytest.raises(InputError, match="no token can be scored"):
        evaluate(folder, write_rows([{"text": "A"}]), names)


def test_a_run_without_a_model_gives_null_and_its_reason(tmp_path: Path, rows: Path, names: Names):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/NONE.txt").write_text("out of memory at step 3\n", encoding="utf-8")
    result = evaluate(tmp_path / "models/best", rows, names)
    assert result["values"] is None
    assert result["reason"] == "out of memory at step 3"
    assert pq.read_table(rows.with_name("out.parquet")).num_rows == 0


def test_a_model_that_is_not_finite_gives_null_and_says_so(
    tmp_path: Path, causal_folder: Path, rows: Path, names: Names
):
    model = AutoModelForCausalLM.from_pretrained(causal_folder)
    model.get_parameter("transformer.ln_f.weight").data[0] = math.nan
    model.save_pretrained(tmp_path / "best")
    AutoTokenizer.from_pretrained(causal_folder).save_pretrained(tmp_path / "best")
    result = evaluate(tmp_path / "best", rows, names)
    assert result["values"] is None
    assert "not finite" in result["reason"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"context": 65}, "takes 64 tokens at most"), ({"context": 8, "stride": 9}, "stride 9: no more than the context")],
)
def test_settings_that_do_not_fit_the_model_are_named(
    causal_folder: Path, rows: Path, names: Names, settings: dict[str, int], message: str
):
    with pytest.raises(InputError, match=message):
        evaluate(causal_folder, rows, names, **settings)


def test_bad_rows_are_named(tmp_path: Path, causal_folder: Path, write_rows: Write, names: Names):
    with pytest.raises(InputError, match=r"missing\.parquet: no such file"):
        evaluate(causal_folder, tmp_path / "missing.parquet", names)
    with pytest.raises(InputError, match="no column text; it has id"):
        evaluate(causal_folder, write_rows([{"id": "1"}]), names)
    with pytest.raises(InputError, match="no row has any text"):
        evaluate(causal_folder, write_rows([{"text": " \n"}]), names)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(write_rows([{"text": "a"}]).read_bytes()[:-9])
    with pytest.raises(InputError, match=r"damaged\.parquet: not a readable Parquet file"):
        evaluate(causal_folder, damaged, names)


def test_models_of_another_kind_are_refused(bart_folder: Path, tmp_path: Path, rows: Path, names: Names):
    with pytest.raises(InputError, match="needs a causal model"):
        evaluate(bart_folder, rows, names)
    with pytest.raises(InputError, match=r"no config\.json"):
        evaluate(tmp_path / "nowhere", rows, names)


def test_weights_that_could_execute_code_are_not_loaded(tmp_path: Path, causal_folder: Path, rows: Path, names: Names):
    model = AutoModelForCausalLM.from_pretrained(causal_folder)
    model.config.save_pretrained(tmp_path / "best")
    torch.save(model.state_dict(), tmp_path / "best/pytorch_model.bin")
    with pytest.raises(InputError, match="cannot load the model"):
        evaluate(tmp_path / "best", rows, names)


# text without spaces

CHINESE = "国务院批准了新的预算。总理主持了会议，并且讲话。"


@pytest.mark.parametrize("protocol", ["rolling", "harness"])
def test_text_without_spaces_has_no_perplexity_a_word(
    causal_folder: Path, write_rows: Write, names: Names, protocol: str
):
    path = write_rows([{"text": CHINESE}, {"text": CHINESE[::-1]}])
    result = evaluate(causal_folder, path, names, protocol=protocol)
    word = result["values"]["perplexity_word"]
    assert word["value"] is word["standard_error"] is word["low"] is word["high"] is None
    assert word["reason"] == result["reason"]
    assert word["reason"].startswith("42 of the 42 letters are of scripts that put no space between words")
    assert result["values"]["perplexity_byte"]["value"] > 1
    assert result["settings"]["unspaced_letters"] == 42
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    assert [(item["letters"], item["unspaced_letters"]) for item in items] == [(21, 21)] * 2


def test_a_few_characters_of_such_a_script_leave_words_their_meaning(
    causal_folder: Path, write_rows: Write, names: Names
):
    path = write_rows([{"text": "Beijing (北京) is the capital of China."}, {"text": "Ada went home."}])
    result = evaluate(causal_folder, path, names)
    assert result["values"]["perplexity_word"]["value"] > 1
    assert (result["settings"]["unspaced_letters"], result["reason"]) == (2, None)


def test_documents_longer_than_the_context_are_counted(causal_folder: Path, write_rows: Write, names: Names):
    path = write_rows([{"text": "Ada went home. " * 40}, {"text": "Ada went home."}])
    assert evaluate(causal_folder, path, names)["settings"]["documents_beyond_context"] == 1


def test_the_name_of_a_special_token_is_text_as_in_training_and_a_token_to_the_harness(tmp_path: Path) -> None:
    entry = BytesTokenizer(title="Bytes", kind="bytes", vocabulary=260)
    make_tokenizer("bytes", entry, tmp_path / "tokenizer")
    loaded = load_tokenizer(tmp_path / "tokenizer")
    text = "a <|endoftext|> b"
    assert encode(loaded, [text]) == Encoder(tmp_path / "tokenizer").documents([text])
    assert len(encode(loaded, [text])[0]) == len(text)
    assert len(encode_as_harness(loaded, [text])[0]) < len(text)


def test_documents_with_unknown_tokens_are_counted(
    causal_folder: Path, write_rows: Write, names: Names, tmp_path: Path
) -> None:
    folder = shutil.copytree(causal_folder, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first, *rest = tokenizer.tokenize("Ada went home.")
    assert first not in rest
    path = write_rows([{"text": "Ada went home."}, {"text": "went home."}])
    counts = ("documents_with_unknown", "unknown_tokens")
    assert [evaluate(folder, path, names)["settings"][name] for name in counts] == [0, 0]
    tokenizer.unk_token = first
    tokenizer.save_pretrained(folder)
    assert [evaluate(folder, path, names)["settings"][name] for name in counts] == [1, 1]
