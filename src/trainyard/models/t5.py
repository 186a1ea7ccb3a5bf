"""T5 of the first version (Raffel et al. 2020)."""

from transformers import T5Config, T5ForConditionalGeneration

from trainyard.config.catalogue import Shape
from trainyard.models.family import TensorSplit
from trainyard.models.special_tokens import SpecialTokens

MODEL = T5ForConditionalGeneration
DROPOUT = ("dropout_rate",)


def configuration(shape: Shape, tokens: SpecialTokens) -> T5Config:
    """The configuration of transformers for a shape. The decoder starts with the padding token.

    Positions are relative, so that the context is a habit of training and no part of the model.
    """
    return T5Config(
        vocab_size=shape.vocabulary,
        d_model=shape.width,
        d_kv=shape.head_width or shape.width // shape.heads,
        d_ff=shape.feed_forward or 4 * shape.width,
        num_layers=shape.layers,
        num_decoder_layers=shape.decoder_layers or shape.layers,
        num_heads=shape.heads,
        n_positions=shape.context,  # pyright: ignore[reportCallIssue]
        eos_token_id=tokens.end,
        pad_token_id=tokens.pad,
        decoder_start_token_id=tokens.pad,  # pyright: ignore[reportCallIssue]
    )


TENSOR_SPLIT = TensorSplit(
    # the bias of a head belongs to whoever has the head
    columns=frozenset({"q", "k", "v", "wi", "wi_0", "wi_1", "relative_attention_bias"}),
    rows=frozenset({"o", "wo"}),
    counts=frozenset({"n_heads"}),
)
