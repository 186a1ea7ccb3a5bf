"""The learning rate of each step."""

import math

from trainyard.config.train import Train


def warmup_steps(train: Train, steps: int) -> int:
    """The steps of warm-up: `warmup_steps`, or `warmup_ratio` of all `steps`, rounded up; none by default."""
    if train.warmup_ratio is not None:
        return math.ceil(round(train.warmup_ratio * steps, 9))
    return train.warmup_steps or 0


def learning_rate(train: Train, step: int, steps: int) -> float:
    """The learning rate of `step`, which counts from 1, of `steps`.

    With W steps of warm-up, k = step - 1 and S = steps, the rate is `learning_rate` times

    - while k < W: warmup_start + (1 - warmup_start) k / W;
    - then, with p = (k - W) / (S - W) from 0 towards 1 and f = final_fraction:
      linear: 1 - (1 - f) p; cosine: f + (1 - f) (1 + cos(pi p)) / 2; constant: 1.

    So the first step has `warmup_start`, the first one after the warm-up the whole
    rate, and the one after the last would have `final_fraction`. With the
    defaults these are the schedules of transformers' `get_linear_schedule_with_warmup`
    and `get_cosine_schedule_with_warmup`, and of nanoGPT's `get_lr`.
    """
    done = step - 1
    warmup = warmup_steps(train, steps)
    if done < warmup:
        return train.learning_rate * (train.warmup_start + (1 - train.warmup_start) * done / warmup)
    progress = (done - warmup) / max(1, steps - warmup)
    final = train.final_fraction
    match train.decay:
        case "linear":
            part = 1 - (1 - final) * progress
        case "cosine":
            part = final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
        case "constant":
            part = 1.0
    return train.learning_rate * part
