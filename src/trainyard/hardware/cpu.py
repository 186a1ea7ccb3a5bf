"""The name of the CPU."""

import platform
import re
from pathlib import Path


def processor_name() -> str:
    """What the machine calls its CPU."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()
