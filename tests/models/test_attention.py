from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainyard.estimate.families import load_family
from trainyard.models import attention
from trainyard.models.attention import attend
from trainyard.models.build import build
from trainyard.models.loss import Objective

from .conftest import MODELS, batch


def captured_attention(name: str) -> list[dict[str, Any]]:
    """What each call of torch's attention is given, in the graph that dynamo makes of a model."""
    graphs: list[Any] = []

    def keep(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    objective = Objective(build(MODELS[name], name, dropout=0.0, seed=1))
    inputs = {name: tensor for name, tensor in batch(MODELS[name]).items() if name != "labels"}
    torch.compile(objective._hidden_states, backend=keep, fullgraph=True)(inputs)
    return [
        dict(node.kwargs)
        for graph in graphs
        for node in graph.graph.nodes
        if node.target is F.scaled_dot_product_attention
    ]


def test_a_compiled_decoder_attends_causally_without_a_mask(tiny: str) -> None:
    masked = [call for call in captured_attention(tiny) if call.get("attn_mask") is not None]
    plain = [call for call in captured_attention(tiny) if call.get("attn_mask") is None]
    assert all(call["is_causal"] for call in plain)
    if load_family(MODELS[tiny].family).is_encoder_decoder:
        assert masked  # sources are padded
    else:
        assert len(plain) == MODELS[tiny].shape.layers
        assert not masked


def test_no_position_sees_what_comes_after_it_or_padding(tiny: str) -> None:
    entry = MODELS[tiny]
    objective = Objective(build(entry, tiny, dropout=0.0, seed=1)).eval()
    given = batch(entry)
    encoded = load_family(entry.family).is_encoder_decoder
    tokens = "decoder_input_ids" if encoded else "input_ids"
    changed = {**given, tokens: given[tokens].clone()}
    changed[tokens][:, 7:] = 5
    if encoded:
        changed["input_ids"] = torch.where(given["attention_mask"] == 0, 6, given["input_ids"])
        assert not torch.equal(changed["input_ids"], given["input_ids"])
    assert not torch.equal(changed[tokens], given[tokens])
    with torch.no_grad():
        hidden, other = (
            objective._hidden_states({name: made[name] for name in made if name != "labels"})
            for made in (given, changed)
        )
    assert torch.equal(hidden[:, :7], other[:, :7])
    assert not torch.equal(hidden[:, 7:], other[:, 7:])


def test_what_comes_before_the_loss_reads_no_value_of_a_device(tiny: str) -> None:
    """A host that reads one waits for the device; `meta` has none to read."""
    objective = Objective(build(MODELS[tiny], tiny, dropout=0.1, seed=1)).to("meta")
    inputs = {name: tensor.to("meta") for name, tensor in batch(MODELS[tiny]).items() if name != "labels"}
    objective._hidden_states(inputs).sum().backward()
    vectors = [parameter for parameter in objective.parameters() if parameter.ndim == 1]  # which share no memory
    assert all(vector.grad is not None for vector in vectors)


def test_a_source_without_padding_gives_what_it_gave_with_a_mask() -> None:
    entry = MODELS["bart-tiny"]
    objective, given = Objective(build(entry, "bart-tiny", dropout=0.0, seed=1)), batch(entry)
    given["attention_mask"] = torch.ones_like(given["attention_mask"])
    longer = {
        **given,
        "input_ids": F.pad(given["input_ids"], (0, 3), value=7),
        "attention_mask": F.pad(given["attention_mask"], (0, 3)),
    }
    torch.testing.assert_close(objective(**longer), objective(**given), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["bart-tiny", "t5-tiny"])
def test_masks_that_transformers_makes_itself_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As below transformers 5, whose BART takes none of ours, and whose T5 adds ours as they are."""
    objective, given = Objective(build(MODELS[name], name, dropout=0.0, seed=1)), batch(MODELS[name])
    ours = objective(**given)
    monkeypatch.setattr(attention, "_TAKES_MADE_MASKS", False)
    assert attention.mask_padding(given["attention_mask"], 12) is given["attention_mask"]
    assert attention.mask_future(given["decoder_input_ids"]) is None
    torch.testing.assert_close(objective(**given), ours, rtol=1e-6, atol=0)


def test_a_decoder_is_not_given_a_mask_that_it_would_not_read() -> None:
    objective, given = Objective(build(MODELS["gpt2-tiny"], "gpt2-tiny", seed=1)), batch(MODELS["gpt2-tiny"])
    with pytest.raises(ValueError, match="attention_mask is not read"):
        objective(**given, attention_mask=torch.ones_like(given["input_ids"]))
    heads = torch.zeros(1, 2, 3, 4)
    with pytest.raises(AssertionError, match="without a mask"):
        attend(nn.Identity(), heads, heads, heads, torch.zeros(1, 1, 3, 3))  # pyright: ignore[reportArgumentType]
