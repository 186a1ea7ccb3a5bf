"""A stand-in for the client `conda`, for tests on machines that no conda channel reaches. It is not conda.

It answers what Snakemake 9.27.1 asks of a client, and no more. Real are the packages of a
local channel, solver and linker (py-rattler), and pip, which installs an environment file's
`pip:` section and checks it. To spare pip the unpacking, packages of the very versions that
are asked for are hard links to this interpreter's own; the channel's `python` is a virtual
environment of this interpreter (see conda_channel.py).

usage: python conda_stand_in.py BASE ARGUMENTS...
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from rattler import Gateway, PrefixRecord, RepoDataRecord, VirtualPackage, install, solve

VERSION = "24.11.0"
PLATFORMS = ("linux-64", "noarch")


def answer(base: Path, words: Sequence[str]) -> str:
    """What is printed for the words of a command line."""
    match words:
        case ["--version"]:
            return f"conda {VERSION}"
        case ["info", "--json"]:
            return json.dumps({"conda_prefix": str(base), "platform": PLATFORMS[0], "conda_version": VERSION})
        case ["config", "--get", "channel_priority", "--json"]:
            return json.dumps({"get": {"channel_priority": "strict"}})
        case ["env", "create", *options]:
            _from_yaml(base, *_file_and_prefix(options))
        case ["create", *options]:
            _from_pins(base, *_file_and_prefix(options))
        case ["clean", *_]:
            pass
        case ["list", "--explicit", "--prefix", prefix]:
            records = sorted(Path(prefix, "conda-meta").glob("*.json"))
            return "\n".join(["@EXPLICIT", *(str(PrefixRecord.from_path(record).url) for record in records)])
        case _:
            sys.exit(f"conda (a stand-in for tests): nobody has taught it {list(words)}")
    return ""


def _file_and_prefix(options: Sequence[str]) -> tuple[Path, Path]:
    parser = argparse.ArgumentParser()
    for flag in ("--quiet", "--no-default-packages", "--yes"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--prefix", type=Path, required=True)
    found = parser.parse_args(options)
    return found.file, found.prefix


def _from_yaml(base: Path, file: Path, prefix: Path) -> None:
    entries = yaml.safe_load(file.read_text())["dependencies"]
    specs = [entry for entry in entries if isinstance(entry, str)]
    pip = [line for entry in entries if isinstance(entry, dict) for line in entry["pip"]]
    virtual = VirtualPackage.detect()
    channel = f"file://{base}/channel"
    records = asyncio.run(solve([channel], specs, platforms=PLATFORMS, virtual_packages=virtual))
    _link(base, prefix, records)
    if pip:
        _link_installed(prefix, pip)
        _pip(prefix, pip)


def _from_pins(base: Path, file: Path, prefix: Path) -> None:
    """An `@EXPLICIT` file: addresses of packages, and nothing to solve."""
    urls = [line.partition("#")[0].strip() for line in file.read_text().splitlines() if "/" in line]

    async def query(url: str) -> list[RepoDataRecord]:
        channel, platform, name = url.rsplit("/", 2)
        found = await Gateway().query([channel], [platform], [name.rsplit("-", 2)[0]], recursive=False)  # type: ignore[list-item]
        return [record for records in found for record in records if record.file_name == name]

    records = [record for url in urls for record in asyncio.run(query(url))]
    assert len(records) == len(urls), f"{file}: not every package is in its channel"
    _link(base, prefix, records)


def _link(base: Path, prefix: Path, records: list[RepoDataRecord]) -> None:
    asyncio.run(install(records, target_prefix=prefix, cache_dir=base / "packages", show_progress=False))
    (prefix / "conda-meta").mkdir(exist_ok=True)
    (prefix / "conda-meta" / "history").touch()


def _link_installed(prefix: Path, requirements: Sequence[str]) -> None:
    """Put into an environment what this interpreter has of the very versions that are asked for."""
    (packages,) = prefix.glob("lib/python*/site-packages")
    for requirement in map(Requirement, requirements):
        try:
            here = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        if str(requirement.specifier) == f"=={Version(here.version).public}":
            _link_distribution(here, packages, prefix / "bin")


def _link_distribution(here: Distribution, packages: Path, programs: Path) -> None:
    for file in here.files or ():
        source = Path(str(here.locate_file(file)))
        inside = ".." not in file.parts
        # a script would start this interpreter; nothing of Trainyard calls one
        if not source.is_file() or not (inside or source.open("rb").read(2) != b"#!"):
            continue
        target = packages / file if inside else programs / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError:
            pass
        except OSError:  # on another disk
            shutil.copy2(source, target)


def _pip(prefix: Path, requirements: Sequence[str]) -> None:
    file = prefix.with_name(f"{prefix.name}.requirements.txt")
    file.write_text("\n".join(requirements) + "\n")
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [prefix / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-input", "--requirement", file]
    subprocess.run(command, env=own, check=True)


if __name__ == "__main__":
    if said := answer(Path(sys.argv[1]), sys.argv[2:]):
        print(said)
    sys.stdout.flush()
    os._exit(0)  # py-rattler 0.28 now and then crashes when its interpreter takes itself down
