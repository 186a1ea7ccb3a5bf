"""Where C++ extensions are built, and where they can't be."""

import os
import re
from pathlib import Path


def extensions_root() -> Path:
    """Where extensions are built: $TORCH_EXTENSIONS_DIR, or else below ~/.cache, whatever the repository's path."""
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or "~/.cache/torch_extensions").expanduser()


def spaced_path(python: str) -> str | None:
    """What keeps torch from linking an extension: a path with spaces, of its own libraries or of what it builds."""
    paths = (str(extensions_root().absolute()), str(Path(python).absolute().parent))
    return next((path for path in paths if re.search(r"\s", path)), None)
