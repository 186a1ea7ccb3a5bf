"""Seeds every fault in probes of every precision, and lets parity judge them."""

from pathlib import Path
from typing import Any

from trainyard.config.catalogue import Dataset
from trainyard.config.study import Study
from trainyard.core.files import read_json, write_json
from trainyard.data.download import download
from trainyard.data.tokenize import tokenize
from trainyard.data.tokenizers import make_tokenizer
from trainyard.launch.launch import launch
from trainyard.measure.parity import compare
from trainyard.plan.runs import Catalogues, Expansion, Run
from trainyard.tools.parity_faults.catalogue import list_faults

DATASET, MODEL, STORIES = "tinyworld", "gpt2-tiny", 2_000
LEARNING_RATE, STEPS, PROCESSES = 1e-3, 20, 2
STUDY = Study.model_validate(
    {
        "title": "Faults",
        "question": "Which faults does parity find?",
        "probes": [
            {
                "datasets": [DATASET],
                "models": [MODEL],
                "parallel": ["ddp"],
                "processes": PROCESSES,
                "precision": ["fp32", "bf16", "fp16"],
                "steps": STEPS,
                "train": {"batch": 8, "sequence_length": 64, "learning_rate": LEARNING_RATE, "decay": "constant"},
            }
        ],
    }
)


def seed_faults(folder: Path, catalogues: Catalogues) -> dict[str, dict[str, dict[str, Any]]]:
    """Train the probe of `ddp` with each fault of the catalogue, and without any, on a CPU.

    Args:
        folder: an empty one, for data and runs.
        catalogues: where the probe's dataset, tokenizer, model and parallel setting stand.

    Returns:
        By precision and fault ("none" where there is none), what parity says of it: the figures against the
        reference in the probe's own precision, and `found`, whether either reference finds it.
    """
    tokens = write_tokens(folder, catalogues)
    runs = Expansion("faults", STUDY, "the probe of faults", catalogues, "cpu").runs()
    references = [_case(folder / name, run, tokens, None) for name, run in runs.items() if run.is_reference]
    _launch(references, 1, folder / "references")
    probes = [run for run in runs.values() if run.reference]
    faults = [None, *list_faults(LEARNING_RATE)]
    cases = [(run, _case(folder / f"{run.name}-{fault}", run, tokens, fault)) for run in probes for fault in faults]
    _launch([case for _, case in cases], PROCESSES, folder / "probes")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run, case in cases:
        assert run.reference
        probe = Path(case["folder"])
        same = folder / run.same_precision if run.same_precision else None
        compare(probe, folder / run.reference, same, probe / "parity.json")
        judged = read_json(probe / "parity.json")
        own = judged["same_precision"] or judged
        found.setdefault(judged["precision"], {})[case["fault"] or "none"] = {
            **{key: own[key] for key in ("largest", "tolerance", "norm", "norm_tolerance")},
            "found": not (judged["within"] and own["within"]),
        }
    return found


def write_tokens(folder: Path, catalogues: Catalogues) -> Path:
    """The tokens of the first stories of tinyworld."""
    value = catalogues.datasets[DATASET].model_dump(mode="json") | {"splits": {"train": f"train[:{STORIES}]"}}
    rows, tokenizer = folder / "train.parquet", catalogues.models[MODEL].tokenizer
    download(DATASET, Dataset.model_validate(value), "train", rows)
    make_tokenizer(tokenizer, catalogues.tokenizers[tokenizer], folder / "tokenizer", rows=rows)
    tokenize(rows, folder / "tokenizer", folder / "tokens")
    return folder / "tokens"


def _case(folder: Path, run: Run, tokens: Path, fault: str | None) -> dict[str, Any]:
    """What the worker is told of one run."""
    folder.mkdir()
    specification = {**run.specification, "data": {**run.specification["data"], "train": str(tokens)}}
    if fault:
        specification["train"] = {**specification["train"], **list_faults(LEARNING_RATE)[fault].train}
    return {"folder": str(folder), "specification": specification, "fault": fault}


def _launch(cases: list[dict[str, Any]], processes: int, place: Path) -> None:
    """Run cases one after another."""
    write_json(place.with_suffix(".json"), cases)
    arguments = [str(place.with_suffix(".json"))]
    reason = launch("trainyard.tools.parity_faults.worker", arguments, processes, 1, place.with_suffix(".log"))
    assert reason is None, reason
