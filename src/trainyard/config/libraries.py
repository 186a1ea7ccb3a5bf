"""Libraries that extensions in C++ link to, looked for without torch, so that a dry run stays quick."""

import functools
import os
import shlex
import shutil
import subprocess
from typing import Literal

Library = Literal["libaio"]

REMEDIES: dict[Library, str] = {"libaio": "Debian: apt-get install libaio-dev"}
_PROGRAMS: dict[Library, tuple[str, str]] = {
    "libaio": ("#include <libaio.h>\nint main() { return io_queue_release(nullptr); }\n", "-laio"),
}


@functools.cache
def has_library(name: Library) -> bool:
    """Whether a C++ compiler finds a library and its header; $CFLAGS and $LDFLAGS may name their folders."""
    compiler = next((found for found in map(shutil.which, ("c++", "g++", "clang++")) if found), None)
    if compiler is None:
        return False
    program, link = _PROGRAMS[name]
    flags, links = (shlex.split(os.environ.get(variable, "")) for variable in ("CFLAGS", "LDFLAGS"))
    command = [compiler, *flags, "-x", "c++", "-", *links, link, "-o", os.devnull]
    return subprocess.run(command, input=program.encode(), capture_output=True, check=False).returncode == 0
