"""The best member of a search's last generation, as a run like any other."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainyard.train.job import Outputs
from trainyard.train.work_folder import WorkFolder
from trainyard.tune.select import read_members, trace
from trainyard.tune.space import settle


def write_winner(
    specification: dict[str, Any], generations: Sequence[Path], summaries: Sequence[Path], output: Path
) -> None:
    """Write the outputs of a run from the state that the best member left; if none finished, a row that says why.

    Args:
        specification: of the run, without what the search has found.
        generations: the files of all generations, the last one last.
        summaries: summary.json of the last one's members, by slot; each member's state is in the folder beside it.
        output: the folder of the declared outputs.
    """
    members = read_members(generations[-1], summaries)
    best = min(members, key=lambda member: member.place)
    if best.loss is None:
        outcome = Counter(member.outcome for member in members).most_common(1)[0][0]
        reason = next(member.reason for member in members if member.outcome == outcome)
        ended = {"outcome": outcome, "reason": f"no member of the search has finished: {reason}"}
        Outputs(specification, output).write(ended, {}, [], {}, [], [])
        return
    found = {
        "train": settle(specification["train"], best.hyperparameters),
        "search": specification["search"] | {"lineage": trace(generations, best)},
    }
    state = summaries[members.index(best)].parent / "state"
    Outputs(specification | found, output).copy_out(WorkFolder(state))
