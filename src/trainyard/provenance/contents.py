"""What of a study goes into its archive, and what is left out, with the reason."""

import re
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from trainyard.config.catalogue import Dataset
from trainyard.plan.runs import RESULTS
from trainyard.provenance.jobs import PlannedJob, StudyJobs
from trainyard.provenance.record import list_written, record_file

ENVIRONMENT = ("requirements*.lock", "envs/*.yaml", "config/data.lock.yaml")
REPORT = Path("report.html")
LARGEST_LOG = 1 << 20  # bytes
KEPT_OF_DATA = {"download": "*.json", "tokenize": "index.json", "tokenizer": "index.json"}
KEPT_OF_MODELS = {"config.json", "generation_config.json", "README.md", "origin.json", "trainyard.json", "NONE.txt"}
TEXTS = {"prompt", "prediction", "target", "example"}  # columns that hold text of the data, or may repeat it
PAGES_OF_TEXTS = {"samples": "evaluate", "contamination_table": "contamination"}  # and whose texts they show
SHARED = re.compile(r"(CC0|Public Domain|CC BY(-SA)? \d|ODC-By|Apache|MIT|BSD)\b", re.IGNORECASE)
"""Licences that let anyone pass a text on. Under any other, and under none, texts stay where they are."""

_ADDRESS = re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b")


@dataclass(frozen=True)
class Contents:
    """Paths from the repository's root.

    Attributes:
        files: go in as they are.
        logs: go in cleaned.
        left_out: the reason of each.
    """

    files: list[Path]
    logs: list[Path]
    left_out: dict[Path, str]


def select_contents(planned: StudyJobs, datasets: Mapping[str, Dataset], models: bool) -> Contents:
    """Choose what goes in.

    Args:
        planned: the jobs of the study.
        datasets: the catalogue, for the licences.
        models: whether weights and tokenizers go in too.
    """
    job_files = [(each, path) for each in planned.jobs for path in _job_files(each)]
    left_out = {path: reason for each, path in job_files if (reason := _of_data_or_models(each, path, models))}
    texts = {path: closed for each, path in job_files if (closed := _closed_texts(each, path, datasets))}
    texts |= {
        path: datasets_shown
        for each, path in job_files
        if (datasets_shown := _shown_datasets(each, path, job_files, texts))
    }
    files = [path for _, path in job_files]
    left_out |= {path: _explain_not_shared(closed) for path, closed in texts.items()}
    if REPORT.is_file():
        files.append(REPORT)
        pages = [path for each, path in job_files if each.kind == "report"]
        if reason := _explain_wrong_report(planned.study, pages, set().union(*texts.values())):
            left_out[REPORT] = reason
    files += [Path("config/studies", f"{planned.study}.yaml")]
    files += [path for pattern in ENVIRONMENT for path in Path().glob(pattern)]
    logs = {Path(each.job.log) for each in planned.jobs if Path(each.job.log).is_file()}
    large = {log: "large" for log in logs if log.stat().st_size > LARGEST_LOG}
    left_out |= large
    return Contents(sorted({*files} - {*left_out}), sorted(logs - {*large}), dict(sorted(left_out.items())))


def clean_log(log: Path) -> str:
    """A log without the names of folders, users and machines, as far as they can be told."""
    text = log.read_text(encoding="utf-8", errors="replace")
    for folder, name in ((Path.cwd(), "."), (Path(sys.prefix), "PYTHON"), (Path.home(), "~")):
        text = text.replace(str(folder), name) if folder != Path("/") else text
    return _ADDRESS.sub("ADDRESS", re.sub(rf"\b{re.escape(socket.gethostname())}\b", "HOST", text))


def _job_files(one: PlannedJob) -> Iterator[Path]:
    """A job's outputs and its record, as far as they are there."""
    yield from list_written(one.job)
    if (record := record_file(one.job)).is_file():
        yield record


def _of_data_or_models(one: PlannedJob, path: Path, models: bool) -> str | None:
    """Why a file is too large to go in, if it is."""
    if path == record_file(one.job):
        return None
    if kept_suffixes := KEPT_OF_DATA.get(one.rule):
        return None if path.match(kept_suffixes) else "data"
    of_model = one.rule == "fetch_model" or (one.rule in ("train", "winner") and path.parts[3] == "models")
    return "weights or tokenizer" if of_model and not models and path.name not in KEPT_OF_MODELS else None


def _closed_texts(one: PlannedJob, path: Path, datasets: Mapping[str, Dataset]) -> set[str]:
    """The datasets that a file may hold texts of though their licence doesn't let anyone pass these on."""
    if path.suffix != ".parquet" or one.rule not in ("evaluate", "contamination"):
        return set()
    job = one.job
    names = {job.params["specification"]["dataset"]} if one.rule == "evaluate" else set(job.wildcards.values())
    closed = {name for name in names & {*datasets} if not SHARED.match(datasets[name].licence)}
    return closed if closed and TEXTS & {*pq.read_schema(path).names} else set()


def _shown_datasets(
    one: PlannedJob, path: Path, files: list[tuple[PlannedJob, Path]], texts: Mapping[Path, set[str]]
) -> set[str]:
    """The datasets whose texts a page of the report shows though they aren't passed on."""
    if path == record_file(one.job):
        return set()
    rule = PAGES_OF_TEXTS.get(one.rule)
    return set().union(*(texts[each] for other, each in files if other.rule == rule and each in texts))


def _explain_wrong_report(study: str, pages: list[Path], closed: set[str]) -> str | None:
    """Why report.html can't go in, if it can't. No job makes it, so no record tells what it shows.

    Args:
        study: whose archive it is.
        pages: the study's figures and tables, which the report holds.
        closed: the datasets whose texts are among them though they aren't passed on.
    """
    studies = set(re.findall(rf"{RESULTS}/([^/\"'\\]+)/report/overview\.html", REPORT.read_text(errors="replace")))
    if studies != {study}:
        return f"a report of {', '.join(sorted(studies)) or 'no study'}, and this is the archive of {study}"
    modified = REPORT.stat().st_mtime
    if any(page.stat().st_mtime > modified for page in pages):
        return f"older than what it shows; `snakemake --report {REPORT} --config studies={study}` makes it anew"
    return _explain_not_shared(closed) if closed else None


def _explain_not_shared(datasets: set[str]) -> str:
    return f"may hold texts of {', '.join(sorted(datasets))}, whose licence doesn't let everyone pass them on"
