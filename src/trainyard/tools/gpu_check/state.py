"""What earlier calls have finished."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainyard.core.files import sha256_json
from trainyard.estimate.families import family_module
from trainyard.parallel import engine_module
from trainyard.plan.code_hash import code_hash
from trainyard.tools.gpu_check.cases import Case
from trainyard.tools.gpu_check.facts import Facts


class State:
    """The finished cases of a file, a line each.

    A case is finished if it was done by the same code, on the same device, under the same versions.
    """

    def __init__(self, path: Path, facts: Facts, fresh: bool = False) -> None:
        self._path = path
        self._machine = {name: value for name, value in asdict(facts).items() if name != "in_use"}
        if fresh:
            path.unlink(missing_ok=True)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        # the last line of a call that was killed may be half a line
        whole = [json.loads(line) for line in text.split("\n")[:-1]]
        self._rows: dict[str, dict[str, Any]] = {line["key"]: line["row"] for line in whole}
        self._keys: dict[str, str] = {}
        self._torn = not text.endswith("\n") and bool(text)

    def get(self, case: Case) -> dict[str, Any] | None:
        """The row of a case, or None if it is still to do."""
        return self._rows.get(self._key(case))

    def add(self, case: Case, row: Mapping[str, Any]) -> None:
        """Keep the row of a case."""
        key = self._key(case)
        self._rows[key] = dict(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._torn:
            whole, _, _ = self._path.read_text(encoding="utf-8").rpartition("\n")
            self._path.write_text(whole + "\n" if whole else "", encoding="utf-8")
            self._torn = False
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "row": row}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _key(self, case: Case) -> str:
        if case.name not in self._keys:
            self._keys[case.name] = self._make_key(case)
        return self._keys[case.name]

    def _make_key(self, case: Case) -> str:
        specification = case.specification
        code = code_hash(
            "trainyard.tools.gpu_check.worker",
            engine_module(specification["parallel"]["engine"]),
            f"trainyard.models.{specification['model']['family']}",
            family_module(specification["model"]["family"]),
        )
        return sha256_json({"case": specification, "machine": self._machine, "code": code})
