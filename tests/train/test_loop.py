"""The training loop by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.parallel.pytorch import single
from trainyard.train.loop import DivergedError, Loop
from trainyard.train.spec import Specification
from trainyard.train.worker import _loaders, engine_settings


def test_a_loss_scale_that_cannot_get_smaller_ends_the_run_with_a_reason(
    specification: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    half = specification(steps=12, initial_loss_scale=4) | {"precision": "fp16"}
    parsed = Specification.parse(half, "spec.json")
    loader, _ = _loaders(parsed)
    model = build(parsed.model, "tiny", seed=1)
    engine = single.Engine(Objective(model), engine_settings(parsed, loader, tmp_path / "scratch"))
    loop = Loop(parsed.train, engine, loader, None, tmp_path)
    assert "skipped" not in loop.step(1)
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: gradient * torch.inf)
    assert [loop.step(step)["loss_scale"] for step in (2, 3)] == [4.0, 2.0]
    with pytest.raises(
        DivergedError, match=r"not finite in fp16 at step 4 though the loss is scaled by no more than 1 "
    ):
        loop.step(4)
