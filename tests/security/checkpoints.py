"""Ranks of a launch that save, and load what a hostile file has replaced: `checkpoints.py ARGUMENTS.json`.

What is written: of each engine, kind of file and hostile file, what loading it raised on rank 0.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import driver  # pyright: ignore[reportMissingImports] (of tests/parallel, which the test adds to the path)
import hostile

from trainyard.core.files import sha256_file, write_json
from trainyard.parallel import process_group
from trainyard.parallel.engine import load_engine
from trainyard.train.checkpoint import CheckpointWriter, load_checkpoint, newest_step, step_folder


def replace(folder: Path, kind: str, data: bytes) -> None:
    """Put `data` in place of every file of a kind, and let the hashes agree."""
    hashes = {}
    for file in (file for file in folder.rglob("*") if file.is_file() and file.name != "hashes.json"):
        if kind_of(file) == kind:
            file.write_bytes(data)
        hashes[str(file.relative_to(folder))] = sha256_file(file)
    write_json(folder / "hashes.json", hashes)


def kind_of(file: Path) -> str:
    """Its name without the numbers of ranks and parts."""
    return re.sub(r"\d+", "N", file.name)


def refusals(arguments: dict[str, Any], asked: dict[str, Any], folder: Path) -> dict[str, dict[str, str]]:
    """What loading each hostile file raised, after loading what was saved worked."""
    made = driver.engine(arguments | asked, max_grad_norm=1.0)
    driver.train(made, "gpt2", range(1), (arguments | asked)["order"])
    CheckpointWriter(folder, made).save(1, wait=True)
    process_group.barrier()
    load_checkpoint(folder, 1, made)
    engine = step_folder(folder, 1) / "engine"
    good = {file: file.read_bytes() for file in sorted(engine.rglob("*.pt"))}
    found: dict[str, dict[str, str]] = {}
    for kind in dict.fromkeys(map(kind_of, good)):
        for name, data in hostile.pickles(Path(arguments["canary"])).items():
            process_group.barrier()
            if process_group.rank() == 0:
                for file, before in good.items():
                    file.write_bytes(before)
                replace(step_folder(folder, 1), kind, data)
                assert newest_step(folder, 1) == 1, "the hashes agree, so that it is this checkpoint that is taken"
            process_group.barrier()
            try:
                load_checkpoint(folder, 1, made)
                said = "loaded"
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            found.setdefault(kind, {})[name] = said
    return found


def main() -> None:
    arguments = json.loads(Path(sys.argv[1]).read_text())
    kind = load_engine(next(iter(arguments["engines"].values()))["engine"])
    kind.start("cpu")
    found = {}
    for name, asked in arguments["engines"].items():
        folder = Path(arguments["folder"]) / name
        found[name] = refusals(arguments, asked, folder)
    if process_group.rank() == 0:
        Path(arguments["output"]).write_text(json.dumps(found))
    process_group.stop()


if __name__ == "__main__":
    main()
