"""ColossalAI's traps, and what its engine makes of options; its curves are in test_parity.py and test_resume.py."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine_settings import engine_settings
from trainyard.config.catalogue import Model
from trainyard.core.errors import InputError
from trainyard.models.build import build
from trainyard.models.loss import Head, Objective
from trainyard.parallel import process_group
from trainyard.parallel.colossalai.engine import Engine
from trainyard.parallel.colossalai.plugin import (
    PlainObjective,
    group_names,
    restore_plain_head,
    sum_row_losses,
    use_eager_attention,
)


def objective(family: str) -> Objective:
    shape = {"layers": 2, "width": 32, "heads": 4, "context": 16, "vocabulary": 300}
    entry = Model.model_validate({"title": family, "family": family, "tokenizer": "bytes", "shape": shape})
    return Objective(build(entry, family, dropout=0.0, seed=0))


def batch_of(family: str) -> dict[str, Tensor]:
    tokens = torch.arange(34).reshape(2, 17) + 3
    labels = tokens[:, 1:].clone()
    labels[:, 9:] = -100
    if family not in ("bart", "t5"):
        return {"input_ids": tokens[:, :-1], "labels": labels}
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[0, 7:] = 0
    return {"input_ids": tokens[:, 1:], "attention_mask": mask, "decoder_input_ids": tokens[:, :-1], "labels": labels}


def attention(model: nn.Module) -> set[str]:
    modules: list[Any] = [module for module in model.modules() if hasattr(module, "config")]
    return {str(module.config._attn_implementation) for module in modules}


@pytest.mark.parametrize("family", ["gpt2", "opt", "t5", "bart", "llama"])
def test_attention_that_arrives_as_sdpa_is_made_eager_in_every_part_of_a_model(family: Any) -> None:
    model = objective(family).model
    for module in model.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = "sdpa"
    assert attention(model) == {"sdpa"}
    use_eager_attention(model)
    assert attention(model) == {"eager"}


@pytest.mark.parametrize("family", ["gpt2", "opt", "bart", "t5", "llama"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_plain_objective_loses_what_ours_does(family: Any, smoothing: float) -> None:
    ours, batch = Objective(objective(family).model, smoothing), batch_of(family)
    expected = ours(**batch).item()
    plain = PlainObjective(copy.deepcopy(ours.model), smoothing)
    assert type(plain.model.get_output_embeddings()) is nn.Linear
    assert plain(**batch).item() == pytest.approx(expected, rel=1e-6)
    with torch.no_grad():
        rows = [each(**batch, by_row=True).tolist() for each in (plain, objective(family))]
    assert rows[0] == pytest.approx(rows[1], rel=1e-6)
    if not smoothing:
        assert sum(rows[0]) == pytest.approx(expected, rel=1e-6)


def test_logits_of_padding_beyond_the_labels_cost_nothing() -> None:
    logits, labels = torch.randn(2, 5, 7), torch.tensor([[1, -100, 3], [-100, -100, 2]])
    losses = torch.nn.functional.cross_entropy(logits[[0, 0, 1], [0, 2, 2]], torch.tensor([1, 3, 2]), reduction="none")
    expected = [(losses[0] + losses[1]).item(), losses[2].item()]
    assert sum_row_losses(logits, labels).tolist() == pytest.approx(expected, rel=1e-6)


def test_a_tied_head_is_one_tensor_under_two_names() -> None:
    assert ["transformer.wte.weight", "lm_head.weight"] in group_names(objective("gpt2").model).values()


def test_a_head_of_ours_is_plain_again() -> None:
    made = objective("opt")
    assert type(made.model.get_output_embeddings()) is Head
    assert type(restore_plain_head(made.model).get_output_embeddings()) is nn.Linear


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"plugin": "zero3"}, "options.plugin: no such kind: 'zero3'.*torch-ddp"),
        ({"plugin": "torch-ddp", "level": 2}, "options.level: no such key.*plugin"),
    ],
)
def test_a_plugin_or_option_that_isn_t_there_is_named(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Engine(objective("gpt2"), engine_settings(options=options))


@pytest.fixture
def one_process():
    """A group of this process alone, as ColossalAI's plugins ask for."""
    from trainyard.parallel.colossalai.compat import Accelerator, set_accelerator  # noqa: PLC0415

    process_group.start("cpu")
    set_accelerator(Accelerator())
    yield
    process_group.stop()


class Stop(Exception):  # noqa: N818
    """Nothing more of a booster is wanted."""


@pytest.mark.slow
def test_the_booster_of_the_hybrid_plugin_sees_eager_attention_and_a_plain_head(one_process, monkeypatch) -> None:
    from trainyard.parallel.colossalai import plugin  # noqa: PLC0415

    seen: list[Any] = []

    class Booster(plugin.Booster):
        def boost(self, model: nn.Module, *rest: Any, **more: Any) -> Any:
            seen.append(model)
            raise Stop

    monkeypatch.setattr(plugin, "Booster", Booster)
    made = objective("gpt2")
    made.model.config._attn_implementation = "sdpa"
    with pytest.raises(Stop):
        Engine(made, engine_settings(options={"plugin": "hybrid"}, micro_batch=2, accumulation=2))
    assert attention(seen[0]) == {"eager"}
    assert type(seen[0].get_output_embeddings()) is nn.Linear


