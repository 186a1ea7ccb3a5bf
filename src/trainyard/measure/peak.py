"""The peak that all MFU of a machine, a precision and a number of threads are shares of: measured once, alone."""

from pathlib import Path
from typing import Any

from trainyard.core.files import read_json, write_json
from trainyard.core.text import utc_now
from trainyard.launch.launch import launch
from trainyard.measure import peak_worker
from trainyard.measure.machine_load import OtherLoad


def measure(specification: dict[str, Any], output: Path, log: Path) -> None:
    """Find the peak of one process's device, and write its file.

    Args:
        specification: device, precision, threads.
        output: the file to write.
        log: takes what the process prints.

    Raises:
        LaunchError: the process failed.
    """
    started, load = utc_now(), OtherLoad()
    found = output.with_suffix(".found")
    arguments = [specification["device"], specification["precision"], str(specification["threads"]), str(found)]
    try:
        reason = launch(
            peak_worker.__name__, arguments, 1, specification["threads"], log, device=specification["device"]
        )
        if reason is not None:
            raise MemoryError(reason)
        write_json(output, {**specification, **read_json(found), "started": started, "other_load": load.end()})
    finally:
        found.unlink(missing_ok=True)
