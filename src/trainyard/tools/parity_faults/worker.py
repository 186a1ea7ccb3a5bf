"""Trains faulty probes as one rank: `... -m trainyard.launch.worker trainyard.tools.parity_faults.worker CASES.json`.

Many in one process, since starting one takes longer than twenty steps.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from trainyard.core.files import read_json, write_json
from trainyard.data.loader import Loader
from trainyard.models.build import build, start_token
from trainyard.models.loss import Objective
from trainyard.parallel import process_group
from trainyard.parallel.engine import load_engine
from trainyard.parallel.pytorch.single import Engine
from trainyard.tools.parity_faults.catalogue import Fault, list_faults
from trainyard.train.checkpoint import seed_rank
from trainyard.train.loop import Loop
from trainyard.train.metrics import MetricsFile
from trainyard.train.spec import Specification
from trainyard.train.worker import engine_settings


def train(folder: Path, value: dict[str, Any], fault: Fault) -> None:
    """Train the probe of spec.json with a fault in it; `folder` gets what parity reads of a run."""
    specification = Specification.parse(value)
    settings = specification.train
    loader = Loader(
        specification.data.train, settings, specification.seed, start_token(specification.model), unequal=True
    )
    objective = Objective(build(specification.model, specification.model_name, dropout=0.0, seed=specification.seed))
    engine = load_engine(specification.parallel.engine)(objective, engine_settings(specification, loader, folder))
    assert isinstance(engine, Engine)
    seed_rank(specification.seed, engine.data_rank)
    leads = process_group.rank() == 0
    with MetricsFile(folder / "metrics.jsonl") if leads else nullcontext() as metrics, fault.seed(engine, loader):
        Loop(settings, engine, loader, metrics, folder).run()
    if leads:
        write_json(folder / "spec.json", value)
        write_json(folder / "summary.json", {"outcome": "finished", "reason": None, "steps": loader.steps})


def main() -> None:
    """Train every case of the file, one after another."""
    cases = read_json(Path(sys.argv[1]))
    load_engine(cases[0]["specification"]["parallel"]["engine"]).start("cpu")
    for case in cases:
        specification = case["specification"]
        torch.set_num_threads(specification["threads"])
        faults = list_faults(specification["train"]["learning_rate"])
        train(Path(case["folder"]), specification, faults[case["fault"]] if case["fault"] else Fault("none"))
    process_group.stop()


if __name__ == "__main__":
    main()
