"""The name of the CPU."""

import platform
import re
from pathlib import Path


def processor_name() -> str:
    """What the machine calls its CPU."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
