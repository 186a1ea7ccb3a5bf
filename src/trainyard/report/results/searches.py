"""What searches over recipes have left: their generations, and what became of each member."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from trainyard.config.study import Study, Tune
from trainyard.core.files import read_json
from trainyard.report.results.runs import Run


@dataclass(frozen=True)
class Member:
    """One slot of one generation.

    Attributes:
        parent: the slot of the generation before whose state it began from; None: from none.
        hyperparameters: the searched settings.
        trained: whether it was to train; False of a slot that had failed in a generation before.
        replaced: outcome and loss of the member whose place it took by a copy; None: it took nobody's.
        loss: of validation at its end, in nats; None of one that failed.
        tokens: that it took in this generation, predicted ones.
        seconds: that passed in this generation.
        hours: of all its devices, likewise.
    """

    slot: int
    parent: int | None
    trained: bool
    hyperparameters: dict[str, Any]
    replaced: dict[str, Any] | None
    outcome: str
    reason: str | None
    loss: float | None
    tokens: float
    seconds: float
    hours: float

    @property
    def copied(self) -> bool:
        """Whether it took the place of another by a copy."""
        return self.replaced is not None

    @property
    def place(self) -> tuple[bool, float, int]:
        """What members are ranked by, the best first."""
        return self.loss is None, self.loss or 0.0, self.slot


@dataclass(frozen=True)
class Search:
    """One search by one method.

    Attributes:
        tune: its entry in the study.
        generations: the members of each, by slot.
        untils: the last step of each.
        winner: the run that its best member is.
    """

    tune: Tune
    method: str
    generations: list[list[Member]]
    untils: list[int]
    winner: Run | None

    @property
    def name(self) -> str:
        """Of the recipe that it finds."""
        return f"{self.tune.name}-{self.method}"

    @property
    def members(self) -> list[Member]:
        """Of all generations."""
        return [member for generation in self.generations for member in generation]

    @property
    def best(self) -> Member | None:
        """The best of the last generation; None where none has finished."""
        best = min(self.generations[-1], key=lambda member: member.place)
        return best if best.loss is not None else None

    def lineage(self) -> list[Member]:
        """The ancestors of the best member from the first generation on, and itself; none without a best."""
        best = self.best
        if best is None:
            return []
        line = [best]
        for before in reversed(self.generations[:-1]):
            assert line[-1].parent is not None
            line.append(before[line[-1].parent - 1])
        return line[::-1]

    def spent(self, what: str) -> list[float]:
        """The `tokens`, `seconds` or `hours` of all members up to the end of each generation."""
        return list(accumulate(sum(getattr(member, what) for member in each) for each in self.generations))

    def best_losses(self) -> list[float | None]:
        """The lowest validation loss up to the end of each generation; None while no member has finished one."""
        lowest: list[float | None] = []
        for generation in self.generations:
            losses = [member.loss for member in generation if member.loss is not None]
            losses += [loss for loss in lowest[-1:] if loss is not None]
            lowest.append(min(losses, default=None))
        return lowest


def read_recipe_searches(
    study: Study, generations: Sequence[Path], members: Sequence[Path], runs: Sequence[Run]
) -> list[Search]:
    """Every search of a study by every method, in the study's order.

    Args:
        study: whose searches they are.
        generations: tune/{search}/generation{g}.json.
        members: summary.json of the members, with spec.json beside each.
        runs: those of the study, the winners among them.
    """
    contents = [read_json(path) for path in generations]
    settled = {(each["name"], each["method"], each["generation"]): each for each in contents}
    summaries = {}
    for path in members:
        specification = read_json(path.parent / "spec.json")
        at = specification["search"]
        key = (at["name"], at["method"], at["generation"], at["slot"])
        summaries[key] = read_json(path) | {"processes": specification["processes"]}
    winners = {(at["name"], at["method"]): run for run in runs if (at := run.specification.get("search"))}
    searches = []
    for tune in study.tune:
        for method in tune.method:
            own = [each for key, each in sorted(settled.items()) if key[:2] == (tune.name, method)]
            if own:
                read = [_read_generation(each, summaries) for each in own]
                untils = [each["until"] for each in own]
                searches.append(Search(tune, method, read, untils, winners.get((tune.name, method))))
    return searches


def _read_generation(content: dict[str, Any], summaries: dict[tuple, dict[str, Any]]) -> list[Member]:
    key = (content["name"], content["method"])
    number = content["generation"]
    members = []
    for slot in content["slots"]:
        summary = summaries[(*key, number, slot["slot"])]
        parent = summaries[(*key, number - 1, slot["parent"])] if slot["parent"] else {}
        trained = "outcome" not in slot
        # a training counts from its first step on, with those of the lineage before it
        tokens, seconds = (
            max(0.0, summary[name] - parent.get(name, 0)) if trained else 0.0
            for name in ("tokens", "elapsed_seconds")
        )
        finished = summary["outcome"] == "finished"
        members.append(
            Member(
                slot["slot"],
                slot["parent"],
                trained,
                slot["hyperparameters"],
                slot.get("replaced"),
                summary["outcome"],
                summary["reason"],
                summary["validation_loss"] if finished else None,
                tokens,
                seconds,
                seconds * summary["processes"] / 3600,
            )
        )
    return members
