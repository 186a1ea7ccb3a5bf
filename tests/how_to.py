"""The files that a page of docs/how-to lists whole, for tests that follow the page to the letter."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "how-to"


def listed_files(page: str) -> dict[str, str]:
    """The content of each file that a page lists: a line with the file's path and a colon, then a block of code."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def listed_commands(page: str) -> list[str]:
    """The commands that a page says to call, in their order."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
