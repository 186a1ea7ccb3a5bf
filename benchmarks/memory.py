"""Predicted memory beside the measured increase, over a grid on this machine's CPU.

`PYTHONPATH=src .venv/bin/python benchmarks/memory.py`, or a part:
`--parallel zero2,fsdp --models gpt2-52m --precision bf16 --shapes 2x128`.

Each cell is measured as a study measures it, in processes of its own: the increase of a rank's peak resident
memory over what it had after imports, the start of its group and a step of a very small model. The prediction is
arithmetic on the model's shape. The error is predicted over measured, less one.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trainyard.config.catalogue import Model, ParallelSetting
from trainyard.config.train import Train
from trainyard.config.yaml_entries import parse_entries
from trainyard.core.errors import InputError
from trainyard.estimate.memory import predict_execution
from trainyard.measure.throughput import measure
from trainyard.plan.capabilities import never_of_family

CONFIG = Path(__file__).parents[1] / "config"
# an encoder-decoder of the size of GPT-2 52M
BART = {"layers": 4, "width": 512, "heads": 8, "context": 512, "vocabulary": 50265}
MODELS = {
    **parse_entries(Model, CONFIG / "models.yaml"),
    "bart-56m": Model.model_validate({"title": "BART 56M", "family": "bart", "tokenizer": "bart", "shape": BART}),
}
SETTINGS: dict[str, ParallelSetting] = parse_entries(ParallelSetting, CONFIG / "parallel.yaml")
PARALLEL = (
    "single,ddp,zero1,fsdp,fsdp-offload,tensor,pipeline,zero0,zero1-deepspeed,zero2,zero3,zero2-offload,zero3-offload,"
    "torch-ddp,low-level-zero-1,low-level-zero"
)


def cells(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is measured: every setting that trains the model's family in the precision."""
    for name in arguments.models.split(","):
        for parallel in arguments.parallel.split(","):
            model, setting = MODELS[name], SETTINGS[parallel]
            for precision in arguments.precision.split(","):
                if precision not in setting.precision or never_of_family(setting, model.family):
                    continue
                processes = 1 if setting.one_process else arguments.processes
                for shape in arguments.shapes.split(","):
                    batch, length = (int(part) for part in shape.split("x"))
                    yield {
                        "kind": "cell",
                        "study": "memory",
                        "cell": f"{name}_{parallel}_{precision}_{shape}",
                        "model": {"name": name, **model.to_spec(pretrained=False)},
                        "parallel": {"name": parallel, **setting.to_spec()},
                        "processes": processes,
                        "threads": 1,
                        "device": "cpu",
                        "precision": precision,
                        "batch": batch,
                        "sequence_length": length,
                        "steps": arguments.steps,
                        "warmup_steps": 0,
                        "profiled_steps": 0,
                        "train": settings(arguments, batch * setting.data_ranks(processes), batch, length),
                        "memory_limit": None,
                    }


def settings(arguments: argparse.Namespace, rows: int, micro_batch: int, length: int) -> dict[str, Any]:
    """Of a training that takes one micro-batch a process, `rows` in all."""
    lengths = dict.fromkeys(("sequence_length", "source_length", "target_length"), length)
    train = {"steps": 1, "batch": rows, "micro_batch": micro_batch, "learning_rate": 1e-5, **lengths}
    train |= {"activation_checkpointing": arguments.activation_checkpointing}
    return Train.model_validate(train).model_dump(mode="json")


def measured(cell: dict[str, Any]) -> dict[str, Any]:
    """The cell's file."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "cell.json"
        measure(cell, output, Path(folder) / "log")
        return json.loads(output.read_text(encoding="utf-8"))


def row(cell: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    predicted = predict_execution(cell)
    total = predicted.total if predicted else None
    names = {key: cell[key] for key in ("cell", "precision", "batch", "sequence_length", "processes")}
    names |= {"model": cell["model"]["name"], "parallel": cell["parallel"]["name"], "predicted": total}
    try:
        found = measured(cell)
    except InputError as error:
        return {**names, "measured": None, "error": None, "reason": str(error).splitlines()[0]}
    increase = found["peak_memory_increase"]
    error = total / increase - 1 if total and increase else None
    return {**names, "measured": increase, "error": error, "reason": found["reason"]}


def installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def line(found: dict[str, Any]) -> str:
    """A row in Markdown, in MB of 10^6 bytes."""
    predicted, increase = (f"{found[key] / 1e6:,.0f}" if found[key] else "-" for key in ("predicted", "measured"))
    error = f"{100 * found['error']:+.1f} %" if found["error"] is not None else found["reason"] or "not predicted"
    shape = f"{found['batch']} x {found['sequence_length']}"
    names = f"{found['model']} | {found['parallel']} x{found['processes']} | {found['precision']} | {shape}"
    return f"| {names} | {predicted} | {increase} | {error} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="gpt2-52m,opt-125m,bart-56m")
    parser.add_argument("--parallel", default=PARALLEL)
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument("--shapes", default="2x128,8x256", help="sequences per process x tokens per sequence")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--activation-checkpointing", action="store_true")
    parser.add_argument("--output", type=Path, help="a JSON Lines file to add rows to; cells in it are left out")
    arguments = parser.parse_args()
    done = set()
    if arguments.output and arguments.output.exists():
        done = {json.loads(text)["cell"] for text in arguments.output.read_text(encoding="utf-8").splitlines()}
    print(
        time.strftime("%Y-%m-%d"), *(installed(name) for name in ("torch", "transformers", "deepspeed", "colossalai"))
    )
    print("\n| model | setting | precision | batch | predicted, MB | measured, MB | error |")
    print("|---|---|---|---|---|---|---|")
    errors = []
    for cell in cells(arguments):
        if cell["cell"] in done:
            continue
        found = row(cell)
        print(line(found), flush=True)
        if arguments.output:
            with arguments.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
        if found["error"] is not None:
            errors.append(abs(found["error"]))
    if errors:
        inside = sum(error <= 0.15 for error in errors)
        print(f"\n{inside} of {len(errors)} within 15 %, largest error {100 * max(errors):.1f} %")


if __name__ == "__main__":
    main()
