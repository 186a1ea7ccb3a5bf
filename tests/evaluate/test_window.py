"""A model that was trained within a window is evaluated within it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from trainyard.config.catalogue import Model
from trainyard.config.yaml_entries import parse_entries
from trainyard.estimate.families import load_family
from trainyard.evaluate.generation import Search, continue_prompts, generate
from trainyard.evaluate.log_likelihood import Query, log_likelihoods
from trainyard.models.build import build
from trainyard.models.export import export, reads_window
from trainyard.models.loss import Objective
from trainyard.models.window import use_window

MODELS: dict[str, Model] = parse_entries(Model, Path(__file__).parents[2] / "config/models.yaml")
DECODERS = ("opt-tiny", "gpt2-tiny", "gpt2-modern-tiny", "llama-tiny")
ENCODER_DECODERS = ("bart-tiny", "t5-tiny")
WINDOW = 4


def encodes(name: str) -> bool:
    return load_family(MODELS[name].family).is_encoder_decoder


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    """One model of each family, whose attention and tokens matter."""
    made = {}
    for name in (*DECODERS, *ENCODER_DECODERS):
        model = build(MODELS[name], name, dropout=0.0, seed=1, window=WINDOW).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(4 if parameter.ndim > 1 and "t5" not in name else 1)
        made[name] = model
    return made


def plain(name: str, folder: Path) -> Any:
    kind = AutoModelForSeq2SeqLM if encodes(name) else AutoModelForCausalLM
    return kind.from_pretrained(folder, local_files_only=True).eval()


@pytest.fixture
def loaded(trained: dict[str, Any], tmp_path: Path) -> Any:
    def load(name: str) -> Any:
        export(MODELS[name], trained[name].state_dict(), tmp_path / name, window=WINDOW)
        model = plain(name, tmp_path / name)
        use_window(model)
        return model

    return load


def batch(name: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    tokens, source = torch.randint(4, 500, (2, 3, 15), generator=generator)
    if not encodes(name):
        return {"input_ids": tokens[:, :-1], "labels": tokens[:, 1:]}
    mask = torch.ones_like(source)
    mask[1, 9:], mask[2, 2:] = 0, 0
    return {
        "input_ids": source,
        "attention_mask": mask,
        "decoder_input_ids": tokens[:, :-1],
        "labels": tokens[:, 1:],
    }


@torch.no_grad()
def loss(model: Any, made: dict[str, Tensor]) -> float:
    inputs = {name: tensor for name, tensor in made.items() if name != "labels"}
    logits = model(**inputs).logits.flatten(0, 1)
    return float(torch.nn.functional.cross_entropy(logits, made["labels"].flatten(), reduction="sum"))


@pytest.mark.parametrize("name", [*DECODERS, *ENCODER_DECODERS])
def test_an_exported_model_loses_what_the_trained_one_does_and_plain_transformers_only_where_it_reads_the_window(
    name: str, trained: dict[str, Any], loaded: Any, tmp_path: Path
) -> None:
    made = batch(name)
    model = loaded(name)
    assert model.config.attention_window == WINDOW
    with torch.no_grad():
        expected = float(Objective(trained[name])(**made))
    assert loss(model, made) == pytest.approx(expected, rel=1e-5)
    theirs = loss(plain(name, tmp_path / name), made)
    assert (theirs == pytest.approx(expected, rel=1e-5)) == reads_window(MODELS[name].family)
    assert reads_window(MODELS[name].family) == (name in ("llama-tiny", "gpt2-modern-tiny"))


@pytest.mark.parametrize("name", [*DECODERS, *ENCODER_DECODERS])
@torch.no_grad()
def test_tokens_read_one_by_one_through_a_cache_give_what_they_give_together(name: str, loaded: Any) -> None:
    model, made = loaded(name), batch(name)
    made.pop("labels")
    key = "decoder_input_ids" if encodes(name) else "input_ids"
    together, past, found = model(**made, use_cache=False).logits, None, []
    for place in range(made[key].shape[1]):
        output = model(**{**made, key: made[key][:, place : place + 1]}, past_key_values=past, use_cache=True)
        past = output.past_key_values
        found.append(output.logits[:, -1])
    torch.testing.assert_close(torch.stack(found, dim=1), together, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def without_cache(model: Any, source: list[int], start: list[int], new_tokens: int, repeats: bool) -> list[int]:
    """The likeliest tokens one by one, each of a whole pass."""
    ids = list(start)
    for _ in range(new_tokens):
        given = {"input_ids": torch.tensor([source + ids])}
        if model.config.is_encoder_decoder:
            given = {"input_ids": torch.tensor([source]), "decoder_input_ids": torch.tensor([ids])}
        scores = model(**given, use_cache=False).logits[0, -1]
        if not repeats:
            scores[ids] = -torch.inf
        ids.append(int(scores.argmax()))
    return ids[len(start) :]


@pytest.mark.parametrize("name", [*DECODERS, *ENCODER_DECODERS])
@pytest.mark.parametrize("size", [1, 3])
def test_summaries_with_a_cache_and_padded_neighbours_are_those_without(name: str, size: int, loaded: Any) -> None:
    model = loaded(name)
    generator = np.random.default_rng(3)
    sources = [generator.integers(4, 500, length).tolist() for length in (3, 11, 17)]
    # every token once, so that they differ
    search = Search(1, 1, 13, no_repeat_ngram=1, length_penalty=1.0, early_stopping=False)
    for source, ids in zip(sources, generate(model, sources, search, [-1], size), strict=True):
        start = [model.config.decoder_start_token_id] if encodes(name) else []
        # a decoder's last token may be one that ends it anyhow (BART)
        assert ids[1:12] == without_cache(model, source, start, 12, repeats=False)[:11]


@pytest.mark.parametrize("name", DECODERS)
def test_continuations_with_a_cache_are_those_without(name: str, loaded: Any) -> None:
    model = loaded(name)
    prompts = np.random.default_rng(4).integers(4, 500, (2, 9)).tolist()
    found = continue_prompts(model, prompts, 10, ends={-1}, seeds=[0, 0])
    assert found == [without_cache(model, prompt, [], 10, repeats=True) for prompt in prompts]


@torch.no_grad()
def alone(model: Any, context: np.ndarray, continuation: np.ndarray) -> float:
    ids = torch.tensor([[*context, *continuation]])
    found = model(ids).logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])
    return float(found[len(context) - 1 :].sum())


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("shared", [0, 40])
def test_continuations_that_share_a_row_and_a_beginning_score_as_each_alone(
    name: str, shared: int, loaded: Any
) -> None:
    model, generator = loaded(name), np.random.default_rng(5)
    beginning = generator.integers(4, 500, shared)
    queries = [
        Query(
            np.concatenate((beginning, generator.integers(4, 500, length))),
            tuple(generator.integers(4, 500, more) for more in (1, 5, 8)),
        )
        for length in (2, 9, 6)
    ]
    found = log_likelihoods(model, queries, 4096)
    expected = [alone(model, query.context, each) for query in queries for each in query.continuations]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
