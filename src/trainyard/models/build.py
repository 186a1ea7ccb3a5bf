"""Making a model of a catalogue entry: from its shape, or from a folder of weights."""

import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig

from trainyard.config.catalogue import Model
from trainyard.core.errors import InputError, one_line
from trainyard.estimate.families import load_family
from trainyard.models.attention import maskless
from trainyard.models.family import load_module
from trainyard.models.gelu import fuse_gelu
from trainyard.models.special_tokens import special_tokens
from trainyard.models.window import configure_window, cut_position_bias

UNREADABLE = Exception
"""What transformers raises where weights are missing, damaged or hold code: whatever a wrong value leads it to."""

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""How transformers reads a folder: no network, and no code from it; unless told, it asks at the terminal."""

# what makes another model of the same weights, or other weights
_ARCHITECTURE = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_decoder_layers",
    "decoder_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "activation_function",
    "hidden_act",
    "feed_forward_proj",
    "rms_norm_eps",
    "layer_norm_epsilon",
    "rope_parameters",
    "do_layer_norm_before",
    "scale_embedding",
    "tie_word_embeddings",
)


def configuration(entry: Model, dropout: float | None = None) -> PretrainedConfig:
    """The entry's configuration of transformers, with the dropout of its shape unless another is given."""
    config = load_module(entry.family).configuration(entry.shape, special_tokens(entry))
    _set_dropout(entry, config, dropout)
    return config


def start_token(entry: Model) -> int | None:
    """The token that a decoder starts with; None for a model without an encoder."""
    if not load_family(entry.family).is_encoder_decoder:
        return None
    return configuration(entry).decoder_start_token_id  # pyright: ignore


def build(
    entry: Model,
    name: str,
    dropout: float | None = None,
    seed: int | None = None,
    weights: Path | None = None,
    activation_checkpointing: bool = False,
    window: int | None = None,
) -> Any:
    """Make a model in fp32 on the CPU, ready for training.

    Args:
        entry: the catalogue's entry.
        name: its name, for messages.
        dropout: instead of the shape's own.
        seed: fixes the initial weights; the global generator is left as it was. Without one, it is used.
        weights: a folder in transformers' format with the pretrained weights; from scratch without one.
        activation_checkpointing: keep the input of each block alone, and compute the rest again when needed.
        window: positions that a position attends to (`trainyard.models.window`); all by default.

    Raises:
        InputError: the folder's weights aren't of this entry's shape, or can't be read.
    """
    if weights is not None:
        model = _pretrained(entry, name, dropout, weights, window)
    else:
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.default_generator.manual_seed(seed)
            model = load_module(entry.family).MODEL(_configure_training(entry, dropout, window))
    fuse_gelu(model)
    if window is not None:
        cut_position_bias(model)
    if activation_checkpointing:
        # its name in transformers 5, and that below, as ColossalAI's own environment has it
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
        # transformers 5 lets what embeddings give require a gradient, which only reentrant checkpoints need: blocks
        # below all that is trained would be computed again, and backwards, for nothing
        if hasattr(model, "_require_grads_hooks"):
            model.disable_input_require_grads()
    return model.train()


def exported_class(entry: Model) -> Any:
    """The class of transformers that loads the entry's weights."""
    module = load_module(entry.family)
    return getattr(module, "EXPORTED", module.MODEL)


def check_architecture(entry: Model, name: str, config: PretrainedConfig, folder: Path) -> None:
    """Compare the configuration of a folder with the catalogue's shape.

    Raises:
        InputError: they differ in something that makes another model.
    """
    expected = configuration(entry)
    for key in ("model_type", *_ARCHITECTURE):
        expected_value, actual = getattr(expected, key, None), getattr(config, key, None)
        if not _is_same(expected_value, actual):
            raise InputError(
                f"{folder}/config.json: {key} is {actual!r}, but config/models.yaml makes it {expected_value!r} for "
                f"{name}; "
                "fix the shape there, or fetch the right weights"
            )


def _pretrained(entry: Model, name: str, dropout: float | None, folder: Path, window: int | None) -> Any:
    try:
        check_architecture(entry, name, AutoConfig.from_pretrained(folder, **LOCAL), folder)
        model, report = exported_class(entry).from_pretrained(
            folder,
            config=_configure_training(entry, dropout, window),
            use_safetensors=True,
            output_loading_info=True,
            **LOCAL,
        )
    except InputError:
        raise
    except UNREADABLE as error:
        reason = one_line(error)
        raise InputError(
            f"{folder}: the weights of {name} can't be read ({reason}); delete it and run again"
        ) from error
    unexpected = sorted(
        str(key) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in report[kind]
    )
    if unexpected:
        raise InputError(f"{folder}: weights missing or left over for {name}: {', '.join(unexpected[:5])}")
    bias = getattr(model, "final_logits_bias", None)
    if bias is not None and bias.any():
        raise InputError(f"{folder}: {name} has a bias on its logits, which training leaves out")
    model.float()
    own = load_module(entry.family).MODEL
    if isinstance(model, own):
        return model
    trained = own(model.config)
    trained.load_state_dict(model.state_dict())
    return trained


def _is_same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(_is_same(value, actual.get(key)) for key, value in expected.items())
    if isinstance(expected, float) and isinstance(actual, int | float):
        return math.isclose(expected, actual, rel_tol=1e-6)
    return expected == actual


def _configure_training(entry: Model, dropout: float | None, window: int | None) -> PretrainedConfig:
    """The configuration of a model that is trained, which computes what `configuration`'s does, within a window."""
    config = configuration(entry, dropout)
    config.use_cache = False
    if window is not None:
        configure_window(config, window)
    elif not config.is_encoder_decoder and (name := maskless()):
        config._attn_implementation = name
    config.update(getattr(load_module(entry.family), "TRAINED", {}))
    return config


def _set_dropout(entry: Model, config: PretrainedConfig, dropout: float | None) -> None:
    for key in load_module(entry.family).DROPOUT:
        setattr(config, key, entry.shape.dropout if dropout is None else dropout)
