"""GPT-2 (Radford et al. 2019)."""

from typing import Any

from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from trainyard.config.catalogue import Shape
from trainyard.models.family import PipelineSplit, TensorSplit, positions
from trainyard.models.special_tokens import SpecialTokens

MODEL = GPT2LMHeadModel
DROPOUT = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
TRAINED = {"pad_token_id": None}  # or it looks for padding in every batch, and the host waits for the device


def configuration(shape: Shape, tokens: SpecialTokens) -> GPT2Config:
    """The configuration of transformers for a shape."""
    return GPT2Config(
        vocab_size=shape.vocabulary,
        n_positions=shape.context,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_inner=shape.feed_forward,
        initializer_range=shape.deviation,
        bos_token_id=tokens.start,
        eos_token_id=tokens.end,
        pad_token_id=tokens.pad,
    )


def _embed(trunk: Any, tokens: Tensor) -> Tensor:
    return trunk.drop(trunk.wte(tokens) + trunk.wpe(positions(tokens)))


TENSOR_SPLIT = TensorSplit(
    columns=frozenset({"c_attn", "c_fc"}),
    rows=frozenset({"c_proj"}),
    counts=frozenset({"split_size"}),
    fused=("c_attn", 3),
)
PIPELINE_SPLIT = PipelineSplit(
    trunk="transformer",
    blocks="h",
    before=("wte", "wpe"),
    after=("ln_f",),
    embed=_embed,
    run=lambda _trunk, block, x: block(x),
    finish=lambda trunk, x: trunk.ln_f(x),
)
