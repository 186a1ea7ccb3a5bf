"""What a run asks of a cluster, scaled by its size; a guess that only has to be large enough."""

from trainyard.config.runs import Catalogues, Run

# sustained FLOP/s a process: a third of an A100's peak; one thread of a CPU
_RATE = {"cuda": 100e12, "cpu": 20e9}
_MOST_MINUTES = 7 * 24 * 60


def training_tokens(run: Run, catalogues: Catalogues) -> int:
    """About how many tokens a run sees."""
    train = run.specification["train"]
    if train["tokens"]:
        return train["tokens"]
    length = train["sequence_length"]
    if run.specification["task"] == "summarisation":
        length = train["source_length"] + train["target_length"]
    batch_tokens = train["batch_tokens"] or train["batch"] * length
    if train["steps"]:
        return train["steps"] * batch_tokens
    return int(train["epochs"] * (catalogues.datasets[run.specification["dataset"]].tokens or 10_000_000))


def minutes(run: Run, catalogues: Catalogues) -> int:
    """Wall-clock minutes to ask for: twice 6 N FLOP a token at a sustained rate, and half an hour."""
    flop = 6 * catalogues.parameters(run.specification["model"]["name"]) * training_tokens(run, catalogues)
    rate = _RATE[run.specification["device"]] * run.specification["processes"]
    return min(_MOST_MINUTES, 30 + round(2 * flop / rate / 60))


def megabytes(parameters: int, processes: int) -> int:
    """Host memory to ask for: weights, gradients, moments and copies in fp32, and each process's libraries."""
    return 2_000 + 1_500 * processes + 24 * parameters * processes // 1_000_000
