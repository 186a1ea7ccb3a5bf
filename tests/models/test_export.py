import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from trainyard.config.catalogue import BytesTokenizer
from trainyard.core.errors import InputError
from trainyard.core.files import SNAKEMAKES_MARK
from trainyard.data.tokenizers import make_tokenizer
from trainyard.estimate.families import load_family
from trainyard.models.build import build
from trainyard.models.export import export

from .conftest import MODELS, batch, logits


def tokenizer_folder(path: Path, pad: int) -> Path:
    path.mkdir()
    (path / "index.json").write_text(json.dumps({"pad": pad}))
    (path / "tokenizer.json").write_text("{}")
    return path


def loaded(name: str, folder: Path) -> Any:
    kind = AutoModelForSeq2SeqLM if load_family(MODELS[name].family).is_encoder_decoder else AutoModelForCausalLM
    return kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)


def test_transformers_loads_what_was_trained(tiny: str, tmp_path: Path) -> None:
    model, made = build(MODELS[tiny], tiny, dropout=0.3, seed=1).eval(), batch(MODELS[tiny])
    export(MODELS[tiny], model.state_dict(), tmp_path / "model")
    theirs = loaded(tiny, tmp_path / "model")
    assert not theirs.training
    assert theirs.config.use_cache
    assert (tmp_path / "model/generation_config.json").is_file()
    with torch.no_grad():
        torch.testing.assert_close(logits(theirs, made), logits(model, made), rtol=0, atol=1e-5)


def test_it_generates(tiny: str, tmp_path: Path) -> None:
    export(MODELS[tiny], build(MODELS[tiny], tiny, seed=1).state_dict(), tmp_path / "model")
    theirs, source = loaded(tiny, tmp_path / "model"), torch.randint(4, 512, (2, 8))
    made = theirs.generate(source, attention_mask=torch.ones_like(source), max_new_tokens=5, min_new_tokens=5)
    assert made.shape == (2, 6 if load_family(MODELS[tiny].family).is_encoder_decoder else 13)


def test_tied_weights_may_come_once_or_more(tiny: str, tmp_path: Path) -> None:
    model = build(MODELS[tiny], tiny, seed=1)
    once = dict(model.named_parameters())
    export(MODELS[tiny], {name: p.detach() for name, p in once.items()}, tmp_path / "once")
    export(MODELS[tiny], model.state_dict(), tmp_path / "more")
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("once", "more")]
    assert files[0] == files[1]


def test_other_weights_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    state = build(MODELS["gpt2-tiny"], "gpt2-tiny", seed=1).state_dict()
    state.pop("transformer.h.1.mlp.c_fc.bias")
    with pytest.raises(ValueError, match=r"transformer\.h\.1\.mlp\.c_fc\.bias"):
        export(MODELS["gpt2-tiny"], state, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_tokenizer_card_and_record_stand_beside_the_weights(tmp_path: Path) -> None:
    tokenizer = tokenizer_folder(tmp_path / "tokenizer", pad=0)
    (tokenizer / SNAKEMAKES_MARK).touch()
    state = build(MODELS["bart-tiny"], "bart-tiny", seed=1).state_dict()
    export(MODELS["bart-tiny"], state, tmp_path / "model", tokenizer, "# Card\n", {"run": "a", "step": 3})
    assert {file.name for file in (tmp_path / "model").iterdir()} == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "trainyard.json",
    }
    assert json.loads((tmp_path / "model/trainyard.json").read_text()) == {"run": "a", "step": 3}


def test_a_tokenizer_that_pads_otherwise_is_refused(tmp_path: Path) -> None:
    tokenizer = tokenizer_folder(tmp_path / "tokenizer", pad=7)
    with pytest.raises(InputError, match="pads with token 7, the model with 0"):
        export(MODELS["bart-tiny"], {}, tmp_path / "model", tokenizer)


@pytest.mark.parametrize(("name", "after"), [("gpt2-tiny", []), ("bart-tiny", [2])])
def test_a_causal_models_tokenizer_leaves_a_text_open(name: str, after: list[int], tmp_path: Path) -> None:
    make_tokenizer("bytes", BytesTokenizer(title="Bytes", kind="bytes", vocabulary=260), tmp_path / "bytes")
    state = build(MODELS[name], name, seed=1).state_dict()
    export(MODELS[name], state, tmp_path / "model", tmp_path / "bytes")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert tokenizer("ab")["input_ids"] == [4 + ord("a"), 4 + ord("b"), *after]
    assert tokenizer.decode(tokenizer("ab c")["input_ids"], skip_special_tokens=True) == "ab c"


def test_exporting_leaves_the_random_numbers_alone(tiny: str, tmp_path: Path) -> None:
    state = build(MODELS[tiny], tiny, seed=1).state_dict()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    export(MODELS[tiny], state, tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)
