"""Writing weights as a folder in transformers' format."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PretrainedConfig
from transformers.utils import logging

from trainyard.config.catalogue import Model
from trainyard.core.errors import InputError
from trainyard.core.files import SNAKEMAKES_MARK, atomic_folder, read_json, write_json, write_text
from trainyard.models.build import configuration, exported_class
from trainyard.models.family import load_module
from trainyard.models.window import KEY as WINDOW_KEY

RECORD = "trainyard.json"
"""What a folder says of itself besides the files of transformers: run, step, losses."""

ADAPTER = "adapter"
"""The folder of adapters, in peft's format; beside the merged weights transformers would add them to these again."""

_NOT_COPIED = {SNAKEMAKES_MARK, "index.json", "config.json", "generation_config.json", "README.md", RECORD}


@dataclass(frozen=True)
class Adapter:
    """Adapters as peft keeps them: the content of its adapter_config.json, and weights by its names."""

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]


def export(
    entry: Model,
    state: Mapping[str, Tensor],
    folder: Path,
    tokenizer: Path | None = None,
    card: str | None = None,
    record: Mapping[str, Any] | None = None,
    adapter: Adapter | None = None,
    window: int | None = None,
) -> None:
    """Write a trained model, whole or not at all, so that `from_pretrained` loads it with no code of ours.

    A window of attention stands in config.json. Where transformers' class of the family reads none, it takes
    `trainyard.models.window.use_window` to heed it.

    Args:
        entry: the catalogue's entry, whose shape the weights have.
        state: fp32 tensors on the CPU under the names of `build`'s model; tied weights once or more.
        folder: where to; one that is there is replaced.
        tokenizer: a tokenizer's folder, whose files are copied in; a causal model's puts no token after a text.
        card: the text of README.md (`trainyard.models.model_card.render_model_card`).
        record: the content of trainyard.json.
        adapter: what `state` was merged with, to be kept beside it.
        window: within which it was trained to attend.

    Raises:
        InputError: the tokenizer has other special tokens than the model.
        ValueError: the state isn't this model's.
    """
    kind, config = exported_class(entry), configuration(entry)
    if window is not None:
        kind, config = _add_window(entry, window)
    if tokenizer is not None:
        _check_special_tokens(config, tokenizer)
    with atomic_folder(folder) as draft:
        write_weights(kind, config, state, draft)
        if tokenizer is not None:
            for file in sorted(tokenizer.iterdir()):
                if file.is_file() and file.name not in _NOT_COPIED:
                    shutil.copy(file, draft)
            if not config.is_encoder_decoder:
                _end_no_text(draft / "tokenizer.json")
        if card is not None:
            write_text(draft / "README.md", card)
        if record is not None:
            write_json(draft / RECORD, dict(record))
        if adapter is not None:
            (draft / ADAPTER).mkdir()
            write_json(draft / ADAPTER / "adapter_config.json", dict(adapter.config))
            weights = {name: tensor.contiguous() for name, tensor in adapter.weights.items()}
            save_file(weights, draft / ADAPTER / "adapter_model.safetensors", metadata={"format": "pt"})


def write_weights(kind: Any, config: PretrainedConfig, state: Mapping[str, Tensor], folder: Path) -> None:
    """Write configuration and safetensors of a class of transformers into a folder that exists.

    Raises:
        ValueError: the state lacks weights of this class, or holds others.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = kind(config)
    tied = set(model.all_tied_weights_keys)
    buffers = {name: torch.zeros(buffer.shape) for name, buffer in model.named_buffers() if name in model.state_dict()}
    result = model.load_state_dict({**buffers, **state}, strict=False, assign=True)
    missing = set(result.missing_keys) - tied
    if missing or result.unexpected_keys:
        names = ", ".join(sorted([*missing, *result.unexpected_keys])[:5])
        raise ValueError(f"weights missing or left over for {kind.__name__}: {names}")
    model.tie_weights()
    model.config.use_cache = True
    logging.disable_progress_bar()
    model.save_pretrained(folder)


def reads_window(family: str) -> bool:
    """Whether transformers itself heeds the window of an exported model of a family."""
    return hasattr(load_module(family), "native_window")


def _add_window(entry: Model, window: int) -> tuple[Any, PretrainedConfig]:
    """The class and the configuration of an exported model that attends within a window."""
    kind, config = exported_class(entry), configuration(entry)
    if reads_window(entry.family):
        config = load_module(entry.family).native_window(config, window)
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    setattr(config, WINDOW_KEY, window)
    return kind, config


def _end_no_text(path: Path) -> None:
    """Let a tokenizer put no token after a text: a causal model continues where its text ends.

    lm-evaluation-harness encodes with a tokenizer's own template, and would take
    such a token for the context's last.
    """
    content = read_json(path)
    template = (content.get("post_processor") or {}).get("single")
    if template and "SpecialToken" in template[-1]:
        write_json(path, content | {"post_processor": None})


def _check_special_tokens(config: PretrainedConfig, tokenizer: Path) -> None:
    # the row of padding is never trained, so that it must not be that of another token
    index = read_json(tokenizer / "index.json")
    if config.is_encoder_decoder and config.pad_token_id != index["pad"]:
        raise InputError(
            f"{tokenizer}: pads with token {index['pad']}, the model with {config.pad_token_id}; "
            "give src/trainyard/models/special_tokens.py the ids of this tokenizer"
        )
