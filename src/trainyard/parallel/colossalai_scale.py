"""The loss scale of ColossalAI's own mixed precision, in fp16."""

from typing import Any

from trainyard.parallel.engine import EngineSettings

NEVER = 2**31
"""For ColossalAI's `growth_interval`: `LossScale` doubles in its place."""

_STEPS_TO_DOUBLE = 2_000


class LossScale:
    """The scale that a plugin keeps: halved at each overflow, doubled after 2,000 steps without, as torch's is.

    ColossalAI 0.5.0 doubles between a gradient and its unscaling, which halves that step's gradient. So it is
    told never to, and this class does it after the step.

    Args:
        mixin: the plugin's, which holds the scale; anything else in bf16 and fp32, where there is none.
    """

    def __init__(self, mixin: Any) -> None:
        self._mixin = mixin if hasattr(mixin, "grad_scaler") else None
        self._steps = 0

    @property
    def value(self) -> float | None:
        """The factor that the loss is given now; None without one."""
        return None if self._mixin is None else float(self._mixin.loss_scale)

    def update(self) -> bool:
        """Take note of a step; tells whether its gradient had overflowed, so that no weight was changed."""
        if self._mixin is None:
            return False
        skipped = self._mixin.found_overflow.item() > 0
        self._steps = 0 if skipped else self._steps + 1
        if self._steps and self._steps % _STEPS_TO_DOUBLE == 0:
            self._mixin.grad_scaler._grow_scale()
        return skipped

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        if self._mixin is None:
            return {}
        return {"scaler": self._mixin.grad_scaler.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        if self._mixin is not None:
            self._mixin.grad_scaler.load_state_dict(state["scaler"])
            self._steps = state["steps"]


def arguments(settings: EngineSettings) -> dict[str, float]:
    """What a plugin is told of its scale."""
    return {"initial_scale": settings.initial_loss_scale, "growth_interval": NEVER, "hysteresis": 1}
