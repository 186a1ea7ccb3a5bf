"""All of a study but its data in one zip file, for a paper's appendix; the same content gives the same bytes.

`python -m trainyard.provenance.archive STUDY`, as `make archive` does.
"""

import argparse
import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainyard.core.errors import InputError
from trainyard.core.files import atomic_file, sha256_file
from trainyard.plan.configuration import make_plan
from trainyard.plan.runs import Catalogues
from trainyard.provenance.check import Verdict
from trainyard.provenance.contents import Contents, clean_log, select_contents
from trainyard.provenance.jobs import StudyJobs, study_jobs
from trainyard.provenance.readme import render_readme
from trainyard.provenance.verify import parse_settings, verify

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that a zip file knows
SHOWN = 10  # problems in a refusal


def archive(planned: StudyJobs, output: Path, models: bool = False, anyway: bool = False) -> Contents:
    """Write the archive of a study, whole or not at all.

    Args:
        planned: the jobs of the study.
        output: the zip file.
        models: weights and tokenizers go in too.
        anyway: write it even if something doesn't hold; what doesn't is in its README.md.

    Returns:
        what went in, and what was left out.

    Raises:
        InputError: something doesn't hold.
    """
    verdict = verify(planned)
    if verdict.problems and not anyway:
        raise InputError(_refusal(verdict))
    plan = make_plan(planned.config, Path("config"))
    selection = select_contents(planned, plan.catalogues.datasets, models)
    resolved = {
        "device": plan.machine.device,
        "prices": plan.config.prices and plan.config.prices.model_dump(mode="json"),
        "energy": plan.config.energy.model_dump(mode="json"),
        "study": plan.studies[planned.study].study.model_dump(mode="json"),
        **_entries(planned, plan.catalogues),
    }
    texts = {
        "README.md": render_readme(planned, verdict, selection, plan.catalogues, resolved["study"]),
        "configuration.json": json.dumps(resolved, indent=2, ensure_ascii=False) + "\n",
        **{log.as_posix(): clean_log(log) for log in selection.logs},
    }
    with atomic_file(output) as draft:
        _write(draft, planned.study, selection.files, texts)
    return selection


def _refusal(verdict: Verdict) -> str:
    more = len(verdict.problems) - SHOWN
    lines = [*map(str, verdict.problems[:SHOWN]), *([f"and {more} more"] if more > 0 else [])]
    return "\n".join(
        [
            f"study {verdict.study}: not archived: {len(verdict.problems)} checks failed:",
            *lines,
            f"`make verify STUDY={verdict.study}` says what to do; --anyway lists them in the archive's README.md",
        ]
    )


def _entries(planned: StudyJobs, catalogues: Catalogues) -> dict[str, dict[str, Any]]:
    """The entries of the catalogues that the study's jobs name."""
    texts = [json.dumps(each.job.params) + json.dumps(each.job.wildcards) for each in planned.jobs]
    every = {name: getattr(catalogues, name) for name in ("datasets", "tokenizers", "models", "parallel")}
    return {
        what: {
            name: entry.model_dump(mode="json")
            for name, entry in sorted(entries.items())
            if any(json.dumps(name) in text for text in texts)
        }
        for what, entries in every.items()
    }


def _write(draft: Path, study: str, files: list[Path], texts: Mapping[str, str]) -> None:
    """Write a zip file whose bytes depend only on names and contents."""
    members: dict[str, Path | bytes] = {name: text.encode() for name, text in texts.items()}
    members |= {path.as_posix(): path for path in files}
    hashes = {
        name: hashlib.sha256(member).hexdigest() if isinstance(member, bytes) else sha256_file(member)
        for name, member in sorted(members.items())
    }
    # what `sha256sum --check` reads
    members["MANIFEST"] = "".join(f"{sha256}  {name}\n" for name, sha256 in hashes.items()).encode()
    with zipfile.ZipFile(draft, "w") as opened:
        for name, member in sorted(members.items()):
            entry = zipfile.ZipInfo(f"{study}/{name}", EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            if isinstance(member, bytes):
                opened.writestr(entry, member)
                continue
            large = member.stat().st_size >= zipfile.ZIP64_LIMIT // 2
            with member.open("rb") as source, opened.open(entry, "w", force_zip64=large) as target:
                shutil.copyfileobj(source, target, 1 << 20)


def main() -> int:
    """Archive the study of the first argument; 1 if something doesn't hold."""
    parser = argparse.ArgumentParser(prog="python -m trainyard.provenance.archive", description=__doc__)
    parser.add_argument("study", help="its name, as in config/studies")
    parser.add_argument("--output", type=Path, help="the zip file; archive-STUDY.zip by default")
    parser.add_argument("--models", action="store_true", help="with weights and tokenizers")
    parser.add_argument("--anyway", action="store_true", help="even if checks failed")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as the study was run with")
    arguments = parser.parse_args()
    output = arguments.output or Path(f"archive-{arguments.study}.zip")
    try:
        planned = study_jobs(arguments.study, parse_settings(arguments.config))
        selection = archive(planned, output, arguments.models, arguments.anyway)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    count = len(selection.files) + len(selection.logs) + 3
    print(f"{output}: {count} files, {output.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256_file(output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
