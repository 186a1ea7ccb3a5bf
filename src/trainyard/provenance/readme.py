"""The README.md of an archive: what is what, what it came from, and how to repeat it."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainyard import PYTHONS
from trainyard.core.errors import InputError
from trainyard.core.files import read_json
from trainyard.core.job import HIDDEN, config_arguments
from trainyard.core.text import markdown_table
from trainyard.plan.runs import RESULTS, Catalogues
from trainyard.provenance.check import Verdict
from trainyard.provenance.contents import Contents
from trainyard.provenance.jobs import StudyJobs
from trainyard.provenance.read import Record, read_record
from trainyard.provenance.record import record_file

CONTENTS = (
    ("`MANIFEST`", "the SHA-256 of every other file, for `sha256sum --check --quiet MANIFEST` in this folder"),
    ("`configuration.json`", "the study with every default, and the entries of the catalogues that it names"),
    ("`config/`", "the study as it was written; `data.lock.yaml`, where it is: what was downloaded, by hash"),
    (
        f"`{RESULTS}/*/RUN/`",
        "of each run `spec.json` (all that it depends on), `metrics.jsonl` (each step), `summary.json`, "
        "`validation.parquet` (the losses of the validation rows) and `provenance.json`; `models/` describes each "
        "model",
    ),
    (f"`{RESULTS}/*/RUN/evaluate/`", "scores with their standard errors, and the items one by one (Parquet)"),
    (f"`{RESULTS}/*/measure/`", "speed and memory, launch by launch"),
    (f"`{RESULTS}/peaks/`", "the most that the machine computes, of which the MFU is a share"),
    (f"`{RESULTS}/*/report/`", "figures (SVG) and tables (HTML, CSV)"),
    (
        f"`{RESULTS}/*/provenance/`",
        "of every other job what `provenance.json` is of a run: commit, code, inputs and outputs by hash, packages, "
        "machine, command, times",
    ),
    (f"`{RESULTS}/data/`", "what was read: counts, sources, revisions and hashes of the data, not the data"),
    ("`report.html`", "the report in one file, where it was made"),
    ("`requirements*.lock`, `envs/`", "the packages of its environments, pinned"),
    ("`logs/`", "what the jobs said, with the names of folders and machines replaced"),
)

PATHS = f"{HIDDEN} stands for a place on the machine where it was run.\n\n"


def render_readme(
    planned: StudyJobs, verdict: Verdict, selection: Contents, catalogues: Catalogues, study: Mapping[str, Any]
) -> str:
    """The text. It depends on the archive's content alone: it holds no time of its own."""
    records = list(_records(planned))
    parts = [
        f"# {study['title']}\n\n{study['question']}\n",
        f"The study `{planned.study}` of Trainyard: what was asked, what came out, and what it came from.\n",
        f"## Contents\n\n{markdown_table(('file', 'is'), CONTENTS)}\n",
        f"## Verification\n\n{_holds(verdict)}",
        f"## Provenance\n\n{_origin(records)}",
        f"## The data\n\n{_data(planned, catalogues)}",
        f"## How to reproduce it\n\n{_repeat(planned, records)}",
    ]
    if selection.left_out:
        parts.append(f"## What is left out\n\n{_left_out(selection.left_out)}")
    return "\n".join(parts)


def _records(planned: StudyJobs) -> Iterator[Record]:
    """The records that can be read; the others are among what doesn't hold."""
    for each in planned.jobs:
        with suppress(InputError):
            yield read_record(record_file(each.job))


def _holds(verdict: Verdict) -> str:
    jobs = sum(verdict.jobs.values())
    if not verdict.problems:
        return (
            f"When this was packed, every file of its {jobs} jobs was hashed again and was what had been recorded, "
            "made from inputs as they were, by the code and under the packages of that day.\n"
        )
    lines = "".join(f"- {problem}\n" for problem in verdict.problems)
    return f"**It was packed though {len(verdict.problems)} checks failed**, of {jobs} jobs:\n\n{lines}"


def _origin(records: list[Record]) -> str:
    if not records:
        return "No job left a record.\n"
    rows = {
        "from": [min(record.started for record in records)],
        "to": [max(record.ended for record in records)],
        "commit": _distinct(_commit(record) for record in records),
        "machine": _distinct(_machine(record) for record in records),
        "packages": _distinct(
            f"{name} {version}" for each in records for name, version in each.versions.items() if version
        ),
    }
    return markdown_table(("", ""), ((name, "; ".join(values)) for name, values in rows.items())) + "\n"


def _commit(record: Record) -> str:
    if record.commit is None:
        return f"unknown: {record.unknown or 'not from a git repository'}"
    differs = record.differs
    changed = f" with changes to {', '.join(differs.files)} ({differs.sha256[:12]})" if differs else ""
    return record.commit + changed


def _machine(record: Record) -> str:
    gpu = f", {record.gpu}" if record.gpu else ""
    return f"{record.cpu}, {record.cores} cores, {record.memory / 1e9:.0f} GB{gpu}, {record.platform}"


def _data(planned: StudyJobs, catalogues: Catalogues) -> str:
    rows = []
    for each in planned.jobs:
        index = Path(each.job.output.get("index", ""))
        if each.rule == "download" and index.is_file():
            about = read_json(index)
            source = f"{about['source']} {about['revision'] or ''}".strip()
            licence = catalogues.datasets[about["dataset"]].licence
            rows.append((about["dataset"], about["split"], f"{about['rows']:,}", source, licence, about["sha256"]))
    return (
        markdown_table(("dataset", "split", "rows", "source, revision", "licence", "SHA-256 of the rows"), rows) + "\n"
    )


def _repeat(planned: StudyJobs, records: list[Record]) -> str:
    commits = Counter(record.commit for record in records if record.commit)
    commit = commits.most_common(1)[0][0] if commits else "THE COMMIT"
    changed = shlex.join(config_arguments(planned.config))
    conda = " --use-conda" if any(record.conda for record in records) else ""
    return (
        f"In a clone of the repository, with {PYTHONS}:\n\n"
        f"```bash\ngit checkout {commit}\nmake install\n"
        f".venv/bin/snakemake --cores all{conda} --config studies={planned.study}{changed and f' {changed}'}\n"
        f"make verify STUDY={planned.study}{changed and f' CONFIG={shlex.quote(changed)}'}\n```\n\n"
        f"{PATHS if HIDDEN in changed else ''}"
        "Each record names the command of its own job. On the same processor and packages a CPU gives the same "
        "losses to the last bit; times and figures of speed differ.\n"
    )


def _left_out(left_out: Mapping[Path, str]) -> str:
    by_reason: dict[str, list[Path]] = {}
    for path, reason in left_out.items():
        by_reason.setdefault(reason, []).append(path)
    lines = [
        line
        for reason, paths in by_reason.items()
        for line in (f"- {reason}:", *(f"  - `{path.as_posix()}`" for path in paths))
    ]
    return "\n".join([*lines, "", "The records in this archive hold the hash of each but the logs.", ""])


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values))
