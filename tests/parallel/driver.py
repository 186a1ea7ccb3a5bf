"""Trains tiny models as one rank of a launch, and writes what it saw: `driver.py ARGUMENTS.json`.

It is started by the launcher itself, as training is, since an engine is only itself among others.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from engine_settings import engine_settings
from trainyard.config.catalogue import Model
from trainyard.config.lora import Lora
from trainyard.estimate.families import load_family
from trainyard.estimate.lora import target_names
from trainyard.models.build import build
from trainyard.models.freeze import freeze
from trainyard.models.lora import adapt
from trainyard.models.loss import Objective
from trainyard.parallel import process_group
from trainyard.parallel.engine import Batch, Engine, load_engine
from trainyard.parallel.pytorch.tensor import is_split
from trainyard.train.checkpoint import seed_rank

ROWS, TIME, VOCABULARY = 2, 16, 300


def micro_batch(family: str, step: int, number: int) -> Batch:
    """One of the step's micro-batches, (ROWS, TIME); each predicts its own number of tokens."""
    generator = torch.Generator().manual_seed(1000 * (step % 11) + number)
    tokens = torch.randint(3, VOCABULARY, (ROWS, TIME + 1), generator=generator)
    predicted = int(torch.randint(2, TIME, (1,), generator=generator))
    labels = tokens[:, 1:].clone()
    labels[:, predicted:] = -100
    if load_family(family).is_encoder_decoder:
        mask = torch.ones(ROWS, TIME, dtype=torch.int64)
        mask[0, predicted:] = 0
        return {
            "input_ids": tokens[:, 1:],
            "attention_mask": mask,
            "decoder_input_ids": tokens[:, :-1],
            "labels": labels,
        }
    return {"input_ids": tokens[:, :-1], "labels": labels}


def objective(
    family: str,
    more: dict | None = None,
    checkpointing: bool = False,
    dropout: float = 0.0,
    frozen: Sequence[str] = (),
    lora: Mapping[str, Any] | None = None,
    window: int | None = None,
) -> Objective:
    """A model of two layers; `more` is of its shape, `frozen` are parts of it, and `lora` adapters beside it."""
    shape = {"layers": 2, "width": 32, "heads": 4, "context": TIME, "vocabulary": VOCABULARY} | (more or {})
    entry = Model.model_validate({"title": family, "family": family, "tokenizer": "bytes", "shape": shape})
    model = build(entry, family, dropout=dropout, seed=0, activation_checkpointing=checkpointing, window=window)
    freeze(model, frozen)
    if lora is not None:
        adapters = Lora.model_validate(lora)
        adapt(model, adapters, target_names(entry, adapters), seed=0)
    return Objective(model)


def engine(arguments: dict, max_grad_norm: float | None = None) -> Engine:
    """The engine that the arguments name, on a fresh model of their family."""
    settings = engine_settings(
        precision=arguments["precision"],
        max_grad_norm=max_grad_norm,
        weight_decay=0.1,
        micro_batch=ROWS,
        accumulation=arguments["accumulation"],
        options=arguments["options"],
        tensor=arguments.get("tensor", 1),
        pipeline=arguments.get("pipeline", 1),
        family=arguments["family"],
        scratch=Path(tempfile.mkdtemp(dir=arguments["folder"])),
        device=arguments.get("device", "cpu"),
        compile=arguments.get("compile", False),
        optimizer=arguments.get("optimizer", "adamw"),
    )
    made = objective(
        arguments["family"],
        arguments.get("shape"),
        arguments.get("checkpointing", False),
        arguments.get("dropout", 0.0),
        arguments.get("freeze", ()),
        arguments.get("lora"),
        arguments.get("window"),
    )
    found = load_engine(arguments["engine"])(made, settings)
    seed_rank(0, found.data_rank)  # as a training does
    return found


def train(engine: Engine, family: str, steps: range, order: list[int]) -> list[tuple[float, float]]:
    """Loss and gradient norm of the steps; each takes this data rank's part of the micro-batches in `order`."""
    share = len(order) // engine.data_ranks
    mine = order[engine.data_rank * share : (engine.data_rank + 1) * share]
    seen = []
    for step in steps:
        taken = engine.train_step([micro_batch(family, step, number) for number in mine], learning_rate=1e-3)
        seen.append((taken.loss, taken.gradient_norm))
    return seen


