"""The learning rate of each step."""

import math

from trainyard.config.train import Train


def warmup_steps(train: Train, steps: int) -> int:
    """The steps of warm-up: `warmup_steps`, or `warmup_ratio` of all `steps`, rounded up; none by default."""
    if train.warmup_ratio is not None:
        return _round_up(train.warmup_ratio * steps)
    return train.warmup_steps or 0


def decay_steps(train: Train, steps: int) -> int:
    """The steps of decay at the end: all after the warm-up, or `decay_ratio` of all `steps`, rounded up, if fewer."""
    after_warmup = max(0, steps - warmup_steps(train, steps))
    if train.decay_ratio is None:
        return after_warmup
    return min(after_warmup, _round_up(train.decay_ratio * steps))


def _round_up(steps: float) -> int:
    """To a whole step; what binary fractions add to a whole one does not count."""
    return math.ceil(round(steps, 9))


def learning_rate(train: Train, step: int, steps: int) -> float:
    """The learning rate of `step`, which counts from 1, of `steps`.

    With W steps of warm-up, D of decay, k = step - 1 and S = steps, the rate is `learning_rate` times

    - while k < W: warmup_start + (1 - warmup_start) k / W;
    - while k < S - D: 1;
    - then, with p = (k - (S - D)) / D from 0 towards 1 and f = final_fraction:
      linear: 1 - (1 - f) p; cosine: f + (1 - f) (1 + cos(pi p)) / 2; sqrt: 1 - (1 - f) sqrt(p); constant: 1.

    So the first step has `warmup_start`, the first one after the warm-up the whole
    rate, and the one after the last would have `final_fraction`. With the
    defaults these are the schedules of transformers' `get_linear_schedule_with_warmup`
    and `get_cosine_schedule_with_warmup`, and of nanoGPT's `get_lr`; with `decay_ratio`
    that of `get_wsd_schedule` (Hu et al. 2024; of `sqrt` Haegele et al. 2024, equation 1).
    """
    done = step - 1
    warmup = warmup_steps(train, steps)
    if done < warmup:
        return train.learning_rate * (train.warmup_start + (1 - train.warmup_start) * done / warmup)
    decaying = decay_steps(train, steps)
    progress = max(0, done - (steps - decaying)) / max(1, decaying)
    final = train.final_fraction
    match train.decay:
        case "linear":
            part = 1 - (1 - final) * progress
        case "cosine":
            part = final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
        case "sqrt":
            part = 1 - (1 - final) * math.sqrt(progress)
        case "constant":
            part = 1.0
    return train.learning_rate * part