@pytest.mark.slow
def test_the_loss_scale_doubles_after_the_gradient_was_unscaled_and_halves_at_an_overflow(
    one_process, monkeypatch
) -> None:
    from colossalai.amp.naive_amp.mixed_precision_mixin import FP16MixedPrecisionMixin  # noqa: PLC0415

    from trainyard.parallel.colossalai import plugin  # noqa: PLC0415

    class Mixin(FP16MixedPrecisionMixin):
        overflow = False

        def check_local_overflow(self) -> bool:
            return self.overflow

    monkeypatch.setattr(plugin, "_STEPS_TO_DOUBLE", 2)
    mixin = Mixin(**plugin.loss_scale_arguments(engine_settings(initial_loss_scale=8.0)))  # pyright: ignore[reportArgumentType]
    scale = plugin.LossScale(mixin)
    seen = []
    for overflow in (False, False, True, False, False):
        mixin.overflow = overflow
        mixin.pre_backward(torch.zeros(()))
        before = scale.value
        if not mixin.should_skip_step():
            assert mixin.get_grad_div_scale() == before
        seen.append((before, scale.update()))
    assert seen == [(8, False), (8, False), (16, True), (8, False), (8, False)]
    assert scale.value == 16
    again = plugin.LossScale(Mixin())
    again.load_state_dict(scale.state_dict())
    assert again.value == 16


@pytest.mark.slow
def test_the_plugin_of_gemini_is_told_where_things_lie_in_chunks_that_a_small_model_has_several_of(one_process) -> None:
    from trainyard.parallel.colossalai.compat import GeminiPlugin  # noqa: PLC0415
    from trainyard.parallel.colossalai.gemini import Placement, plugin_arguments  # noqa: PLC0415

    model = objective("opt").model
    settings = engine_settings(precision="bf16", max_grad_norm=1.0, accumulation=4, initial_loss_scale=32.0)
    told = plugin_arguments(settings, Placement("static", 1.0, 0.5), model)
    plugin: Any = GeminiPlugin(**told)
    elements = sum(parameter.numel() for parameter in model.parameters())
    assert plugin.gemini_config["offload_optim_frac"] == 1.0
    assert plugin.gemini_config["offload_param_frac"] == 0.5
    assert plugin.gemini_config["enable_gradient_accumulation"]
    assert plugin.gemini_config["hidden_dim"] == 32
    assert told["initial_scale"] == 32.0
    assert plugin.gemini_config["min_chunk_size_m"] * 2**20 == pytest.approx(elements / 8)
    assert plugin.optim_kwargs["max_norm"] == 1.0
    whole = plugin_arguments(engine_settings(precision="fp16"), Placement("auto"), model)
    assert whole["placement_policy"] == "auto"
    assert whole["max_norm"] == float("inf")
    assert not whole["enable_gradient_accumulation"]


@pytest.mark.slow
def test_gemini_warms_up_while_its_memory_is_measured_and_has_placed_things_then() -> None:
    from trainyard.parallel.colossalai.gemini import Gemini  # noqa: PLC0415

    made = object.__new__(Gemini)
    for need, warming, phase in ((True, True, "warm-up"), (True, False, "placed"), (False, True, "placed")):
        made.manager = SimpleNamespace(need_warmup=need, is_warmup=lambda warming=warming: warming)
        assert made.phase() == phase


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gemini_s_adamw_divides_gradients_in_half_precision_on_the_host_too(dtype: torch.dtype) -> None:
    from trainyard.parallel.colossalai.gemini import AdamW  # noqa: PLC0415

    ours, theirs = nn.Parameter(torch.ones(8)), nn.Parameter(torch.ones(8))
    made, plain = AdamW([ours], fused=True), torch.optim.AdamW([theirs], fused=True)
    for step in range(3):
        gradient = torch.linspace(0.5 + step, 2, 8).to(dtype)
        # as Gemini has it: the gradient first, while the parameter's data is it
        master, ours.data = ours.data, gradient
        ours.grad = ours.data
        ours.data = master
        made.step(div_scale=4.0)
        theirs.grad = gradient.float() / 4
        plain.step()
    assert torch.equal(ours, theirs)


@pytest.mark.long
def test_gemini_s_two_processes_learn_what_one_does_and_go_on_bitwise(drive) -> None:
    common: dict[str, Any] = {"engine": "colossalai", "options": {"plugin": "gemini"}, "precision": "bf16"}
    curve = {"gpt2": {"family": "gpt2", "steps": 20, "max_grad_norm": 0.5}}
    single = {"engine": "single", "options": {"ranks": 2}, "precision": "fp32", "accumulation": 4}
    expected = drive(1, what="curves", curves=curve, order=[0, 2, 1, 3], **single)["gpt2"]
    order = {"order": [0, 1, 2, 3], "accumulation": 2, "driver": "gemini_driver"}
    found = drive(2, what="curves", curves=curve, **order, **common)["gpt2"]
    pairs = list(zip(found["rows"], expected["rows"], strict=True))
    assert max(abs(ours[0] - theirs[0]) for ours, theirs in pairs) < 1e-3
    assert [ours[1] for ours, _ in pairs] == pytest.approx([theirs[1] for _, theirs in pairs], rel=1e-2)
    assert found["altered"] == []
    assert found["untied"] == []
    for precision in ("bf16", "fp16"):
        resumed = drive(2, what="resume", family="gpt2", steps=4, **order, **common | {"precision": precision})
        assert resumed["again"] == resumed["on"]
        assert resumed["different"] == []
