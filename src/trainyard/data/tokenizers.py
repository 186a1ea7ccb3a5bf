"""Every kind of tokenizer as a folder that `AutoTokenizer.from_pretrained` loads with no network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from trainyard.config.catalogue import (
    BpeTokenizer,
    BytesTokenizer,
    HubModel,
    ModelTokenizer,
    TiktokenTokenizer,
    Tokenizer,
    TransformersTokenizer,
)
from trainyard.core.errors import InputError, one_line
from trainyard.core.files import atomic_folder, read_json, sha256_file, write_json
from trainyard.data import gpt2_bpe
from trainyard.data.byte_level_bpe import make_byte_tokenizer, train_bpe
from trainyard.data.mirror import model_folder
from trainyard.data.stored_rows import read_rows
from trainyard.data.tokenizer_layouts import END_OF_TEXT, from_tokenizer_file, from_vocabulary, unknown_token
from trainyard.fetch.hub import download_locked
from trainyard.fetch.lock import DataLock, Origin, Request, check_files

# BART and OPT have one vocabulary; where the one's files aren't at hand, the other's serve
_SAME_FILES = {"bart": "facebook/opt-350m"}
_SAMPLE = (
    "Hello world, it's 3.14 o'clock!\n\n  Caf\u00e9 na\u00efve \u2014 \u4f60\u597d \U0001f600\tdon't <unk> XYZ  \n"
)
_COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)
# a letter of Old Persian, which no vocabulary holds
_RARE = "\N{OLD PERSIAN SIGN A}"


def _tiktoken(folder: Path, mirror: Path | None) -> None:
    cache = folder / gpt2_bpe.FOLDER
    gpt2_bpe.fill_cache(cache, mirror)
    encoding = gpt2_bpe.open_gpt2(cache)
    vocabulary, merges = (cache / file.cache_name for file in gpt2_bpe.rank_files())
    tokenizer = from_vocabulary("gpt2", vocabulary, merges)
    assert tokenizer.encode(_SAMPLE, add_special_tokens=False) == encoding.encode_ordinary(_SAMPLE)
    tokenizer.save_pretrained(folder)


def _repository_files(
    request: Request, source: HubModel, names: list[str], layout: str, mirror: Path | None, lock: DataLock
) -> list[Path]:
    if mirror is None:
        _, files = download_locked(lock, request, lambda _: names)
        if absent := [f"{name} isn't among its files" for name in names if name not in files]:
            lock.refuse(request, absent)
        return [files[name] for name in names]
    folder = model_folder(mirror, source)
    if not folder.is_dir() and layout in _SAME_FILES:
        folder = folder.parents[1] / _SAME_FILES[layout]
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: the mirror has no such file")
    check_files(lock, request, {name: folder / name for name in names})
    return [folder / name for name in names]


def _transformers(name: str, entry: TransformersTokenizer, folder: Path, mirror: Path | None, lock: DataLock) -> None:
    origin: Origin = "hub" if mirror is None else "mirror"
    request = Request("tokenizers", name, origin, source=entry.source.hub, revision=entry.source.revision)
    names = ["tokenizer.json"] if entry.layout == "t5" else ["vocab.json", "merges.txt"]
    files = _repository_files(request, entry.source, names, entry.layout, mirror, lock)
    tokenizer = (
        from_tokenizer_file(entry.layout, *files) if entry.layout == "t5" else from_vocabulary(entry.layout, *files)
    )
    tokenizer.save_pretrained(folder)


def _texts(rows: Path) -> Iterator[str]:
    kind = read_json(rows.with_suffix(".json"))["kind"]
    if kind == "choices":
        raise InputError(f"{rows}: no tokenizer can be trained on multiple-choice items")
    for row in read_rows(rows, kind):
        if kind == "text":
            yield row["text"]
        else:
            yield row["source"]
            yield row["target"]


def _copy(source: Path, folder: Path) -> None:
    if not (source / "tokenizer.json").is_file():
        raise InputError(f"{source / 'tokenizer.json'}: missing; the model's folder must hold its tokenizer")
    for name in _COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _special_token_id(token: object, tokenizer: PreTrainedTokenizerBase) -> int | None:
    return None if token is None else tokenizer.get_vocab()[str(token)]


def _check_vocabulary(name: str, entry: Tokenizer, tokenizer: PreTrainedTokenizerBase) -> int:
    """The rows that a model needs for its tokens: one more than the largest id, even where ids have gaps."""
    tokens = tokenizer.get_vocab()
    needed = max(tokens.values(), default=-1) + 1
    if needed == entry.vocabulary or (isinstance(entry, BpeTokenizer) and needed < entry.vocabulary):
        return needed
    gaps = f", its largest id is {needed - 1}" if needed > len(tokens) else ""
    raise InputError(
        f"tokenizer {name}: knows {len(tokens)} tokens{gaps}; config/tokenizers.yaml says {entry.vocabulary}. "
        f"Write vocabulary: {needed} there, or name the right files"
    )


def _check_drops_nothing(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    try:
        ids = tokenizer(_RARE, add_special_tokens=False)["input_ids"]
    except Exception:  # tokenizers raises plain Exception; the row that it fails on is named later
        return
    if not ids:
        raise InputError(
            f"tokenizer {name}: drops characters that it has no token for, without a trace; give it an unknown token, "
            "byte_fallback, or an alphabet of bytes"
        )


def _end_of_text(name: str, entry: Tokenizer, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token before each document."""
    # OPT's vocabulary holds <|endoftext|> too, but its models never saw it
    own = isinstance(entry, TransformersTokenizer) and entry.layout != "gpt2"
    vocabulary = tokenizer.get_vocab()
    if not own and END_OF_TEXT in vocabulary:
        return vocabulary[END_OF_TEXT]
    end = _special_token_id(tokenizer.eos_token, tokenizer)
    if end is None:
        raise InputError(
            f"tokenizer {name}: has neither {END_OF_TEXT} nor an end-of-sequence token, which ends documents and "
            "answers; name its eos_token in its tokenizer_config.json"
        )
    return end


