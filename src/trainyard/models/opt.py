"""OPT (Zhang et al. 2022)."""

from transformers import OPTConfig, OPTForCausalLM

from trainyard.config.catalogue import Shape
from trainyard.models.special_tokens import SpecialTokens

MODEL = OPTForCausalLM
DROPOUT = ("dropout",)  # OPT has no dropout in its attention


def configuration(shape: Shape, tokens: SpecialTokens) -> OPTConfig:
    """The configuration of transformers for a shape."""
    return OPTConfig(
        vocab_size=shape.vocabulary,
        init_std=shape.deviation,
        max_position_embeddings=shape.context,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        ffn_dim=shape.feed_forward or 4 * shape.width,
        word_embed_proj_dim=shape.embedding_width or shape.width,
        do_layer_norm_before=not shape.post_norm,
        bos_token_id=tokens.start,
        eos_token_id=tokens.end,
        pad_token_id=tokens.pad,
    )
