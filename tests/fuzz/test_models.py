"""Models' folders with another configuration, or with damaged weights."""

import json
from pathlib import Path
from typing import Any

import odd
import pytest
from hypothesis import strategies as st

from trainyard.config.catalogue import Model
from trainyard.config.yaml_entries import parse_entries
from trainyard.data.byte_level_bpe import make_byte_tokenizer
from trainyard.evaluate.model import Placement, find_max_length, load_causal
from trainyard.models.build import build
from trainyard.models.export import export

TINY = parse_entries(Model, Path(__file__).parents[2] / "config/models.yaml")["gpt2-tiny"]
PLACEMENT = Placement.model_validate({})


@pytest.fixture
def model(folder: Path) -> Path:
    export(TINY, build(TINY, "tiny", seed=1).state_dict(), folder / "model")
    make_byte_tokenizer().save_pretrained(folder / "model")
    return folder / "model"


def test_a_configuration_is_taken_or_refused_by_its_folder(fuzz: Any, refused: Any, model: Path) -> None:
    path = model / "config.json"
    good = json.loads(path.read_text())

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: find_max_length(model), rf"{model}(/config\.json)?: \S")
        refused(lambda: load_causal(model, PLACEMENT), rf"{model}(/config\.json)?: \S")
        refused(lambda: build(TINY, "tiny", weights=model), rf"{model}(/config\.json)?: \S")

    whole = json.dumps(good).encode()
    fuzz(odd.changed(good).map(lambda value: json.dumps(value).encode()) | odd.damaged(whole), check, 150)


def test_weights_are_taken_or_refused_by_their_folder(fuzz: Any, refused: Any, model: Path) -> None:
    path = model / "model.safetensors"
    good = path.read_bytes()
    length = 8 + int.from_bytes(good[:8], "little")  # safetensors: the header's size, the header, tensors

    def check(header: bytes) -> None:
        path.write_bytes(header + good[length:])
        refused(lambda: load_causal(model, PLACEMENT), rf"{model}: \S")
        refused(lambda: build(TINY, "tiny", weights=model), rf"{model}: \S")

    described = odd.changed(json.loads(good[8:length])).map(lambda value: json.dumps(value).encode())
    fuzz(
        odd.damaged(good[:length]) | described.map(lambda text: len(text).to_bytes(8, "little") + text) | st.just(b""),
        check,
        100,
    )
