"""What the files of measurements hold: a cell, and a search for the largest batch."""

from collections.abc import Sequence
from typing import Any

from .sample_text import HOSTILE


def measured_cell(
    study: str,
    parallel: str,
    batch: int,
    speed: float | None,
    outcome: str = "finished",
    reason: str | None = None,
    *,
    model: str = "gpt2-1m",
    device: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """A measured cell of two processes; `more` replaces keys of its file."""
    cell = f"{model}-{parallel}-b{batch}{''.join(f'-{key}' for key in more)}"
    peak = 5e8 + 1e7 * batch
    predicted = {
        "parameters": 4e7,
        "gradients": 4e7,
        "optimizer": 2.8e8,
        "activations": 1e6 * batch,
        "buffers": 1e7,
        "total": 3.7e8 + 1e6 * batch,
        "kind": "device" if device else "host",
        "host": 2e8 if device else 0,
        "moment": "the backward pass",
    }
    ranks = [
        {
            "rank": rank,
            "peak_host_memory": peak + 1e6 * rank,
            "host_memory_increase": peak - 3e8,
            "peak_device_memory": 2 * peak if device else None,
        }
        for rank in range(2)
    ]
    phases = ["warm-up"] * 3 + ["placed"] * 10 if parallel.startswith("gemini") else [None] * 13
    return {
        "study": study,
        "kind": "cell",
        "cell": cell,
        "model": model,
        "parallel": parallel,
        "processes": 2,
        "precision": "fp32",
        "batch": batch,
        "sequence_length": 128,
        "activation_checkpointing": False,
        "compile": False,
        "tf32": False,
        "freeze": [],
        "memory_limit": None,
        "outcome": outcome,
        "reason": reason,
        "steps": 20,
        "warmup_steps": 3,
        "step_seconds": speed and {"median": 2 * batch * 128 / speed, "p10": 0.1, "p90": 0.2},
        "tokens_per_second": speed,
        "samples_per_second": speed and speed / 128,
        "peak_memory": speed and (2 * peak if device else peak + 1e6),
        "peak_memory_increase": speed and (2 * peak if device else peak - 3e8),
        "memory_kind": speed and predicted["kind"],
        "mfu": speed and speed / 1e5,
        "mfu_reason": None,
        "mfu_formula": "6 N + 12 L h Q T" if speed else None,
        "peak_flops": 5e10 if speed else None,
        "peak_source": "measured" if speed else None,
        "device_name": f"cpu {HOSTILE}" if speed else None,
        "timing": "alone",
        "ranks": ranks if speed else None,
        "tflops": speed and speed / 1e4,
        "tflops_megatron": None if model.startswith("bart") else speed and speed / 9e3,
        "tflops_formula": "tokens/s x (6 N + 12 L h Q T) / processes" if speed else None,
        "tflops_megatron_formula": "24 (3 + c) B S L h^2" if speed else None,
        "breakdown_reason": None,
        "breakdown": speed
        and {"compute": 0.06, "communication": 0.02, "optimizer": 0.01, "offload": 0.0, "other": 0.01},
        "memory_by_step": speed
        and [
            {"step": step, "host": 5e8 + 1e6 * step, "device": 1e9 if device else None, "phase": phase}
            for step, phase in enumerate(phases, 1)
        ],
        "predicted_memory": predicted,
        "prediction_error": speed and 0.1,
        "launches": launches_of([speed] * 3, memory=2 * peak if device else peak - 3e8) if speed else [],
        **more,
    }


def launches_of(speeds: Sequence[float], minute: int = 0, memory: float = 2e8) -> list[dict[str, Any]]:
    """A cell's launches: one an hour, from a minute on, each taking 1 MB less memory than the one before."""
    return [
        {
            "launch": number,
            "started": f"2026-01-01T{number:02}:{minute:02}:00+00:00",
            "tokens_per_second": speed,
            "peak_memory_increase": memory + 1e6 - 1e6 * number,
        }
        for number, speed in enumerate(speeds, 1)
    ]


def batch_search(
    study: str,
    parallel: str,
    largest: int | None,
    reason: str | None = None,
    model: str = "gpt2-1m",
    bound: int = 4096,
) -> dict[str, Any]:
    """A search for the largest batch."""
    tried = [{"batch": batch, "outcome": "finished", "reason": None} for batch in range(1, (largest or 0) + 1)]
    tried += [{"batch": (largest or 0) + 1, "outcome": "out-of-memory", "reason": HOSTILE}]
    return {
        "study": study,
        "kind": "search",
        "cell": f"{model}-{parallel}-search",
        "model": model,
        "parallel": parallel,
        "processes": 2,
        "precision": "fp32",
        "batch": None,
        "sequence_length": 128,
        "activation_checkpointing": False,
        "compile": False,
        "tf32": False,
        "freeze": [],
        "memory_limit": None,
        "outcome": "finished" if largest else "unsupported",
        "reason": reason,
        "largest_batch": largest,
        "largest_tried": bound,
        "tried": tried if largest else [],
    }
