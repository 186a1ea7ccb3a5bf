"""Parameters and FLOPs of a model by arithmetic on its shape: no framework, no weights."""

from trainyard.config.catalogue import Model
from trainyard.estimate.blocks import decoder_layers, head_width
from trainyard.estimate.families import load_family

MFU_FORMULA = "tokens/s x (6 N + 12 L h Q T) / (processes x peak)"
PAIR_FLOPS_FORMULA = "6 (E S + D T) + 12 h Q (L S^2 + K (T^2 + S T))"


def parameters(model: Model) -> int:
    """All parameters, those of tied weights counted once."""
    positions = load_family(model.family).positions(model.shape) * model.shape.width
    return parameters_without_embeddings(model) + head_parameters(model) + positions


def parameters_without_embeddings(model: Model) -> int:
    """All parameters but the tables of tokens and positions: the N of scaling laws (Kaplan et al. 2020)."""
    return load_family(model.family).parameters(model.shape)


def flops_per_token(model: Model, sequence_length: int) -> float:
    """FLOPs to train a decoder on one token: 6 N + 12 L h Q T (Chowdhery et al. 2022, appendix B; nanoGPT).

    N is all parameters, L the layers, h the heads, Q the head width, T the sequence length. Work that
    activation checkpointing repeats is not counted.
    """
    shape = model.shape
    return 6.0 * parameters(model) + 12.0 * shape.layers * shape.heads * head_width(shape) * sequence_length


def flops_per_pair(model: Model, source_length: int, target_length: int) -> float:
    """FLOPs to train an encoder-decoder on one source and its target: `PAIR_FLOPS_FORMULA`.

    It is `flops_per_token` of each stack: E parameters meet the S tokens of the source in L blocks, D those of
    the target, T, in K blocks, each of which attends to the target and to the source.
    """
    shape, blocks = model.shape, decoder_layers(model.shape)
    deeper = model.model_copy(update={"shape": shape.model_copy(update={"decoder_layers": blocks + 1})})
    decoder = blocks * (parameters(deeper) - parameters(model)) + head_parameters(model)
    encoder = parameters(model) - decoder
    attended = shape.layers * source_length**2 + blocks * (target_length**2 + source_length * target_length)
    products = 6.0 * (encoder * source_length + decoder * target_length)
    return products + 12.0 * shape.heads * head_width(shape) * attended


def megatron_flops(model: Model, batch: int, sequence_length: int, activation_checkpointing: bool) -> float:
    """FLOPs of one step: 24 (3 + c) B S L h^2 (1 + S / 6h + V / 16Lh) (Narayanan et al. 2021).

    c is 1 with activation checkpointing, whose repeated work it counts, and 0 without; h is the width.
    It holds for decoders with a feed-forward layer of four times the width, such as OPT and GPT-2.
    """
    shape = model.shape
    work = 24.0 * (3 + activation_checkpointing) * batch * sequence_length * shape.layers * shape.width**2
    attention = sequence_length / (6.0 * shape.width)
    head = shape.vocabulary / (16.0 * shape.layers * shape.width)
    return work * (1 + attention + head)


def feed_forward_width(model: Model) -> int:
    """Hidden units of the feed-forward layers."""
    return load_family(model.family).feed_forward_width(model.shape)


def head_parameters(model: Model) -> int:
    """Parameters of the table of tokens, which is the head too: the largest of the model."""
    return model.shape.vocabulary * (model.shape.embedding_width or model.shape.width)
