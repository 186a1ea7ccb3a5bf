"""BART (Lewis et al. 2020)."""

from transformers import BartConfig, BartForConditionalGeneration

from trainyard.config.catalogue import Shape
from trainyard.models.family import TensorSplit
from trainyard.models.special_tokens import SpecialTokens

MODEL = BartForConditionalGeneration
DROPOUT = ("dropout", "attention_dropout", "activation_dropout")


def configuration(shape: Shape, tokens: SpecialTokens) -> BartConfig:
    """The configuration of transformers for a shape. The decoder starts with the end token."""
    feed_forward = shape.feed_forward or 4 * shape.width
    return BartConfig(
        vocab_size=shape.vocabulary,
        init_std=shape.deviation,
        max_position_embeddings=shape.context,
        d_model=shape.width,
        encoder_layers=shape.layers,
        decoder_layers=shape.decoder_layers or shape.layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=feed_forward,
        decoder_ffn_dim=feed_forward,
        bos_token_id=tokens.start,
        eos_token_id=tokens.end,
        pad_token_id=tokens.pad,
        decoder_start_token_id=tokens.end,
        forced_eos_token_id=tokens.end,
    )


TENSOR_SPLIT = TensorSplit(
    columns=frozenset({"q_proj", "k_proj", "v_proj", "fc1"}), rows=frozenset({"out_proj", "fc2"})
)
