"""A checkpoint that somebody has changed, hashes and all, can't run code: whichever engine loads it."""

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import pytest
import torch

from trainyard.launch import launch

HERE = Path(__file__).parent
ENGINES: dict[str, dict[str, dict[str, Any]]] = {
    "one process": {"single": {"engine": "single", "accumulation": 4}},
    "torch": {
        "ddp": {"engine": "ddp"},
        "zero1": {"engine": "zero1"},
        "fsdp": {"engine": "fsdp"},
        "tensor": {"engine": "tensor", "tensor": 2, "accumulation": 4},
        "pipeline": {"engine": "pipeline", "pipeline": 2, "accumulation": 4},
    },
    "deepspeed": {
        "zero0": {"engine": "deepspeed", "options": {"level": 0}},
        "zero1": {"engine": "deepspeed", "options": {"level": 1}},
        "zero2": {"engine": "deepspeed", "options": {"level": 2}},
        "zero3": {"engine": "deepspeed", "options": {"level": 3}},
    },
    "colossalai": {
        "torch-ddp": {"engine": "colossalai", "options": {"plugin": "torch-ddp"}},
        "low-level-zero": {"engine": "colossalai", "options": {"plugin": "low-level-zero", "level": 2}},
    },
}
ALL = {"family": "gpt2", "precision": "bf16", "accumulation": 2, "order": [0, 1, 2, 3], "options": {}}


@pytest.mark.parametrize("name", ["a pickle", "torch's file", "among weights"])
def test_the_files_of_these_tests_do_run_code_where_they_are_let(tmp_path: Path, name: str) -> None:
    data = hostile.pickles(tmp_path / "canary")[name]
    if name == "a pickle":
        pickle.loads(data)
    else:
        torch.load(io.BytesIO(data), weights_only=False)
    assert (tmp_path / "canary").exists()


@pytest.mark.slow
@pytest.mark.parametrize("framework", ENGINES)
def test_no_file_of_a_checkpoint_can_run_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None], framework: str
) -> None:
    paths = [str(launch.SOURCE), str(HERE), str(HERE.parent / "parallel"), str(HERE.parent)]
    monkeypatch.setattr(launch, "SOURCE", os.pathsep.join(paths))
    output = tmp_path / "found.json"
    arguments = ALL | {"engines": ENGINES[framework], "folder": str(tmp_path), "output": str(output)}
    arguments["canary"] = str(tmp_path / "canary")
    (tmp_path / "arguments.json").write_text(json.dumps(arguments))
    processes = 1 if framework == "one process" else 2
    launch.launch("checkpoints", [str(tmp_path / "arguments.json")], processes, 1, tmp_path / "log")
    found = json.loads(output.read_text())
    assert not (tmp_path / "canary").exists()
    assert found.keys() == ENGINES[framework].keys()
    tried = 0
    for engine, kinds in found.items():
        for kind, refusals in kinds.items():
            for name, said in refusals.items():
                assert said.startswith(f"InputError: {tmp_path}/{engine}/step-000001/engine: "), (
                    engine,
                    kind,
                    name,
                    said,
                )
                assert "contains code" in said
                tried += 1
    assert tried >= 3 * len(found)
    record_property("inputs tried", tried)
