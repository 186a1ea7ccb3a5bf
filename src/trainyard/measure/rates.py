"""Speed of a measured cell, and how much of its device's peak that is, by arithmetic on its step times."""

import statistics
from typing import Any

from trainyard.config.catalogue import Model
from trainyard.config.shapes import flops_per_token, megatron_flops
from trainyard.parallel.peaks import MFU_FORMULA, Peak
from trainyard.timing import percentiles

FLOPS_FORMULA = "tokens/s x (6 N + 12 L h Q T) / processes"
MEGATRON_FORMULA = "24 (3 + c) B S L h^2 (1 + S / 6h + V / 16 L h) / (step x processes)"


def speed(seconds: list[float], cell: dict[str, Any], data_ranks: int) -> dict[str, Any]:
    """Step time and throughput over all processes, from the times of the steps after the warm-up.

    Processes that share a copy of the model share its batch, so that samples are counted by data rank.
    """
    median = statistics.median(seconds)
    samples = cell["batch"] * data_ranks
    return {
        "step_seconds": percentiles(seconds),
        "tokens_per_second": samples * cell["sequence_length"] / median,
        "samples_per_second": samples / median,
    }


def utilisation(seconds: list[float], cell: dict[str, Any], data_ranks: int, top: Peak) -> dict[str, Any]:
    """TFLOP/s of a process by two counts, and model FLOPs utilisation with the peak that it is a part of.

    Megatron's count holds for decoders with a feed-forward layer of four times the width; elsewhere it is None.
    """
    model = Model.of_job(cell["model"])
    median, length = statistics.median(seconds), cell["sequence_length"]
    share = cell["batch"] * data_ranks / cell["processes"]  # samples of one process
    flops = share * length * flops_per_token(model, length) / median
    work = megatron_flops(model, 1, length, cell["activation_checkpointing"]) * share / median
    holds = model.family in ("gpt2", "opt") and model.shape.feed_forward in (None, 4 * model.shape.width)
    return {
        "tflops": flops / 1e12,
        "tflops_formula": FLOPS_FORMULA,
        "tflops_megatron": work / 1e12 if holds else None,
        "tflops_megatron_formula": MEGATRON_FORMULA,
        "mfu": flops / top.flops,
        "mfu_formula": MFU_FORMULA,
        "peak_flops": top.flops,
        "peak_source": top.source,
    }
