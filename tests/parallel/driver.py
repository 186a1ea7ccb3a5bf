"""Trains tiny models as one rank of a launch, and writes what it saw: `driver.py ARGUMENTS.json`.

It is started by the launcher itself, as training is, since an engine is only itself among others.
"""

import json
import sys
from pathlib import Path

import torch

from trainyard.config.catalogue import Family, Model
from trainyard.models.build import build
from trainyard.models.objective import Objective
from trainyard.parallel import group
from trainyard.parallel.engine import Batch, Engine, EngineSettings, load_engine

RANKS, ROWS, TIME, VOCABULARY = 2, 2, 16, 300


def micro_batch(family: Family, step: int, number: int) -> Batch:
    """One of the step's micro-batches, (ROWS, TIME); each predicts its own number of tokens."""
    generator = torch.Generator().manual_seed(1000 * (step % 11) + number)
    tokens = torch.randint(3, VOCABULARY, (ROWS, TIME + 1), generator=generator)
    predicted = int(torch.randint(2, TIME, (1,), generator=generator))
    labels = tokens[:, 1:].clone()
    labels[:, predicted:] = -100
    if family == "bart":
        mask = torch.ones(ROWS, TIME, dtype=torch.int64)
        mask[0, predicted:] = 0
        return {
            "input_ids": tokens[:, 1:],
            "attention_mask": mask,
            "decoder_input_ids": tokens[:, :-1],
            "labels": labels,
        }
    return {"input_ids": tokens[:, :-1], "labels": labels}


def objective(family: Family) -> Objective:
    """A model of two layers, without dropout."""
    shape = {"layers": 2, "width": 32, "heads": 4, "context": TIME, "vocabulary": VOCABULARY}
    entry = Model.model_validate({"title": family, "family": family, "tokenizer": "bytes", "shape": shape})
    return Objective(build(entry, family, dropout=0.0, seed=0))


def engine(arguments: dict, family: Family) -> Engine:
    """The engine that the arguments name, on a fresh model."""
    settings = EngineSettings(
        precision=arguments["precision"],
        clip=arguments["clip"],
        weight_decay=0.1,
        micro_batch=ROWS,
        accumulation=arguments["accumulation"],
        options=arguments["options"],
    )
    return load_engine(arguments["engine"])(objective(family), settings)


def train(engine: Engine, family: Family, first: int, last: int, accumulation: int) -> list[tuple[float, float]]:
    """Loss and gradient norm of the steps `first` to `last`."""
    seen = []
    for step in range(first, last):
        numbers = range(group.rank() * accumulation, (group.rank() + 1) * accumulation)
        taken = engine.train_step([micro_batch(family, step, number) for number in numbers], learning_rate=1e-3)
        seen.append((taken.loss, taken.gradient_norm))
    return seen


def curves(arguments: dict) -> dict:
    """Loss and gradient norm a step for each family."""
    found = {}
    for family in arguments["families"]:
        made = engine(arguments, family)
        found[family] = train(made, family, 0, arguments["steps"], arguments["accumulation"])
    return found


def resume(arguments: dict) -> dict:
    """Train, save, train on; then load into a fresh engine and train on: the curves, and where the weights differ."""
    family, steps, accumulation = arguments["families"][0], arguments["steps"], arguments["accumulation"]
    folder = Path(arguments["folder"])
    straight = engine(arguments, family)
    train(straight, family, 0, steps, accumulation)
    straight.save(folder)
    group.barrier()
    on = train(straight, family, steps, 2 * steps, accumulation)
    resumed = engine(arguments, family)
    resumed.load(folder)
    again = train(resumed, family, steps, 2 * steps, accumulation)
    states = [straight.full_state(), resumed.full_state()]
    if states[0] is None or states[1] is None:
        return {}
    fresh = objective(family).model.state_dict()
    return {
        "on": on,
        "again": again,
        "different": [name for name, tensor in states[0].items() if not torch.equal(tensor, states[1][name])],
        "names": sorted(states[0]) == sorted(fresh),
        "dtypes": sorted({str(tensor.dtype) for tensor in states[0].values()}),
        "moved": max(float((tensor - states[0][name]).abs().max()) for name, tensor in fresh.items()),
        "loss": float(resumed.loss_sum(micro_batch(family, 0, 0))) if group.world_size() == 1 else None,
    }


def main() -> None:
    arguments = json.loads(Path(sys.argv[1]).read_text())
    kind = load_engine(arguments["engine"])
    kind.start("cpu")
    found = {"curves": curves, "resume": resume}[arguments["what"]](arguments)
    if group.rank() == 0:
        Path(arguments["output"]).write_text(json.dumps(found))
    group.stop()


if __name__ == "__main__":
    main()
