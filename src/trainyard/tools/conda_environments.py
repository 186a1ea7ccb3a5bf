"""The conda environments of the rules: `envs/NAME.yaml`, written from the packages that `envs/NAME.in` names.

Each pins what it names and all that this needs, in the versions of requirements.lock:
`python -m trainyard.tools.conda_environments`. An environment of versions of its own takes them
from a report of pip's: `python -m trainyard.tools.conda_environments NAME REPORT`.
"""

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from trainyard.core.errors import InputError
from trainyard.core.files import read_json, write_text

ENVIRONMENTS = Path("envs")
LOCK = Path("requirements.lock")
OF_THEIR_OWN = ("colossalai",)

_PYTHON, _PIP = "3.11", "25.3"
# the same file on every machine that writes it
_MARKERS = {
    "python_version": _PYTHON,
    "python_full_version": f"{_PYTHON}.0",
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
# torch's builds for CUDA bring these, and say of which version (cuda-bindings: any 13); its builds for CPUs have none
_OF_CUDA = re.compile(r"nvidia-|cuda-|triton$")


@dataclass(frozen=True)
class Package:
    """A version of a package, and what this needs, as its metadata says."""

    version: str
    needs: tuple[str, ...]


Packages = Callable[[str], Package]


def read_requirements(file: Path) -> list[Requirement]:
    """The packages that a list names, one per line."""
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def read_lock(lock: Path) -> Packages:
    """The packages of a lock file, asked by name.

    What they need is read from their installation for this Python, of the same version.

    Raises:
        InputError: by the answer: a package isn't locked, or another version is installed.
    """
    pinned: dict[str, str] = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in read_requirements(lock)
    }

    def package(name: str) -> Package:
        if name not in pinned:
            raise InputError(f"{lock}: {name} is not in it; name it in {lock.with_suffix('.in')} and run `make lock`")
        installed = distribution(name)
        if Version(installed.version).public != pinned[name]:
            raise InputError(f"{lock}: has {name} {pinned[name]}, {installed.version} is installed; run `make install`")
        return Package(pinned[name], tuple(installed.requires or ()))

    return package


def read_report(report: Path) -> Packages:
    """The packages of pip's report on an installation, asked by name."""
    packages: dict[str, Package] = {
        canonicalize_name(content["name"]): Package(content["version"], tuple(content.get("requires_dist", ())))
        for content in (entry["metadata"] for entry in read_json(report)["install"])
    }
    return packages.__getitem__


def resolve_closure(direct: Iterable[Requirement], package: Packages) -> dict[str, str]:
    """The versions of packages and of all that they need, by name, sorted."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(direct)
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen or _OF_CUDA.match(name):
            continue
        seen.add((name, extras))
        result = package(name)
        versions[name] = result.version
        for needed in map(Requirement, result.needs):
            asked = [{**_MARKERS, "extra": extra} for extra in ("", *extras)]
            if needed.marker is None or any(map(needed.marker.evaluate, asked)):
                waiting.append(needed)
    return dict(sorted(versions.items()))


def environment_file(direct: Path, package: Packages) -> str:
    """The content of the environment file of a list of packages."""
    versions = "the newest that these allow" if direct.stem in OF_THEIR_OWN else f"those of {LOCK}"
    lines = [
        f"# Written by `make lock`: the packages of {direct.name} and what they need; versions are {versions}.",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        f"  - python={_PYTHON}",
        f"  - pip={_PIP}",
        "  - pip:",
        *(
            f"      - {name}=={version}"
            for name, version in resolve_closure(read_requirements(direct), package).items()
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the environments of the lock file, or the one that is named, from pip's report."""
    if len(sys.argv) == 3:
        name, report = sys.argv[1:]
        direct = ENVIRONMENTS / f"{name}.in"
        write_text(direct.with_suffix(".yaml"), environment_file(direct, read_report(Path(report))))
        return
    packages = read_lock(LOCK)
    for direct in sorted(ENVIRONMENTS.glob("*.in")):
        if direct.stem not in OF_THEIR_OWN:
            write_text(direct.with_suffix(".yaml"), environment_file(direct, packages))


if __name__ == "__main__":
    main()
