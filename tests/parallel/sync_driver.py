"""Counts how often a step reads a tensor, as one rank of a launch: `sync_driver.py ARGUMENTS.json`.

On a GPU the host waits there for all that it has queued. What the host alone knows, the labels of its batches and
what gloo sums, isn't counted; nor is what a framework reads in its own code, which is told apart.
"""

import json
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import driver
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import trainyard
from trainyard.parallel import process_group
from trainyard.parallel.engine import load_engine

READS = {"item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__int__", "__float__", "__index__", "__contains__"}
SCALAR = "_local_scalar_dense"
ON_HOST = {
    ("engine.py", "count_predicted"),
    ("process_group.py", "_reduce"),
    ("attention.py", "mask_padding"),
    ("loss.py", "_find_predicted"),  # labels of a CPU; on a GPU it looks at none
}
FRAMEWORKS = ("deepspeed", "colossalai")


class Reads(TorchFunctionMode):
    """What is read by a method of a tensor."""

    def __init__(self, seen: Counter) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in READS and args and isinstance(args[0], Tensor):
            count(self.seen)
        return func(*args, **(kwargs or {}))


class Scalars(TorchDispatchMode):
    """What is read below Python's methods."""

    def __init__(self, seen: Counter) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ == SCALAR:
            count(self.seen, below=True)
        return func(*args, **(kwargs or {}))


def count(seen: Counter, below: bool = False) -> None:
    frames = [frame for frame in traceback.extract_stack() if Path(frame.filename).name != Path(__file__).name]
    if ON_HOST & {(Path(frame.filename).name, frame.name) for frame in frames}:
        return
    ours = str(Path(trainyard.__file__).parent)
    place = next(f for f in reversed(frames) if "/torch/" not in f.filename)
    who = "ours" if place.filename.startswith(ours) or "/transformers/" in place.filename else "framework"
    seen[f"{who} {'scalar' if below else 'method'} {Path(place.filename).name} {place.name}"] += 1


def main() -> None:
    arguments = json.loads(Path(sys.argv[1]).read_text())
    load_engine(arguments["engine"]).start("cpu")
    found = {}
    for family in arguments["families"]:
        made = driver.engine(arguments | {"family": family}, max_grad_norm=0.5)
        share = [driver.micro_batch(family, 0, number) for number in range(arguments["accumulation"])]
        made.train_step(share, 1e-3)
        seen: Counter = Counter()
        with Reads(seen), Scalars(seen):
            made.train_step(share, 1e-3)
        found[family] = seen
    if process_group.rank() == 0:
        Path(arguments["output"]).write_text(json.dumps(found))
    process_group.stop()


if __name__ == "__main__":
    main()
