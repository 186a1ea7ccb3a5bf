"""A page of docs/how-to that says what to add, for tests that follow it to the letter."""

import re
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "how-to"


def _read(page: str) -> str:
    return (FOLDER / page).read_text(encoding="utf-8")


def listed_files(page: str) -> dict[str, str]:
    """What a page says to write, by file: a line with the file's path and a colon, then a block of code."""
    return dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", _read(page), re.MULTILINE | re.DOTALL))


def listed_changes(page: str) -> dict[str, str]:
    """What a page says to change, by file: blocks of a unified diff."""
    blocks = re.findall(r"^```diff\n(.*?)^```$", _read(page), re.MULTILINE | re.DOTALL)
    return {block.partition("+++ b/")[2].partition("\n")[0]: block for block in blocks}


def listed_commands(page: str) -> list[str]:
    """The commands that a page says to call, in their order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", _read(page), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def follow(page: str, folder: Path) -> None:
    """Write the files and make the changes of a page in a copy of the repository; a file that is there is added to."""
    for name, text in listed_files(page).items():
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(text)
    for change in listed_changes(page).values():
        apply = ["git", "apply", "--unsafe-paths", f"--directory={folder}"]
        subprocess.run(apply, input=change, text=True, cwd="/", check=True)
