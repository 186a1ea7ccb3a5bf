from typing import Any

import yaml

from trainyard.core.code_versions import CodeVersion
from trainyard.models.model_card import render_model_card

from .conftest import MODELS


def specification(**changed: Any) -> dict[str, Any]:
    return {
        "study": "demo",
        "run": "gpt2-tiny_ddp",
        "task": "language-modelling",
        "dataset": "tinyworld-stories",
        "model": {"name": "gpt2-tiny", **MODELS["gpt2-tiny"].model_dump(mode="json")},
        "parallel": {"name": "ddp"},
        "processes": 2,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "recipe": "base",
        "seed": 1,
        "train": {"initial": "scratch", "learning_rate": 1e-3, "tokens": 2_000_000, "max_grad_norm": None},
        **changed,
    }


def header(card: str) -> dict[str, Any]:
    _, text, body = card.split("---\n", 2)
    assert body.startswith("\n# ") or body.startswith("# ")
    return yaml.safe_load(text)


def test_the_header_is_what_the_hub_reads() -> None:
    card = render_model_card(specification(), 500, {"validation loss": 1.234567}, dataset={"source": "org/set"})
    assert header(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["trainyard", "gpt2", "ddp"],
        "datasets": ["org/set"],
    }
    assert "| validation loss | 1.23457 |" in card
    assert "| learning\\_rate | 0.001 |" in card
    assert "| layers | 2 |" in card
    assert "for 500 steps" in card
    assert "max_grad_norm" not in card


def test_versions_of_the_code_are_named_if_there_were_several() -> None:
    versions = [CodeVersion(1, "a" * 16, "1" * 40, False, {}), CodeVersion(51, "b" * 16, None, None, {})]
    card = render_model_card(specification(), 500, {}, versions=versions)
    assert "by Trainyard. It was trained by two versions of the code, from step 51.\n" in card
    assert "| from step 1 | commit 111111111111 \\(code aaaaaaaa\\) |" in card
    assert "| from step 51 | an unknown commit \\(code bbbbbbbb\\) |" in card
    assert "versions of the code" not in render_model_card(specification(), 500, {}, versions=versions[:1])


def test_a_summariser_names_its_base() -> None:
    entry = MODELS["bart-large"].model_dump(mode="json")
    card = render_model_card(
        specification(task="summarisation", model={"name": "bart-large", **entry}, train={"initial": "pretrained"}),
        1,
        {},
    )
    assert header(card)["pipeline_tag"] == "summarization"
    assert header(card)["base_model"] == "facebook/bart-large"


def test_text_from_data_becomes_no_markup() -> None:
    evil = "<script>alert(1)</script>\n---\n| a | [b](http://c) `d` # e"
    card = render_model_card(specification(dataset=evil, run=evil), 1, {evil: evil}, {"host": evil}, {"source": evil})
    assert "<script>" not in card
    assert "](http" not in card
    assert "`d`" not in card
    assert card.count("\n---\n") == 1
    assert "datasets" not in header(card)
    assert all(line.count("|") - line.count("\\|") in (0, 3) for line in card.splitlines() if line != "|---|---|")


def test_nested_facts_become_rows() -> None:
    card = render_model_card(specification(), 1, {}, {"versions": {"torch": "2.13.0"}, "dirty": False, "cards": [1]})
    assert "| versions.torch | 2.13.0 |" in card
    assert "| dirty | False |" in card
    assert "cards" not in card


def test_adapters_are_told_with_their_settings_and_where_they_are_alone() -> None:
    lora = {"rank": 8, "alpha": 16.0, "targets": None, "dropout": 0.0}
    card = render_model_card(specification(train={"learning_rate": 1e-3, "lora": lora}), 500, {})
    assert "adapters of low rank, merged into these weights; `adapter/` has them alone" in card
    assert "| lora.rank | 8 |\n| lora.alpha | 16 |" in card
    assert "adapters" not in render_model_card(specification(), 500, {})


def test_a_window_stands_in_the_card_with_what_plain_transformers_makes_of_it() -> None:
    train = {"initial": "scratch", "attention": {"window": 128}}
    card = render_model_card(specification(train=train), 500, {})
    assert "within a window of 128 positions" in card
    assert "| attention.window | 128 |" in card
    assert "each position attends to all" in card
    assert "from trainyard.models.window import use_window" in card
    model = {"name": "llama-tiny", **MODELS["llama-tiny"].model_dump(mode="json")}
    card = render_model_card(specification(train=train, model=model), 500, {}, window_is_read=True)
    assert "`sliding_window`, which transformers heeds" in card
    assert "use_window" not in card
    assert "## Attention" not in render_model_card(specification(), 500, {})
