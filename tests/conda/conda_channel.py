"""A conda channel of two packages on the disk, and a base folder whose `conda` is the stand-in."""

import asyncio
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from rattler.index import index_fs

STAND_IN = Path(__file__).with_name("conda_stand_in.py")
ACTIVATE = """\
export CONDA_PREFIX="$1"
export PATH="$1/bin:$PATH"
"""


def make_base(base: Path, pip: str) -> Path:
    """Make what an installation of conda is to Snakemake: `bin/conda` and `bin/activate`; and a channel.

    Args:
        base: the folder to make.
        pip: the version of pip in the channel, taken from the package index.
    """
    programs = base / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(ACTIVATE)
    (programs / "conda").write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{STAND_IN}" "{base}" "$@"\n')
    (programs / "conda").chmod(0o755)
    channel = base / "channel"
    _pack_python(channel, base / "python")
    _pack_pip(channel, base / "pip", pip)
    asyncio.run(index_fs(channel))
    return base


def _pack_python(channel: Path, folder: Path) -> None:
    """This interpreter as a virtual environment: packages of its own, the standard library of this one."""
    number = "{}.{}".format(*sys.version_info)
    python = Path(sys.executable).resolve()
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / f"python{number}").symlink_to(python)
    for name in ("python", "python3"):
        (folder / "bin" / name).symlink_to(f"python{number}")
    (folder / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
    version = "{}.{}.{}".format(*sys.version_info)
    _pack(channel, "linux-64", folder, {"name": "python", "version": version, "depends": []})


def _pack_pip(channel: Path, folder: Path, version: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, f"pip=={version}"]
    subprocess.run(command, check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site-packages")
    wheel.unlink()
    _pack(channel, "noarch", folder, {"name": "pip", "version": version, "depends": ["python"], "noarch": "python"})


def _pack(channel: Path, platform: str, folder: Path, about: dict[str, Any]) -> None:
    """Pack a folder as a conda package, in the form that conda's documentation calls version 1."""
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    index = {"build": "0", "build_number": 0, "subdir": platform, **about}
    paths = {"paths_version": 1, "paths": [_path(folder, file) for file in files]}
    link = {"package_metadata_version": 1, "noarch": {"type": "python", "entry_points": []}}
    (channel / platform).mkdir(parents=True)
    with tarfile.open(channel / platform / f"{about['name']}-{about['version']}-0.tar.bz2", "w:bz2") as archive:
        for name, content in {"index": index, "paths": paths, **({"link": link} if "noarch" in about else {})}.items():
            text = json.dumps(content).encode()
            member = tarfile.TarInfo(f"info/{name}.json")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        for file in files:
            archive.add(file, arcname=str(file.relative_to(folder)))


def _path(folder: Path, file: Path) -> dict[str, Any]:
    content = str(file.readlink()).encode() if file.is_symlink() else file.read_bytes()
    return {
        "_path": str(file.relative_to(folder)),
        "path_type": "softlink" if file.is_symlink() else "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
