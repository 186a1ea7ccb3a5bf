"""ColossalAI's hybrid plugin against one process, in the environment of its own that it needs.

`PYTHONPATH=src .venv/bin/python benchmarks/hybrid.py --python ENVIRONMENT/bin/python`, with an environment made
from envs/colossalai.yaml, trains tiny models on the CPU for 100 steps under each of the plugin's settings, and in
one process with this interpreter, and writes docs/benchmarks/colossalai-hybrid-cpu.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainyard.core.files import write_json
from trainyard.hardware.cpu import processor_name
from trainyard.launch import launch

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "docs" / "benchmarks" / "colossalai-hybrid-cpu.json"
STEPS = 100
MICRO_BATCHES = [0, 1, 2, 3]
FAMILIES = ("gpt2", "opt")
# processes, and what the engine is told
SETTINGS: dict[str, tuple[int, dict[str, Any]]] = {
    "hybrid-tensor": (2, {"tensor": 2, "options": {"plugin": "hybrid"}}),
    "hybrid-pipeline": (2, {"pipeline": 2, "options": {"plugin": "hybrid"}}),
    "hybrid-zero": (2, {"options": {"plugin": "hybrid", "level": 1}}),
    "hybrid": (4, {"tensor": 2, "pipeline": 2, "options": {"plugin": "hybrid", "level": 1}}),
}
CURVES = {
    **{family: {"family": family, "steps": STEPS, "max_grad_norm": None} for family in FAMILIES},
    "gpt2, clipped at 0.5": {"family": "gpt2", "steps": 20, "max_grad_norm": 0.5},
}
WHAT = (
    "fp32 on a CPU (gloo); models of 2 layers, width 32, 4 heads, vocabulary 300; a step of 4 micro-batches of 2 rows "
    "with unequal numbers of predicted tokens; AdamW at 1e-3; the reference is one process that sums in rank order"
)
VERSIONS = "import json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in %r}))"


def drive(python: str, processes: int, **arguments: Any) -> Any:
    """Run the tests' driver in so many processes, and give what it wrote."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "state").mkdir()
        paths = {"output": str(folder / "output.json"), "folder": str(folder / "state")}
        (folder / "arguments.json").write_text(json.dumps(arguments | paths))
        reason = launch.launch("driver", [str(folder / "arguments.json")], processes, 1, folder / "log", python=python)
        assert reason is None, reason
        return json.loads((folder / "output.json").read_text())


def compare(found: dict, reference: dict) -> dict:
    """How far a setting's curve is from the reference's."""
    losses = [abs(ours[0] - theirs[0]) for ours, theirs in zip(found["rows"], reference["rows"], strict=True)]
    norms = [abs(ours[1] / theirs[1] - 1) for ours, theirs in zip(found["rows"], reference["rows"], strict=True)]
    return {
        "steps": len(losses),
        "largest_difference": max(losses),
        "mean_difference": sum(losses) / len(losses),
        "largest_relative_difference_of_norms": max(norms),
        "held_out_relative_difference": abs(found["held_out"] / reference["held_out"] - 1),
        "last_loss": found["rows"][-1][0],
        "last_loss_of_reference": reference["rows"][-1][0],
    }


def causality(python: str, setting: str, family: str) -> float:
    """How much the loss of earlier tokens changes with the last one; in pipelines GPT-2's would, were it not eager."""
    processes, engine = SETTINGS[setting]
    told = {"engine": "colossalai", "precision": "fp32", "accumulation": len(MICRO_BATCHES)}
    return drive(python, processes, what="causal", family=family, **told, **engine)


def versions(python: str, names: list[str]) -> dict[str, str]:
    """The versions of packages of an interpreter."""
    done = subprocess.run([python, "-c", VERSIONS % names], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="of an environment made from envs/colossalai.yaml")
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    asked = parser.parse_args()
    launch.SOURCE = f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests' / 'parallel'}"
    common: dict[str, Any] = {"what": "curves", "curves": CURVES, "order": MICRO_BATCHES, "precision": "fp32"}
    rows, references = [], {}
    for name in asked.settings:
        processes, engine = SETTINGS[name]
        ranks = processes // (engine.get("tensor", 1) * engine.get("pipeline", 1))
        if ranks not in references:
            single = {"engine": "single", "options": {"ranks": ranks}, "accumulation": len(MICRO_BATCHES)}
            references[ranks] = drive(sys.executable, 1, **common, **single)
        told = {"engine": "colossalai", "accumulation": len(MICRO_BATCHES) // ranks, **engine}
        found = drive(asked.python, processes, **common, **told)
        for curve in CURVES:
            row = {"setting": name, "processes": processes, "curve": curve}
            rows.append(row | compare(found[curve], references[ranks][curve]))
            print(f"{name}, {curve}: {rows[-1]['largest_difference']:.1e}", flush=True)
    seen = {
        f"{setting}, {family}": causality(asked.python, setting, family)
        for setting in ("hybrid-tensor", "hybrid-pipeline")
        for family in FAMILIES
    }
    write_json(
        RESULT,
        {
            "command": "PYTHONPATH=src .venv/bin/python benchmarks/hybrid.py --python ENVIRONMENT/bin/python",
            "environment": "envs/colossalai.yaml",
            "date": datetime.now(UTC).date().isoformat(),
            "processor": processor_name(),
            "versions": versions(asked.python, ["colossalai", "torch", "transformers", "numpy"]),
            "versions_of_reference": versions(sys.executable, ["torch", "transformers", "numpy"]),
            "what": WHAT,
            "settings": rows,
            "change_of_earlier_losses_with_the_last_token": seen,
        },
    )
    print(f"wrote {RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
