import math
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM

from trainyard.models.build import build
from trainyard.models.export import export
from trainyard.models.gpt2_modern import rotary_angles, rotate

from .conftest import MODELS

ENTRY = MODELS["gpt2-modern-tiny"]


def made(seed: int = 1):
    """A model whose norms and biases are no longer at their start."""
    model = build(ENTRY, "gpt2-modern-tiny", seed=seed).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_it_equals_qwen2_after_export(tmp_path: Path) -> None:
    model = made()
    export(ENTRY, model.state_dict(), tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True).eval()
    assert type(theirs) is Qwen2ForCausalLM
    tokens = torch.randint(0, 512, (2, 200))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, theirs(tokens).logits, rtol=0, atol=1e-5)


def test_permuting_earlier_tokens_changes_the_last_logit() -> None:
    model = made()
    tokens = torch.randint(0, 512, (1, 24))
    permuted = tokens.clone()
    permuted[0, 2], permuted[0, 11] = tokens[0, 11], tokens[0, 2]
    assert not torch.equal(tokens, permuted)
    with torch.no_grad():
        difference = model(tokens).logits[0, -1] - model(permuted).logits[0, -1]
    assert difference.abs().max() > 1e-3


def test_later_tokens_change_nothing_before_them() -> None:
    model = made()
    tokens = torch.randint(0, 512, (1, 24))
    other = tokens.clone()
    other[0, 15:] = torch.randint(0, 512, (9,))
    with torch.no_grad():
        one, two = model(tokens).logits[0], model(other).logits[0]
    torch.testing.assert_close(one[:15], two[:15], rtol=0, atol=1e-6)
    assert not torch.allclose(one[15:], two[15:])


def test_rotated_products_depend_on_the_distance_alone() -> None:
    cosine, sine = rotary_angles(40, 16, 10_000.0, torch.device("cpu"))
    query, key = torch.randn(2, 1, 1, 1, 16)
    queries, keys = (rotate(x.expand(1, 1, 40, 16), cosine, sine)[0, 0] for x in (query, key))
    products = queries @ keys.T  # (time, time)
    for distance in (0, 1, 7):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)
    assert (products[20, 20] - products[20, 10]).abs() > 1e-3


def test_what_is_added_to_the_residual_stream_starts_smaller() -> None:
    entry = ENTRY.model_copy(update={"shape": MODELS["gpt2-modern-124m"].shape.model_copy(update={"layers": 2})})
    model = build(entry, "two layers", seed=1)
    for layer in model.base_model.layers:
        for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
            assert math.isclose(weight.std().item(), 0.02 / math.sqrt(2 * 2), rel_tol=0.01)
        for weight in (layer.self_attn.q_proj.weight, layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight):
            assert math.isclose(weight.std().item(), 0.02, rel_tol=0.01)
        assert not layer.self_attn.k_proj.bias.any()


def test_the_head_is_the_embedding() -> None:
    model = made()
    assert model.lm_head.weight is model.model.embed_tokens.weight
