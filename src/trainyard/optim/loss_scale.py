"""The factor that the loss is given in fp16, so that small gradients don't vanish."""

import math

_STEPS_TO_DOUBLE = 2_000


class LossScale:
    """A power of two that is halved at each overflow, and doubled after 2,000 steps without.

    The rule and its numbers are those of torch's GradScaler (Micikevicius et al. 2018). What
    differs is who judges: the norm of the whole gradient, which is the same number on every
    rank, so that all skip a step or none does, however the gradient is spread.

    Args:
        enabled: whether the loss is scaled, as in fp16.
        initial: the factor of the first step.

    Attributes:
        value: the factor; 1 for ever where it isn't `enabled`.
    """

    def __init__(self, enabled: bool, initial: float) -> None:
        self._enabled = enabled
        self._steps = 0
        self.value = initial if enabled else 1.0

    def is_overflow(self, norm: float) -> bool:
        """Whether a gradient of this norm is one that fp16 could not hold."""
        return self._enabled and not math.isfinite(norm)

    def update(self, overflowed: bool) -> None:
        """Take note of a step."""
        if not self._enabled:
            return
        self._steps = 0 if overflowed else self._steps + 1
        if overflowed:
            self.value /= 2
        elif self._steps % _STEPS_TO_DOUBLE == 0:
            self.value *= 2

    def state_dict(self) -> dict[str, float]:
        """What `load_state_dict` takes."""
        return {"value": self.value, "steps": self._steps}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from what `state_dict` gave."""
        self.value, self._steps = state["value"], int(state["steps"])
