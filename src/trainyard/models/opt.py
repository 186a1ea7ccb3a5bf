"""OPT (Zhang et al. 2022)."""

from typing import Any

from torch import Tensor
from transformers import OPTConfig, OPTForCausalLM

from trainyard.config.catalogue import Shape
from trainyard.models.family import PipelineSplit, TensorSplit, positions
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


def _embed(trunk: Any, tokens: Tensor) -> Tensor:
    x = trunk.embed_tokens(tokens)
    x = x if trunk.project_in is None else trunk.project_in(x)
    return x + trunk.embed_positions(None, position_ids=positions(tokens))


def _finish(trunk: Any, x: Tensor) -> Tensor:
    x = x if trunk.final_layer_norm is None else trunk.final_layer_norm(x)
    return x if trunk.project_out is None else trunk.project_out(x)


TENSOR_SPLIT = TensorSplit(
    columns=frozenset({"q_proj", "k_proj", "v_proj", "fc1"}),
    rows=frozenset({"out_proj", "fc2"}),
    counts=frozenset({"num_heads"}),
)
PIPELINE_SPLIT = PipelineSplit(
    trunk="model.decoder",
    blocks="layers",
    before=("embed_tokens", "embed_positions", "project_in"),
    after=("final_layer_norm", "project_out"),
    embed=_embed,
    run=lambda _trunk, block, x: block(x),
    finish=_finish,
)
