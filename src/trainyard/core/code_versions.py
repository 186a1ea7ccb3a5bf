"""The versions of the code that trained a run: one, unless an interrupted run went on after an update."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from trainyard.core.errors import InputError, one_line


@dataclass(frozen=True)
class CodeVersion:
    """The code that trained a run from one of its steps on.

    Attributes:
        step: the first step that it took.
        code: the hash of the code that trains.
        commit: of the repository; None where it can't be told.
        dirty: whether files differed from the commit; None where it can't be told.
        packages: the versions of Python and of the packages on which weights depend; None: not installed.
    """

    step: int
    code: str
    commit: str | None
    dirty: bool | None
    packages: dict[str, str | None]

    def __str__(self) -> str:
        changes = " with uncommitted changes" if self.dirty else ""
        commit = f"commit {self.commit[:12]}{changes}" if self.commit else "an unknown commit"
        return f"{commit} (code {self.code[:8]})"

    def other_packages(self, later: "CodeVersion") -> str:
        """What changed in the packages since, such as `torch 2.5.1, then 2.6.0`; empty if nothing did."""
        names = dict.fromkeys((*self.packages, *later.packages))
        pairs = ((name, self.packages.get(name), later.packages.get(name)) for name in names)
        return ", ".join(f"{name} {then or 'none'}, then {now or 'none'}" for name, then, now in pairs if then != now)


def read_versions(values: Iterable[dict[str, Any]] | None) -> list[CodeVersion]:
    """The versions as a JSON file holds them; empty for a file that has none.

    Raises:
        InputError: they are not what this version of Trainyard writes.
    """
    try:
        return [CodeVersion(**value) for value in values or ()]
    except TypeError as error:
        raise InputError(f"the versions of the code aren't readable ({one_line(error)})") from error


def cut(versions: Sequence[CodeVersion], step: int) -> list[CodeVersion]:
    """The versions of a run that goes on after `step`, 0 for its start, under the code of the last of them."""
    *earlier, last = versions
    return [*(each for each in earlier if each.step <= step), replace(last, step=min(last.step, step + 1))]


def trained_by(versions: Sequence[CodeVersion]) -> str:
    """`trained by two versions of the code, from step 51`; empty for a run of one version."""
    if len(versions) < 2:
        return ""
    only_code = all(one.code != other.code for one, other in pairwise(versions))
    number = "two" if len(versions) == 2 else str(len(versions))
    *others, last = [str(each.step) for each in versions[1:]]
    steps = f"steps {', '.join(others)} and {last}" if others else f"step {last}"
    return f"trained by {number} versions of the code{'' if only_code else ' or its packages'}, from {steps}"


def with_commits(versions: Sequence[CodeVersion]) -> str:
    """The same with each version's commit and what changed in the packages; empty for a run of one version."""
    if not (words := trained_by(versions)):
        return ""
    changes = [changed for one, other in pairwise(versions) if (changed := one.other_packages(other))]
    return "; ".join([f"{words}: {', then '.join(map(str, versions))}", *changes])
