"""Models and tokenizers from a folder in transformers' format: no network, no code from the folder."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from trainyard.config.values import Entry, PositiveInt
from trainyard.core.errors import InputError, one_line
from trainyard.evaluate.packed_linear import can_pack, pack
from trainyard.hardware.tf32 import set_tf32
from trainyard.models.window import use_window

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


class Placement(Entry):
    """The settings that every metric shares: how many rows, and where the model computes."""

    limit: PositiveInt | None = Field(None, description="first rows only")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    threads: PositiveInt = Field(1, description="threads of a process on the CPU; the last digits depend on it")
    processes: PositiveInt = Field(1, description="that share the rows; each has a GPU of its own where there are any")

    @property
    def is_packed(self) -> bool:
        """Whether its linear layers are computed by oneDNN."""
        return can_pack(self.device, getattr(torch, self.dtype))

    def to_record(self) -> dict[str, Any]:
        """The settings on which a result depends, and how linear layers are computed."""
        return self.model_dump(mode="json", exclude={"processes"}) | {"linear": "onednn" if self.is_packed else "torch"}


def explain_no_model(folder: Path) -> str | None:
    """Why there is no model in `folder`, if its run left none; None where there is one."""
    note = folder.parent / "NONE.txt"
    if folder.is_dir() or not note.is_file():
        return None
    return note.read_text(encoding="utf-8").strip() or "the run left no model"


def load_causal(folder: Path, placement: Placement) -> tuple[Any, Any]:
    """The causal model of `folder` in evaluation mode, and its tokenizer.

    Raises:
        InputError: there is no model, it is of another kind, or the device isn't there.
    """
    if has_encoder(folder):
        raise InputError(f"{folder}: this metric needs a causal model, and this one has an encoder; use rouge")
    return _load(AutoModelForCausalLM, folder, placement)


def has_encoder(folder: Path) -> bool:
    """Whether the model of `folder` has an encoder."""
    return bool(_configuration(folder).is_encoder_decoder)


def load_any(folder: Path, placement: Placement) -> tuple[Any, Any]:
    """The model of `folder` in evaluation mode, causal or sequence-to-sequence, and its tokenizer.

    Raises:
        InputError: there is no model, or the device isn't there.
    """
    return _load(AutoModelForSeq2SeqLM if has_encoder(folder) else AutoModelForCausalLM, folder, placement)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of `folder`.

    Raises:
        InputError: there is none that can be used.
    """
    try:
        # as when training data is encoded: the name of a special token in a text is text
        return AutoTokenizer.from_pretrained(folder, split_special_tokens=True, **LOCAL)
    except Exception as error:  # whatever a wrong value leads transformers to
        raise InputError(f"{folder}: cannot load the tokenizer ({one_line(error)})") from error


def find_max_length(folder: Path) -> int | None:
    """The longest sequence that the model of `folder` takes, in tokens; None where its positions have no end (T5)."""
    return getattr(_configuration(folder), "max_position_embeddings", None)


def _configuration(folder: Path) -> Any:
    if not folder.is_dir() and (
        checkpoints := sorted(path.parent.name for path in folder.parent.glob("*/config.json"))
    ):
        raise InputError(
            f"{folder}: the run kept no such model, but {', '.join(checkpoints)}; did it end before that step?"
        )
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; give a folder in transformers' format")
    try:
        return AutoConfig.from_pretrained(folder, **LOCAL)
    except Exception as error:  # as above
        raise InputError(f"{folder}/config.json: {one_line(error)}") from error


def _load(kind: Any, folder: Path, placement: Placement) -> tuple[Any, Any]:
    set_tf32(allowed=False)
    if placement.device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {placement.device}: torch sees no GPU here; use device cpu")
    if (torch.device(placement.device).index or 0) >= max(1, torch.cuda.device_count()):
        raise InputError(
            f"device {placement.device}: torch sees {torch.cuda.device_count()} GPUs here; use no more processes"
        )
    torch.set_num_threads(placement.threads)
    logging.disable_progress_bar()
    try:
        model = kind.from_pretrained(folder, dtype=getattr(torch, placement.dtype), use_safetensors=True, **LOCAL)
    except Exception as error:  # as above
        raise InputError(f"{folder}: cannot load the model ({one_line(error)})") from error
    use_window(model)
    model = model.to(placement.device).eval()
    if placement.is_packed:
        pack(model)
    return model, load_tokenizer(folder)
