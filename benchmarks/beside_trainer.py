"""What benchmarks of training beside transformers' Trainer share: our loop, the Trainer's settings, steps in turn."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback

from trainyard.config.catalogue import Model, ParallelSetting, Precision
from trainyard.config.train import Train
from trainyard.data.loader import Loader
from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.parallel.engine import EngineSettings, load_engine
from trainyard.train.loop import Loop
from trainyard.train.metrics import MetricsFile

Device = Literal["cpu", "cuda"]


class InTurn(TrainerCallback):
    """Times each step of the Trainer, and takes and times one of each of our loops after it.

    Attributes:
        theirs: the seconds of the Trainer's steps.
        ours: the seconds of each loop's steps.
    """

    def __init__(self, loops: Mapping[str, Loop]) -> None:
        self.theirs: list[float] = []
        self.ours: dict[str, list[float]] = {name: [] for name in loops}
        self._loops = loops
        self._mark = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._mark = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop it, take our steps, and start it again."""
        self.theirs.append(time.perf_counter() - self._mark)
        for name, loop in self._loops.items():
            start = time.perf_counter()
            row = loop.step(len(self.theirs))
            assert loop.metrics is not None
            loop.metrics.append(row)
            self.ours[name].append(time.perf_counter() - start)
        self._mark = time.perf_counter()


def make_loop(
    model: Model, train: Train, loader: Loader, folder: Path, precision: Precision = "fp32", device: Device = "cpu"
) -> Loop:
    """Our loop in one process, which writes its rows into `folder`; its engine has to be started before."""
    folder.mkdir()
    settings = EngineSettings(
        precision=precision,
        train=train,
        parallel=ParallelSetting.from_spec({"name": "single", "engine": "single"}),
        micro_batch=loader.micro_batch(1),
        accumulation=loader.accumulation(1),
        family=model.family,
        device=device,
    )
    engine = load_engine("single")(Objective(build(model, "benchmark", seed=1)), settings)
    return Loop(train, engine, loader, MetricsFile(folder / "metrics.jsonl"), folder / "checkpoints")


def match(train: Train, folder: Path, steps: int, device: Device = "cpu") -> dict[str, Any]:
    """The arguments with which the Trainer optimises as `train` says, and neither logs nor saves."""
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": train.weight_decay,
        "adam_beta1": train.betas[0],
        "adam_beta2": train.betas[1],
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused",
        "use_cpu": device == "cpu",
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
