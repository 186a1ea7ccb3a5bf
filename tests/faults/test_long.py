"""Fifty kills an engine, of any process at any moment; what came of them is written to docs/benchmarks/kills.json.

`-k zero1` runs one setting alone; the figures of the others stay as they are.
"""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kills import kill_by_chance, same
from trainings import ENTRIES, Job

from trainyard.core.files import read_json, write_json
from trainyard.core.python_environment import TRAINING, package_versions
from trainyard.provenance.machine import describe_hardware

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "benchmarks" / "kills.json"
KILLS, SEED = 50, 2026
# of each engine one parallel setting, and every plugin of ColossalAI that runs on a CPU
SETTINGS = ("single", "ddp", "zero1", "fsdp", "tensor", "pipeline", "zero3", "torch-ddp", "low-level-zero")
TRAIN = {"steps": 400, "checkpoint_every": 4, "keep_steps": list(range(15, 400, 15))}
ROWS, SECONDS = 12, 6.0


def record(parallel: str, figures: dict[str, Any]) -> None:
    """Write a setting's figures, beside those of the others."""
    found = read_json(FILE) if FILE.exists() else {}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    where = {"commit": commit.stdout.strip(), **describe_hardware(None), "versions": package_versions(TRAINING)}
    command = f".venv/bin/python -m pytest -m long tests/faults/test_long.py -k '[{parallel}]'"
    found[parallel] = figures | where | {"command": command}
    write_json(FILE, {name: found[name] for name in SETTINGS if name in found})


@pytest.mark.parametrize("parallel", SETTINGS)
def test_fifty_kills_at_any_moment_change_no_bit(
    parallel: str,
    specification: Callable[..., dict[str, Any]],
    undisturbed: Callable[..., Job],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    whole = undisturbed(parallel, **TRAIN)
    chance, began = random.Random(f"{SEED} {parallel}"), time.monotonic()
    victims = ("launcher", "rank", "trainer") if whole.specification["processes"] > 1 else ("launcher", "rank")
    job, kills, recovered = Job(tmp_path / "0", specification(parallel, **TRAIN)), [], 0
    while len(kills) < KILLS:
        kill = kill_by_chance(job, chance, victims, ROWS, SECONDS)
        if kill:
            kills.append(kill)
        else:  # it came to its end
            same(job, whole)
            recovered += 1
            job = Job(tmp_path / str(recovered), job.specification)
    job.run()
    same(job, whole)
    figures = {
        "engine": ENTRIES[parallel].engine,
        "processes": whole.specification["processes"],
        "steps": TRAIN["steps"],
        "seed": SEED,
        "kills": len(kills),
        "by_victim": dict(sorted(Counter(kill.victim for kill in kills).items())),
        "by_moment": dict(sorted(Counter(kill.moments[0] for kill in kills).items())),
        "runs_recovered": recovered + 1,
        "runs_that_differ": 0,
        "seconds": round(time.monotonic() - began),
    }
    record(parallel, figures)
    record_property("faults injected", len(kills))
    record_property("kills", len(kills))
    record_property("runs recovered", recovered + 1)
