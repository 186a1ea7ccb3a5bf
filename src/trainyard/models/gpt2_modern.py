"""GPT-2 with RMSNorm, rotary positions, grouped-query attention, SwiGLU and biases on queries, keys and values.

The architecture is Qwen2's, and the parameters bear Qwen2's names, so that a trained model is exported as
`Qwen2ForCausalLM` by copying its tensors.

At 124M (12 layers, width 768, 12 heads over 6 key/value heads, hidden 2,048):
- parameters: 38.6M embedding + 12 * (1.2M QKV + 0.6M output + 4.7M SwiGLU) = 116.5M
- FLOPs per token at time 1,024: 6 * 116.5M + 12 * 12 * 768 * 1,024 = 0.81 GFLOP
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from trainyard.config.catalogue import Shape
from trainyard.models.family import PipelineSplit, TensorSplit
from trainyard.models.special_tokens import SpecialTokens
from trainyard.models.window import KEY as WINDOW_KEY
from trainyard.models.window import attend_in_window

EXPORTED = Qwen2ForCausalLM
DROPOUT = ("attention_dropout",)


def configuration(shape: Shape, tokens: SpecialTokens) -> Qwen2Config:
    """The configuration of transformers for a shape.

    Raises:
        ValueError: the shape has a head width of its own, which Qwen2 can't have.
    """
    if shape.head_width not in (None, shape.width // shape.heads):
        raise ValueError("gpt2_modern has heads of width / heads; leave head_width out")
    return Qwen2Config(
        vocab_size=shape.vocabulary,
        max_position_embeddings=shape.context,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward or 8 * shape.width // 3,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads or shape.heads,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_base},
        tie_word_embeddings=True,
        initializer_range=shape.deviation,
        bos_token_id=tokens.start,
        eos_token_id=tokens.end,
        pad_token_id=tokens.pad,
    )


def rotary_angles(time: int, head_width: int, base: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles: position times base^(-2 i / head_width) (Su et al. 2021).

    Returns:
        Two tensors in fp32, each (time, head_width); the second half repeats the first.
    """
    frequencies = base ** (-torch.arange(0, head_width, 2, device=device).float() / head_width)  # (head_width / 2)
    angles = torch.outer(torch.arange(time, device=device).float(), frequencies)  # (time, head_width / 2)
    angles = torch.cat((angles, angles), dim=-1)  # (time, head_width)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair (i, i + head_width / 2) of `x` by the angle of its TIME.

    Args:
        x: (batch, heads, time, head_width): time is next to last, or positions would have no effect.
        cosine: (time, head_width).
        sine: (time, head_width).

    Returns:
        As `x`.
    """
    first, second = x.chunk(2, dim=-1)  # (batch, heads, time, head_width / 2) each
    return (x * cosine + torch.cat((-second, first), dim=-1) * sine).to(x.dtype)


class RMSNorm(nn.Module):
    """Scale to a root mean square of one, in fp32 (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., width)."""
        return F.rms_norm(x.float(), self.weight.shape, eps=self.epsilon).to(x.dtype) * self.weight


class Attention(nn.Module):
    """Causal attention in which several query heads share one head of keys and values (Ainslie et al. 2023)."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.head_width = config.hidden_size // config.num_attention_heads
        shared = (config.num_key_value_heads or config.num_attention_heads) * self.head_width
        self.dropout = float(config.attention_dropout)
        self.window: int | None = getattr(config, WINDOW_KEY, None)
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, shared)
        self.v_proj = nn.Linear(config.hidden_size, shared)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(batch, time, width) to (batch, time, width)."""
        query = rotate(self._heads(self.q_proj(x)), cosine, sine)  # (batch, heads, time, head_width)
        key = rotate(self._heads(self.k_proj(x)), cosine, sine)  # (batch, key_value_heads, time, head_width)
        value = self._heads(self.v_proj(x))  # (batch, key_value_heads, time, head_width)
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
        dropout = self.dropout if self.training else 0.0
        if self.window is None:
            mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        else:
            mixed = attend_in_window(query, key, value, self.window, causal=True, dropout=dropout)
        # (batch, heads, time, head_width)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """(batch, time, heads * head_width) to (batch, heads, time, head_width)."""
        return x.unflatten(-1, (-1, self.head_width)).transpose(1, 2)


class SwiGLU(nn.Module):
    """A gated feed-forward layer (Shazeer 2020)."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, width) to (batch, time, width)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention, then SwiGLU, each normalised before and added to what it read."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(batch, time, width) to (batch, time, width)."""
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """Everything but the head."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.head_width = config.hidden_size // config.num_attention_heads
        self.rope_base = float(config.rope_parameters["rope_theta"])  # pyright: ignore
        self.checkpoint_arguments: dict[str, Any] | None = None
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, input_ids: Tensor) -> BaseModelOutput:
        """Tokens (batch, time) to hidden states (batch, time, width)."""
        cosine, sine = rotary_angles(input_ids.shape[1], self.head_width, self.rope_base, input_ids.device)
        x = self.embed_tokens(input_ids)  # (batch, time, width)
        for layer in self.layers:
            if self.checkpoint_arguments is not None and self.training:
                x = checkpoint(layer, x, cosine, sine, **self.checkpoint_arguments)
            else:
                x = layer(x, cosine, sine)
        return BaseModelOutput(last_hidden_state=self.norm(x))


class GPT2Modern(nn.Module):
    """The language model, with the few methods of transformers' models that the rest of the house uses.

    Args:
        config: the shape, as Qwen2's configuration.
    """

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.apply(self._initialise)
        self.tie_weights()

    def forward(self, input_ids: Tensor) -> CausalLMOutput:
        """Tokens (batch, time) to logits (batch, time, vocabulary)."""
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids).last_hidden_state))

    @property
    def base_model(self) -> Trunk:
        """Everything but the head."""
        return self.model

    def get_output_embeddings(self) -> nn.Linear:
        """The head."""
        return self.lm_head

    def tie_weights(self) -> None:
        """Let the head share the embedding's weight."""
        self.lm_head.weight = self.model.embed_tokens.weight

    def activation_checkpointing_enable(self, checkpoint_arguments: dict[str, Any]) -> None:
        """Keep the input of each block alone, and compute the rest again in the backward pass."""
        self.model.checkpoint_arguments = checkpoint_arguments

    def _initialise(self, module: nn.Module) -> None:
        """GPT-2's start: normal, narrower on what is added to the residual stream."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        # two additions a block: the attention's output and SwiGLU's
        residual = self.config.initializer_range / math.sqrt(2 * self.config.num_hidden_layers)
        if isinstance(module, Attention):
            nn.init.normal_(module.o_proj.weight, std=residual)
        if isinstance(module, SwiGLU):
            nn.init.normal_(module.down_proj.weight, std=residual)


def native_window(config: Qwen2Config, window: int) -> Qwen2Config:
    """The configuration with the window in Qwen2's own keys."""
    sliding = {"use_sliding_window": True, "sliding_window": window, "max_window_layers": 0, "layer_types": None}
    return Qwen2Config(**{**config.to_dict(), **sliding})


MODEL = GPT2Modern


def _run(trunk: Any, block: nn.Module, x: Tensor) -> Tensor:
    angles = rotary_angles(x.shape[1], trunk.head_width, trunk.rope_base, x.device)
    if trunk.checkpoint_arguments is not None and trunk.training:
        found = checkpoint(block, x, *angles, **trunk.checkpoint_arguments)
        assert isinstance(found, Tensor)
        return found
    return block(x, *angles)


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
