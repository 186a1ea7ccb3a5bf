"""Parameters and FLOPs of a model by arithmetic on its shape: no framework, no weights."""

from trainyard.config.catalogue import Model, Shape

PAIR_FLOPS_FORMULA = "6 (E S + D T) + 12 h Q (L S^2 + K (T^2 + S T))"

_OPT_BART_OFFSET = 2  # their tables of positions begin with two unused rows
_T5_BUCKETS = 32  # relative positions, shared by all blocks of a stack


def parameters(model: Model) -> int:
    """All parameters, those of tied weights counted once."""
    return parameters_without_embeddings(model) + _embeddings(model)


def parameters_without_embeddings(model: Model) -> int:
    """All parameters but the tables of tokens and positions: the N of scaling laws (Kaplan et al. 2020)."""
    return _COUNTS[model.family](model.shape)


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


def head_width(shape: Shape) -> int:
    """Of one head of attention."""
    return shape.head_width or shape.width // shape.heads


def feed_forward_width(model: Model) -> int:
    """Hidden units of the feed-forward layers."""
    gated = model.family == "gpt2_modern"
    return _gated_feed_forward(model.shape) if gated else _feed_forward(model.shape)


def _feed_forward(shape: Shape) -> int:
    return shape.feed_forward or 4 * shape.width


def _gated_feed_forward(shape: Shape) -> int:
    return shape.feed_forward or 8 * shape.width // 3


def decoder_layers(shape: Shape) -> int:
    """Blocks of an encoder-decoder's decoder."""
    return shape.decoder_layers or shape.layers


def head_parameters(model: Model) -> int:
    """Parameters of the table of tokens, which is the head too: the largest of the model."""
    return model.shape.vocabulary * (model.shape.embedding_width or model.shape.width)


def _embeddings(model: Model) -> int:
    shape = model.shape
    positions = {
        "gpt2": shape.context,
        "opt": shape.context + _OPT_BART_OFFSET,
        "bart": 2 * (shape.context + _OPT_BART_OFFSET),  # one table for the encoder, one for the decoder
    }.get(model.family, 0)
    return head_parameters(model) + positions * shape.width


def _attention(width: int) -> int:
    """Four square products with biases."""
    return 4 * (width * width + width)


def _dense(shape: Shape) -> int:
    """Up and down with biases."""
    return 2 * shape.width * _feed_forward(shape) + _feed_forward(shape) + shape.width


def _gpt2(shape: Shape) -> int:
    norm = 2 * shape.width
    return shape.layers * (_attention(shape.width) + _dense(shape) + 2 * norm) + norm


def _opt(shape: Shape) -> int:
    norm = 2 * shape.width
    blocks = shape.layers * (_attention(shape.width) + _dense(shape) + 2 * norm)
    projected = shape.embedding_width not in (None, shape.width)
    projections = 2 * shape.width * (shape.embedding_width or 0) if projected else 0
    return blocks + projections + (0 if shape.post_norm else norm)


def _grouped(shape: Shape, bias: bool, feed_forward: int) -> int:
    """Blocks of RMSNorm, grouped-query attention and a gated feed-forward layer, and a last norm."""
    queries = shape.heads * head_width(shape)
    shared = (shape.key_value_heads or shape.heads) * head_width(shape)
    attention = 2 * shape.width * queries + 2 * shape.width * shared + bias * (queries + 2 * shared)
    return shape.layers * (attention + 3 * shape.width * feed_forward + 2 * shape.width) + shape.width


def _llama(shape: Shape) -> int:
    return _grouped(shape, bias=False, feed_forward=_feed_forward(shape))


def _gpt2_modern(shape: Shape) -> int:
    return _grouped(shape, bias=True, feed_forward=_gated_feed_forward(shape))


def _bart(shape: Shape) -> int:
    norm = 2 * shape.width
    encoder = shape.layers * (_attention(shape.width) + _dense(shape) + 2 * norm)
    decoder = decoder_layers(shape) * (2 * _attention(shape.width) + _dense(shape) + 3 * norm)
    return encoder + decoder + 2 * norm  # each stack normalises its embeddings


def _t5(shape: Shape) -> int:
    attention = 4 * shape.width * shape.heads * head_width(shape)
    dense = 2 * shape.width * _feed_forward(shape)
    encoder = shape.layers * (attention + dense + 2 * shape.width)
    decoder = decoder_layers(shape) * (2 * attention + dense + 3 * shape.width)
    return encoder + decoder + 2 * (_T5_BUCKETS * shape.heads + shape.width)


_COUNTS = {"gpt2": _gpt2, "opt": _opt, "gpt2_modern": _gpt2_modern, "llama": _llama, "bart": _bart, "t5": _t5}
