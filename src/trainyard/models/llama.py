"""Llama's architecture, with the head tied to the embedding as in its small relatives."""

from typing import Any

from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig

from trainyard.config.catalogue import Shape
from trainyard.models.family import PipelineSplit, TensorSplit, positions
from trainyard.models.special_tokens import SpecialTokens

MODEL = LlamaForCausalLM
DROPOUT = ("attention_dropout",)


def configuration(shape: Shape, tokens: SpecialTokens) -> LlamaConfig:
    """The configuration of transformers for a shape."""
    return LlamaConfig(
        vocab_size=shape.vocabulary,
        initializer_range=shape.deviation,
        max_position_embeddings=shape.context,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward or 4 * shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads or shape.heads,
        head_dim=shape.head_width,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_base},
        tie_word_embeddings=True,
        bos_token_id=tokens.start,
        eos_token_id=tokens.end,
        pad_token_id=tokens.pad,
    )


def native_window(config: LlamaConfig, window: int) -> MistralConfig:
    """The configuration as Mistral's, which is Llama within a window (Jiang et al. 2023), by the same names."""
    own = {key: value for key, value in config.to_dict().items() if key in MistralConfig.__dataclass_fields__}
    return MistralConfig(**{**own, "sliding_window": window})


def _run(trunk: Any, block: nn.Module, x: Tensor) -> Tensor:
    return block(x, position_embeddings=trunk.rotary_emb(x, position_ids=positions(x)))


TENSOR_SPLIT = TensorSplit(
    columns=frozenset({"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}),
    rows=frozenset({"o_proj", "down_proj"}),
)
PIPELINE_SPLIT = PipelineSplit(
    trunk="model",
    blocks="layers",
    before=("embed_tokens",),
    after=("norm",),
    embed=lambda trunk, tokens: trunk.embed_tokens(tokens),
    run=_run,
    finish=lambda trunk, x: trunk.norm(x),
)
