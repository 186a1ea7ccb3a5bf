"""What all tests share."""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from forked import Ranks

# before any library starts its threads: two cores, and results that depend on the number of threads
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


# folders of long tests whose files share nothing that would be made twice
BY_FILE = {"faults", "workflow"}
# what takes minutes, the longest first, so that at the end no process has one of them to itself; but before them what
# makes the run that other files of its folder wait for
FIRST = (
    "tests/workflow/test_archive.py",
    *("parallel", "slurm", "train"),
    *("tests/faults/test_kills.py", "tests/workflow/test_failed_rows.py", "tests/faults/test_snakemake.py"),
    *("conda", "tools", "tests/workflow/test_reruns.py", "tests/workflow/test_search.py"),
    *("tests/faults/test_evaluations.py", "tests/faults/test_checkpoints.py", "tests/workflow/test_add_a_model.py"),
    *("security", "evaluate", "plan", "tests/workflow/test_whole.py", "tests/faults/test_search.py"),
    *("tests/workflow/test_update.py", "tests/faults/test_lost_rank.py", "tests/workflow/test_add_a_metric.py"),
)


def scope(nodeid: str) -> str:
    """What of the tests runs in one process: a folder, which shares what is costly, or a file."""
    file = nodeid.partition("::")[0]
    folder = file.split("/")[1]
    return file if folder in BY_FILE else folder


class ByFolder(LoadScopeScheduling):
    """Where tests run in several processes, those of a scope run in one."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {each: place for place, each in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(scope(item.nodeid), len(FIRST)))


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Forks the ranks of launches, for those who ask for it."""
    made = Ranks()
    yield made
    made.close()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFolder:
    return ByFolder(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"skipped: {report.nodeid}: {report.longrepr[-1]}")
    for name, count in sorted(counted(terminalreporter).items()):
        terminalreporter.write_line(f"{name}: {count}")


def counted(terminalreporter: pytest.TerminalReporter) -> Counter[str]:
    """What the tests that passed say they have done, by `record_property("faults injected", 3)`, summed."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, count in report.user_properties:
            counts[name] += count
    return counts


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test may be skipped for want of a GPU alone."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and any("GPU" not in str(report.longrepr[-1]) for report in skipped):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
