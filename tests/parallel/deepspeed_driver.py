"""What the tests of DeepSpeed look at, as one rank of a launch: `deepspeed_driver.py ARGUMENTS.json`.

Its model is large enough that DeepSpeed swaps it: parts of 1 MiB and more.
"""

import gc
import json
import sys
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from driver import micro_batch, objective

from engine_settings import engine_settings
from trainyard.parallel import process_group
from trainyard.parallel.deepspeed import engine as deepspeed
from trainyard.parallel.engine import Engine, load_engine

LARGE = {"width": 128, "vocabulary": 4200}


def engine(
    arguments: Mapping[str, Any],
    options: Mapping[str, Any],
    precision: Any = "fp32",
    name: str = "deepspeed",
    shape: dict | None = None,
    **more: Any,
) -> Engine:
    settings = engine_settings(
        precision=precision,
        weight_decay=0.1,
        micro_batch=2,
        options=options,
        scratch=Path(tempfile.mkdtemp(dir=arguments["folder"])),
        **more,
    )
    return load_engine(name)(objective("gpt2", shape), settings)


def losses(engine: Engine, steps: int) -> list[float]:
    return [engine.train_step([micro_batch("gpt2", step, process_group.rank())], 1e-3).loss for step in range(steps)]


def clipping(arguments: dict) -> dict:
    """The losses with our configuration, and with one that leaves clipping to DeepSpeed."""
    stated = losses(engine(arguments, {"level": 2}), 20)
    ours = deepspeed.make_config

    def silent(*given: Any) -> dict:
        return {key: value for key, value in ours(*given).items() if key != "gradient_clipping"}

    deepspeed.make_config = silent
    left_out = losses(engine(arguments, {"level": 2}), 20)
    deepspeed.make_config = ours
    return {"stated": stated, "left out": left_out}


def precision(arguments: dict) -> dict:
    """The losses in bf16 of the engines that hold weights alike, and of fp16, which no CPU is said to have."""
    from deepspeed.accelerator import get_accelerator  # noqa: PLC0415

    levels: dict[str, dict[str, Any]] = {f"zero{stage}": {"level": stage} for stage in range(4)}
    levels["zero3-offload"] = {"level": 3, "offload_optimizer": "cpu", "offload_parameters": "cpu"}
    found: dict[str, Any] = {name: losses(engine(arguments, options, "bf16"), 20) for name, options in levels.items()}
    found["fsdp"] = losses(engine(arguments, {}, "bf16", "fsdp"), 20)
    found["ddp"] = losses(engine(arguments, {}, "bf16", "ddp"), 20)
    found["ddp in fp32"] = losses(engine(arguments, {}, "fp32", "ddp"), 20)
    accelerator = get_accelerator()
    assert accelerator is not None
    accelerator.is_fp16_supported = lambda: True
    for name, options in levels.items():
        made = engine(arguments, options, "fp16")
        steps = [made.train_step([micro_batch("gpt2", step, process_group.rank())], 1e-3) for step in range(20)]
        found[f"{name} in fp16"] = [step.loss for step in steps]
        found[f"scale of {name}"] = [(step.loss_scale, step.skipped) for step in steps]
    return found


def overflow(arguments: dict) -> dict:
    """Steps in fp16 whose first loss scale is too high."""
    from deepspeed.accelerator import get_accelerator  # noqa: PLC0415

    accelerator = get_accelerator()
    assert accelerator is not None
    accelerator.is_fp16_supported = lambda: True
    found = {}
    for stage in range(4):
        made = engine(arguments, {"level": stage}, "fp16", initial_loss_scale=2**31)
        before = made.full_state()
        first, second = (made.train_step([micro_batch("gpt2", step, process_group.rank())], 1e-3) for step in range(2))
        after = made.full_state()
        found[stage] = {"scales": [first.loss_scale, second.loss_scale], "skipped": [first.skipped, second.skipped]}
        if before is not None and after is not None:
            found[stage]["unchanged"] = all(torch.equal(before[name], after[name]) for name in before)
    return found


def swapping(arguments: dict) -> dict:
    """The losses with and without files, and the files: of the optimizer, and of parameters."""
    found: dict[str, Any] = {"none": losses(engine(arguments, {"level": 3}, shape=LARGE), 20)}
    swaps = {
        "optimizer": {"level": 3, "offload_optimizer": "nvme"},
        "parameters": {"level": 3, "offload_optimizer": "nvme", "offload_parameters": "nvme"},
    }
    for name, options in swaps.items():
        made = engine(arguments, {**options, "sub_group": 300_000}, shape=LARGE)
        found[name] = losses(made, 20)
        assert made.settings.scratch is not None
        files = made.settings.scratch.rglob("*.swp")
        found[f"files of {name}"] = {
            str(file.relative_to(made.settings.scratch)): file.stat().st_size for file in files
        }
    return found


def closing(arguments: dict) -> dict:
    """Whether DeepSpeed's engine is gone when the group is left."""
    made = engine(arguments, {"level": 2})
    losses(made, 2)
    assert isinstance(made, deepspeed.Engine)
    inner = weakref.ref(made.engine)
    leave, seen = dist.destroy_process_group, []

    def left() -> None:
        seen.append(inner() is None)
        leave()

    dist.destroy_process_group = left
    made.close()
    del made
    gc.collect()
    return {"gone": seen}


def main() -> None:
    arguments = json.loads(Path(sys.argv[1]).read_text())
    deepspeed.Engine.start("cpu")
    looks = {"clipping": clipping, "precision": precision, "overflow": overflow, "swapping": swapping}
    found = {name: looks[name](arguments) for name in arguments["looks"]}
    if "closing" in arguments:
        found["closing"] = closing(arguments)
    if process_group.rank() == 0:
        Path(arguments["output"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
