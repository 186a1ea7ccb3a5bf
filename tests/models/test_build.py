import math
from pathlib import Path

import pytest
import torch

from trainyard.config.catalogue import Model
from trainyard.core.errors import InputError
from trainyard.estimate.families import load_family
from trainyard.models.attention import MASKLESS
from trainyard.models.build import build, configuration, start_token
from trainyard.models.export import export
from trainyard.models.family import load_module
from trainyard.models.loss import Objective

from .conftest import MODELS, batch, logits


def test_the_seed_alone_decides_the_weights_and_leaves_the_generator_alone(tiny: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (build(MODELS[tiny], tiny, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_an_untrained_model_knows_nothing(tiny: str) -> None:
    made = batch(MODELS[tiny])
    with torch.no_grad():
        loss = Objective(build(MODELS[tiny], tiny, seed=1))(**made) / (made["labels"] != -100).sum()
    assert abs(loss.item() - math.log(512)) < 0.8


def test_dropout_is_the_shapes_unless_another_is_given(tiny: str) -> None:
    entry = MODELS[tiny].model_copy(update={"shape": MODELS[tiny].shape.model_copy(update={"dropout": 0.3})})
    for given, expected in ((None, 0.3), (0.0, 0.0), (0.2, 0.2)):
        config = configuration(entry, given)
        assert {getattr(config, name) for name in load_module(entry.family).DROPOUT} == {expected}
    made = batch(entry)
    still = build(entry, tiny, dropout=0.0, seed=1)
    assert torch.equal(logits(still, made), logits(still, made))
    moving = build(entry, tiny, seed=1)
    assert not torch.equal(logits(moving, made), logits(moving, made))


def test_models_attend_by_torchs_own_kernel_and_keep_no_cache(tiny: str) -> None:
    model = build(MODELS[tiny], tiny, seed=1)
    assert model.config.use_cache is False
    decoder = not load_family(MODELS[tiny].family).is_encoder_decoder
    assert model.config._attn_implementation == (MASKLESS if decoder else "sdpa")


def test_a_decoder_starts_as_its_family_does() -> None:
    assert start_token(MODELS["bart-large"]) == 2
    assert start_token(MODELS["t5-large"]) == 0
    assert start_token(MODELS["bart-tiny"]) == 2
    assert start_token(MODELS["gpt2-124m"]) is None


def test_weights_of_a_folder_are_read_back_bit_by_bit(tiny: str, tmp_path: Path) -> None:
    model = build(MODELS[tiny], tiny, seed=1)
    export(MODELS[tiny], model.state_dict(), tmp_path / "model")
    again = build(MODELS[tiny], tiny, dropout=0.1, weights=tmp_path / "model")
    assert type(again) is type(model)
    assert again.training
    assert again.config.use_cache is False
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())
    assert {getattr(again.config, name) for name in load_module(MODELS[tiny].family).DROPOUT} == {0.1}


def test_weights_of_another_shape_are_refused_with_the_key_that_differs(tmp_path: Path) -> None:
    export(MODELS["gpt2-tiny"], build(MODELS["gpt2-tiny"], "gpt2-tiny", seed=1).state_dict(), tmp_path / "model")
    with pytest.raises(InputError, match=r"config\.json: model_type is 'gpt2'.* 'opt' for opt-tiny"):
        build(MODELS["opt-tiny"], "opt-tiny", weights=tmp_path / "model")
    with pytest.raises(InputError, match=r"vocab_size is 512.* 50257 for gpt2-52m"):
        build(MODELS["gpt2-52m"], "gpt2-52m", weights=tmp_path / "model")


def test_another_base_of_rotations_is_another_model(tmp_path: Path) -> None:
    entry = MODELS["llama-tiny"]
    export(entry, build(entry, "llama-tiny", seed=1).state_dict(), tmp_path / "model")
    other = entry.model_copy(update={"shape": entry.shape.model_copy(update={"rope_base": 100_000.0})})
    with pytest.raises(InputError, match="rope_parameters"):
        build(other, "llama-tiny", weights=tmp_path / "model")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the weights of gpt2-tiny can't be read"):
        build(MODELS["gpt2-tiny"], "gpt2-tiny", weights=tmp_path)


@pytest.mark.parametrize("name", ["opt-350m", "opt-tiny"])
def test_opt_350m_and_its_small_copy_keep_the_quirks(name: str) -> None:
    entry: Model = MODELS[name]
    with torch.device("meta"):
        model = build(entry, name)
    decoder = model.base_model.decoder
    assert decoder.final_layer_norm is None
    assert decoder.project_in.weight.shape == (entry.shape.width, entry.shape.embedding_width)


@pytest.mark.parametrize("name", ["opt-tiny", "gpt2-tiny", "gpt2-modern-tiny", "llama-tiny", "bart-tiny"])
def test_the_deviation_of_the_initial_weights_is_the_shapes(name: str) -> None:
    shape = MODELS[name].shape.model_copy(update={"initial_deviation": 0.08})
    model = build(MODELS[name].model_copy(update={"shape": shape}), name, seed=1)
    weight = model.get_output_embeddings().weight
    assert abs(weight.std().item() - 0.08) < 0.003
