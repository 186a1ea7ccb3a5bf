"""What an engine and a measured cell are told, where a test names only what it is about."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainyard.config.catalogue import ParallelSetting, Precision
from trainyard.config.train import Train
from trainyard.parallel.engine import EngineSettings


def engine_settings(
    precision: Precision = "fp32",
    *,
    micro_batch: int = 1,
    accumulation: int = 1,
    family: str = "gpt2",
    device: Any = "cpu",
    scratch: Path | None = None,
    options: Mapping[str, Any] | None = None,
    tensor: int = 1,
    pipeline: int = 1,
    **train: Any,
) -> EngineSettings:
    """One step on one sequence without clipping or decay, but for the settings in `train`."""
    setting = {"name": "any", "engine": "any", "options": options or {}, "tensor": tensor, "pipeline": pipeline}
    usual = {"steps": 1, "batch": 1, "learning_rate": 1e-3, "weight_decay": 0.0, "max_grad_norm": None}
    return EngineSettings(
        precision=precision,
        train=Train.model_validate(usual | train),
        parallel=ParallelSetting.from_spec(setting),
        micro_batch=micro_batch,
        accumulation=accumulation,
        family=family,
        device=device,
        scratch=scratch,
    )


def cell_train(rows: int, length: int, ranks: int = 1, **train: Any) -> dict[str, Any]:
    """The settings of training of a measured cell, as its specification holds them."""
    lengths = dict.fromkeys(("sequence_length", "source_length", "target_length"), length)
    usual = {"steps": 1, "batch": rows * ranks, "micro_batch": rows, "learning_rate": 1e-5}
    return Train.model_validate(usual | lengths | train).model_dump(mode="json")
