"""Models of a hub that misbehaves, and their records in the data lock."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from trainyard.config.catalogue import Model
from trainyard.config.yaml_entries import parse_entries
from trainyard.models.build import build
from trainyard.models.export import export

from .conftest import ROOT, Client, Source
from .server import COMMIT, Fault, Halfway, Repository, cut, page, redirects, stalls, status, wrong

pytestmark = pytest.mark.slow

Record = Callable[[str, object], None]
NAME = "gpt2-tiny"
ENTRY: Model = parse_entries(Model, ROOT / "config/models.yaml")[NAME]
WEIGHTS = "GET .*/model.safetensors"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a model repository."""
    folder = tmp_path_factory.mktemp("published")
    export(ENTRY, build(ENTRY, NAME, seed=1).state_dict(), folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**files, "onnx/model.safetensors": b"not wanted", "model.gguf": b"not wanted"}


@pytest.fixture
def model(source: Source, published: dict[str, bytes]) -> Source:
    """A model of its own on the server."""
    source.serve(Repository(dict(published), frozenset(["model.safetensors"])), "models")
    return source


def order(model: Source, output: str = "out", revision: str = "main") -> dict[str, Any]:
    weights = {"hub": f"org/{model.name}", "revision": revision}
    entry = ENTRY.model_dump(mode="json") | {"weights": weights}
    told = {"act": "model", "name": NAME, "entry": entry, "lock": str(model.lock)}
    return {**told, "output": str(model.folder / output)}


def fetched(model: Source, client: Client | None = None, **changed: str) -> dict[str, Any]:
    client = client or model.client
    client.tell(**order(model, **changed))
    return client.answer()


def same_weights(folder: Path) -> bool:
    found = build(ENTRY, NAME, weights=folder).state_dict()
    return all(torch.equal(found[key], tensor) for key, tensor in build(ENTRY, NAME, seed=1).state_dict().items())


def test_weights_come_with_the_commit_and_a_record_of_each_file(model: Source) -> None:
    origin = fetched(model)["origin"]
    assert (origin["origin"], origin["source"], origin["revision"]) == ("hub", f"org/{model.name}", COMMIT)
    assert same_weights(model.folder / "out")
    record = yaml.safe_load(model.lock.read_text())["models"][NAME]["hub"]
    assert record["commit"] == COMMIT
    assert record["files"]["model.safetensors"]["sha256"] == origin["files"][0]["sha256"]
    assert set(record["files"]) == {"model.safetensors", "config.json", "generation_config.json"} | {
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not model.hub.times("resolve/.*(onnx|gguf)")


@pytest.mark.parametrize(
    ("place", "faults"),
    [
        ("GET /api/models/.*/revision/main$", [status(503), page, redirects]),
        ("GET .*/tree/", [stalls]),
        (WEIGHTS, [status(500), status(429, Retry_After="1"), cut, wrong]),
    ],
)
def test_a_fault_that_passes_changes_no_weight(
    model: Source, place: str, faults: list[Fault], record_property: Record
) -> None:
    model.hub.misbehave(place, *faults)
    assert "error" not in fetched(model)
    assert same_weights(model.folder / "out")
    assert model.hub.injected == len(faults)
    record_property("faults injected", len(faults))
    record_property("runs recovered", 1)


@pytest.mark.parametrize(
    ("fault", "message"), [(wrong, "came with SHA-256"), (status(500), "the hub can't be reached")]
)
def test_a_fault_that_stays_leaves_no_model(model: Source, fault: Fault, message: str, record_property: Record) -> None:
    model.hub.misbehave(WEIGHTS, *[fault] * 20)
    answer = fetched(model)
    assert f"org/{model.name} (revision {COMMIT}), model.safetensors: {message}" in answer["error"]
    assert not (model.folder / "out").exists()
    assert not model.lock.exists()
    record_property("faults injected", 1)


def test_a_download_killed_halfway_goes_on(
    model: Source, new_client: Callable[..., Client], record_property: Record
) -> None:
    halfway = Halfway()
    model.hub.misbehave(WEIGHTS, halfway)
    killed = new_client()
    killed.tell(**order(model))
    assert halfway.reached.wait(120)
    killed.process.kill()
    killed.process.wait(60)
    assert not (model.folder / "out").exists()
    assert "error" not in fetched(model, new_client())
    assert same_weights(model.folder / "out")
    record_property("faults injected", 1)
    record_property("runs recovered", 1)


def test_a_tokenizer_s_files_come_by_the_same_way(
    source: Source, new_client: Callable[..., Client], record_property: Record
) -> None:
    tokens = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "He"]
    tokens = [*tokens[1:], *(f"word{number}" for number in range(50_257 - len(tokens))), tokens[0]]
    vocabulary = json.dumps({token: number for number, token in enumerate(tokens)}).encode()
    repository = Repository({"vocab.json": vocabulary, "merges.txt": b"#version: 0.2\nH e\n"})
    source.serve(repository, "models")
    about = {"hub": f"org/{source.name}", "revision": "main"}
    entry = {"title": "GPT-2's", "kind": "transformers", "layout": "gpt2", "source": about, "vocabulary": 50_257}
    told = {"act": "tokenizer", "name": "gpt2", "entry": entry, "lock": str(source.lock)}
    source.hub.misbehave("GET .*/vocab.json", status(500), wrong)
    client = new_client()
    for output in ("first", "again"):
        client.tell(**told, output=str(source.folder / output))
        assert client.answer()["index"]["vocabulary"] == 50_257
    assert source.hub.injected == 2
    record = yaml.safe_load(source.lock.read_text())["tokenizers"]["gpt2"]["hub"]
    assert (record["commit"], list(record["files"])) == (COMMIT, ["merges.txt", "vocab.json"])
    client.tell(**{**told, "entry": entry | {"layout": "t5"}}, output=str(source.folder / "other"))
    assert "tokenizer.json isn't among its files" in client.answer()["error"]
    record_property("faults injected", 2)
    record_property("runs recovered", 1)


def test_other_weights_are_refused_until_they_are_accepted(model: Source, new_client: Callable[..., Client]) -> None:
    fetched(model)
    repository = model.hub.repositories[f"models/org/{model.name}"]
    data = bytearray(repository.files["model.safetensors"])
    data[-1] ^= 1
    repository.files["model.safetensors"] = bytes(data)
    elsewhere = new_client()
    error = fetched(model, elsewhere, output="again")["error"]
    assert f"model {NAME} (hub org/{model.name} at main) isn't what was recorded: model.safetensors has" in error
    assert f"make accept-data DATA={NAME} ORIGIN=hub" in error
    assert "config/models.yaml asks for" in fetched(model, elsewhere, revision="v2")["error"]
    model.lock.unlink()
    assert "error" not in fetched(model, elsewhere, output="again")
