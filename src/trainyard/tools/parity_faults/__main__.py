"""`python -m trainyard.tools.parity_faults` (`make faults`): see docs/explanation/parity.md."""

import tempfile
from pathlib import Path
from typing import Any

from trainyard.core.files import write_text
from trainyard.core.repository import SOURCE
from trainyard.plan.configuration import read_catalogues
from trainyard.tools.parity_faults.catalogue import list_faults
from trainyard.tools.parity_faults.seed import LEARNING_RATE, MODEL, seed_faults

OUTPUT = SOURCE / "trainyard" / "report" / "pages" / "seeded_faults.py"


def format_module(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The module that the report's table of parity reads: two digits of each figure."""
    titles = {key: fault.title for key, fault in list_faults(LEARNING_RATE).items()}
    lines = [
        '"""What parity finds of seeded faults, by precision; written by `make faults`."""',
        "",
        "from typing import Any",
        "",
        f'SEEDED_IN = "{MODEL}"',
        "SEEDED: dict[str, dict[str, dict[str, Any]]] = {",
    ]
    for precision, faults in found.items():
        lines.append(f'    "{precision}": {{')
        for key, title in titles.items():
            row = faults[key]
            norm = None if row["norm"] is None else float(f"{row['norm']:.1e}")
            largest = float(f"{row['largest']:.1e}")
            lines.append(f'        "{title}": {{"largest": {largest}, "norm": {norm}, "found": {row["found"]}}},')
        lines.append("    },")
    return "\n".join([*lines, "}", ""])


def main() -> None:
    """Seed the catalogue of faults, write what parity found for the report, and print it."""
    with tempfile.TemporaryDirectory() as folder:
        found = seed_faults(Path(folder), read_catalogues(Path("config")))
    write_text(OUTPUT, format_module(found))
    for precision, faults in found.items():
        for name, row in faults.items():
            norm = "" if row["norm"] is None else f", gradient norm {100 * row['norm']:.2f} %"
            verdict = "found" if row["found"] else "not found"
            print(f"{precision} {name}: {verdict}; loss {row['largest']:.1e} of {row['tolerance']:.0e}{norm}")


if __name__ == "__main__":
    main()
