"""What a run asks of a cluster, scaled by its size; a guess that only has to be large enough."""

import math
from typing import Any

from trainyard.config.catalogue import Model
from trainyard.config.train import Train, joined_length
from trainyard.estimate.families import load_family
from trainyard.estimate.parameters import flops_per_pair, flops_per_token
from trainyard.metrics import METRICS
from trainyard.plan.runs import Catalogues, Execution

RATE = {"cuda": 100e12, "cpu": 20e9}
"""Sustained FLOP/s: a third of an A100's peak; one thread of a CPU."""
_MOST_MINUTES = 7 * 24 * 60
_TOKENS = 10_000_000  # of a run whose dataset doesn't tell
# of a dataset that is evaluated whole, and what an average row costs: read by all endings, or generated token by token
_ROWS = 10_000
_TOKENS_PER_TEXT = 20_000  # that is written to be read


def training_tokens(run: Execution, catalogues: Catalogues) -> int | None:
    """About how many tokens a run sees, those of pairs at their full length; None where its dataset doesn't tell."""
    train, dataset = run.specification["train"], catalogues.datasets[run.specification["dataset"]]
    if train["tokens"]:
        return train["tokens"]
    if run.specification["task"] != "summarisation":
        batch_tokens = train["batch_tokens"] or train["batch"] * train["sequence_length"]
        if train["steps"]:
            return train["steps"] * batch_tokens
        return None if dataset.tokens is None else int(train["epochs"] * dataset.tokens)
    pair, rows = train["source_length"] + train["target_length"], dataset.rows or dataset.count_rows("train")
    if train["steps"]:
        return train["steps"] * train["batch"] * pair
    return None if rows is None else math.ceil(train["epochs"] * rows / train["batch"]) * train["batch"] * pair


def training_flops(run: Execution, tokens: int) -> float:
    """FLOPs to train all weights on so many tokens, in rows of full length, by the counts of estimate/parameters.py."""
    model, train = Model.from_spec(run.specification["model"]), Train.model_validate(run.specification["train"])
    if load_family(model.family).is_encoder_decoder:
        pairs = tokens / (train.source_length + train.target_length)
        return pairs * flops_per_pair(model, train.source_length, train.target_length)
    on_pairs = run.specification["task"] == "summarisation"
    return tokens * flops_per_token(model, joined_length(train) if on_pairs else train.sequence_length)


def minutes(run: Execution, catalogues: Catalogues) -> int:
    """Wall-clock minutes to ask for: twice the FLOPs at a sustained rate, and half an hour."""
    flop = training_flops(run, training_tokens(run, catalogues) or _TOKENS)
    rate = RATE[run.specification["device"]] * run.specification["processes"]
    return min(_MOST_MINUTES, 30 + round(2 * flop / rate / 60))


def evaluation_minutes(metric: str, settings: dict[str, Any], parameters: int, cores: int) -> int:
    """Wall-clock minutes to ask for: five times 2 N FLOP per token at a sustained rate, and half an hour.

    Args:
        metric: which.
        settings: its own, and the device.
        parameters: N.
        cores: of a CPU, or GPUs.
    """
    rows = settings.get("limit") or settings.get("prompts") or _ROWS
    tokens = rows * (METRICS[metric].tokens_per_item if metric in METRICS else _TOKENS_PER_TEXT)
    flop = 2 * parameters * tokens * (1 + (settings.get("shots") or 0))
    return min(_MOST_MINUTES, 30 + round(5 * flop / (RATE[settings["device"]] * cores) / 60))


def megabytes(parameters: int, processes: int, predicted: int | None = None) -> int:
    """Host memory to ask for, for the processes of one node.

    Each has its libraries, and weights, gradients, moments and copies in fp32, or what is predicted of it
    where that is more: on a CPU activations are in host memory too.

    Args:
        parameters: of the model.
        processes: on the node.
        predicted: bytes that one of them is to need, where that is known.
    """
    one = max(24 * parameters, 5 * (predicted or 0) // 4) // 1_000_000
    return 2_000 + (1_500 + one) * processes