def curves(arguments: dict) -> dict:
    """Of each curve that is asked for: loss and gradient norm a step, and the loss of held-out tokens after them.

    A curve's own arguments go before those of all.
    """
    found = {}
    for name, asked in arguments["curves"].items():
        settings = arguments | asked
        made = engine(settings, asked["max_grad_norm"])
        before = made.full_state()
        rows = train(made, asked["family"], range(asked["steps"]), settings["order"])
        found[name] = {
            "rows": rows,
            "held_out": made.row_losses(micro_batch(asked["family"], 0, 99)).tolist(),
            "apart": apart(made),
            **weights(asked, before, made.full_state()),
        }
    return found


def weights(asked: dict, before: dict | None, after: dict | None) -> dict:
    """Where the whole model isn't, before training, what was made; what has changed after, or isn't tied any more."""
    if before is None or after is None:
        return {}
    fresh = objective(asked["family"], asked.get("shape"), lora=asked.get("lora")).model.state_dict()
    same = fresh.keys() == before.keys()
    first = {}
    for name, tensor in fresh.items():
        first.setdefault(tensor.data_ptr(), name)
    return {
        "changed": [name for name, tensor in fresh.items() if not torch.equal(tensor, after[name])],
        "altered": [name for name, tensor in fresh.items() if not (same and torch.equal(tensor, before[name]))],
        "untied": [
            name for name, tensor in fresh.items() if not torch.equal(after[name], after[first[tensor.data_ptr()]])
        ],
    }


def apart(engine: Engine) -> list[str]:
    """What every process that shares matrices holds whole, and not alike."""
    if engine.settings.parallel.tensor == 1 or engine.settings.parallel.pipeline > 1 or engine.data_ranks > 1:
        return []
    found = []
    for name, parameter in engine.model.named_parameters():
        if is_split(parameter):
            continue
        mine = parameter.detach()
        mine = mine.to_local() if isinstance(mine, DTensor) else mine
        everyones = [torch.empty_like(mine) for _ in range(process_group.world_size())]
        dist.all_gather(everyones, mine)
        found += [name for other in everyones if not torch.equal(other, mine)]
    return found


def resume(arguments: dict) -> dict:
    """Train, save, train on; then load into a fresh engine and train on: the curves, and where the weights differ."""
    family, steps, folder = arguments["family"], arguments["steps"], Path(arguments["folder"])
    later, order = range(steps, 2 * steps), arguments["order"]
    straight = engine(arguments, max_grad_norm=1.0)
    train(straight, family, range(steps), order)
    straight.save(folder)
    process_group.barrier()
    on = train(straight, family, later, order)
    resumed = engine(arguments, max_grad_norm=1.0)
    resumed.load(folder)
    again = train(resumed, family, later, order)
    states = [straight.full_state(), resumed.full_state()]
    if states[0] is None or states[1] is None:
        return {}
    fresh = objective(family, arguments.get("shape"), lora=arguments.get("lora")).model.state_dict()
    return {
        "on": on,
        "again": again,
        "different": [name for name, tensor in states[0].items() if not torch.equal(tensor, states[1][name])],
        "names": sorted(states[0]) == sorted(fresh),
        "dtypes": sorted({str(tensor.dtype) for tensor in states[0].values()}),
        "files": sorted(file.name for file in folder.iterdir() if file.is_file()),
        "moved": max(float((tensor - states[0][name]).abs().max()) for name, tensor in fresh.items()),
    }


def causal(arguments: dict) -> float:
    """How much the loss of the earlier tokens changes with the last one, which they must not see."""
    made, batch = engine(arguments), micro_batch(arguments["family"], 0, 0)
    tokens, labels = batch["input_ids"], batch["input_ids"].roll(-1, dims=1)
    labels[:, -1] = -100
    other = tokens.clone()
    other[:, -1] = (tokens[:, -1] + 7) % VOCABULARY
    losses = [float(made.row_losses({"input_ids": ids, "labels": labels}).sum()) for ids in (tokens, other)]
    return abs(losses[0] - losses[1])


def main() -> None:
    arguments = json.loads(Path(sys.argv[1]).read_text())
    kind = load_engine(arguments["engine"])
    kind.start(arguments.get("device", "cpu"))
    found = {"curves": curves, "resume": resume, "causal": causal}[arguments["what"]](arguments)
    if process_group.rank() == 0:
        Path(arguments["output"]).write_text(json.dumps(found))
    process_group.stop()


if __name__ == "__main__":
    main()
