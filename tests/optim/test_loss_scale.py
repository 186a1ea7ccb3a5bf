import torch

from engine_settings import engine_settings
from trainyard.config.catalogue import Model
from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.optim.loss_scale import LossScale
from trainyard.parallel.pytorch import single


def made(precision, **more):
    shape = {"layers": 1, "width": 16, "heads": 2, "context": 8, "vocabulary": 300}
    entry = Model.model_validate({"title": "gpt2", "family": "gpt2", "tokenizer": "bytes", "shape": shape})
    return single.Engine(
        Objective(build(entry, "gpt2", dropout=0.0, seed=0)), engine_settings(precision=precision, **more)
    )


def batch():
    tokens = torch.arange(9).unsqueeze(0)
    return {"input_ids": tokens[:, :-1], "labels": tokens[:, 1:]}


def test_a_step_whose_gradient_overflows_in_fp16_changes_no_weight_and_halves_the_loss_scale():
    engine = made("fp16")
    before = engine.full_state()
    engine.scale.value = 2.0**40
    taken = engine.train_step([batch()], 1e-3)
    after = engine.full_state()
    assert (taken.skipped, taken.loss_scale, engine.scale.value) == (True, 2.0**40, 2.0**39)
    assert before is not None
    assert after is not None
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    engine.scale.value = 2.0**16
    assert not engine.train_step([batch()], 1e-3).skipped


def test_the_loss_scale_changes_neither_loss_nor_norm():
    wholes, halves = made("fp32").train_step([batch()], 1e-3), made("fp16").train_step([batch()], 1e-3)
    assert abs(wholes.loss - halves.loss) < 1e-3
    assert abs(wholes.gradient_norm / halves.gradient_norm - 1) < 1e-2
    assert (wholes.loss_scale, halves.loss_scale) == (None, 2.0**16)


def test_the_loss_scale_starts_where_it_is_told():
    assert made("fp16", initial_loss_scale=32.0).train_step([batch()], 1e-3).loss_scale == 32.0


def test_the_loss_scale_doubles_after_two_thousand_steps_without_overflow_and_goes_on_where_it_was():
    scale = LossScale(enabled=True, initial=2.0**16)
    for _ in range(1_999):
        scale.update(overflowed=False)
    resumed = LossScale(enabled=True, initial=2.0**16)
    resumed.load_state_dict(scale.state_dict())
    resumed.update(overflowed=False)
    assert (scale.value, resumed.value) == (2.0**16, 2.0**17)


def test_without_fp16_an_infinite_gradient_is_no_matter_of_the_loss_scale():
    scale = LossScale(enabled=False, initial=2.0**16)
    assert not scale.is_overflow(float("inf"))
    scale.update(overflowed=True)
    assert scale.value == 1.0