def make_tokenizer(
    name: str,
    entry: Tokenizer,
    output: Path,
    mirror: Path | None = None,
    rows: Path | None = None,
    pretrained: Path | None = None,
    lock: Path | None = None,
) -> dict[str, Any]:
    """Make a tokenizer's folder: tokenizer.json, tokenizer_config.json and, last, index.json.

    Args:
        name: its name in the catalogue.
        entry: its entry.
        output: the folder; with kind tiktoken it also holds tiktoken's own files.
        mirror: a folder in the hub's layout; with it, no hub is asked.
        rows: the training rows that a `bpe` is trained on.
        pretrained: the model's folder that a tokenizer of kind `model` is copied from.
        lock: the data lock, in which a repository's files are recorded, or with which they are compared.

    Returns:
        what index.json holds: name, kind, vocabulary, end_of_text (the token before each document),
        end (of a source or target), pad, unknown (in place of what has no token of its own, or none), and
        the SHA-256 of each file.

    Raises:
        InputError: its files can't be had, are damaged, or aren't the tokenizer that the entry describes.
    """
    with atomic_folder(output) as folder:
        match entry:
            case TiktokenTokenizer():
                _tiktoken(folder, mirror)
            case TransformersTokenizer():
                _transformers(name, entry, folder, mirror, DataLock(lock))
            case BytesTokenizer():
                make_byte_tokenizer().save_pretrained(folder)
            case BpeTokenizer():
                assert rows is not None, "a bpe is trained on rows"
                train_bpe(_texts(rows), entry.vocabulary).save_pretrained(folder)
            case ModelTokenizer():
                assert pretrained is not None, "kind model is copied from a model's folder"
                _copy(pretrained, folder)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # tokenizers raises plain Exception
            raise InputError(f"{pretrained or output}: not a tokenizer ({one_line(error)})") from error
        vocabulary = _check_vocabulary(name, entry, tokenizer)
        _check_drops_nothing(name, tokenizer)
        end_of_text = _end_of_text(name, entry, tokenizer)
        end = _special_token_id(tokenizer.eos_token, tokenizer)
        end = end_of_text if end is None else end
        pad = _special_token_id(tokenizer.pad_token, tokenizer)
        index = {
            "name": name,
            "kind": entry.kind,
            "vocabulary": vocabulary,
            "end_of_text": end_of_text,
            "end": end,
            "pad": end if pad is None else pad,
            "unknown": unknown_token(tokenizer),
            "hashes": {
                str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
            },
        }
        write_json(folder / "index.json", index)
    return index
