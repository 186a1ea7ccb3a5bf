"""What the rules of searches over recipes ask for, by wildcards: who is settled by what, and goes on from whom."""

import re
from collections.abc import Mapping
from typing import Any

from trainyard.plan.searches import MEMBER, Member, Search
from trainyard.plan.study import StudyPlan
from trainyard.tune.generations import describe_search

Wildcards = Any


class SearchJobs:
    """What rules/tune.smk asks of the plan.

    Args:
        studies: by name.
    """

    def __init__(self, studies: Mapping[str, StudyPlan]) -> None:
        self._studies = studies

    def _search(self, wildcards: Wildcards) -> Search:
        return self._studies[wildcards.study].searches[wildcards.search]

    def _member(self, wildcards: Wildcards) -> tuple[Search, Member]:
        study = self._studies[wildcards.study]
        member = study.members[wildcards.run]
        return study.searches[member.search], member

    def studies_of(self, kept: bool) -> str:
        """A pattern of a study's name before the name of a member whose state is kept, or of another member.

        The last generation's is kept where another generation could begin from it without changing what is there.
        Searches of two studies may have one name, so that the member's alone would not tell.
        """
        members = {
            re.escape(f"{study}/{MEMBER}{search.name}_g{generation.number}_")
            for study, plan in self._studies.items()
            for search in plan.searches.values()
            for generation in search.generations
            if kept == (search.can_grow and generation is search.generations[-1])
        }
        return f"(?=({'|'.join(sorted(members)) or '(?!)'})s[0-9]+/)[^/@]+"

    def search(self, wildcards: Wildcards) -> dict[str, Any]:
        """What settles a generation, besides what the one before came to."""
        search = self._search(wildcards)
        return describe_search(search.tune, search.method, search.generations[int(wildcards.generation) - 1])

    def previous_generation(self, wildcards: Wildcards) -> str | list[str]:
        """The file of the generation before; nothing for the first."""
        number = int(wildcards.generation)
        return self._search(wildcards).file(number - 1) if number > 1 else []

    def previous_summaries(self, wildcards: Wildcards) -> list[str]:
        """What became of the members of the generation before, by slot."""
        number = int(wildcards.generation)
        members = self._search(wildcards).members[number - 2] if number > 1 else []
        return [f"{member.folder}/summary.json" for member in members]

    def member_generation(self, wildcards: Wildcards) -> str:
        """The file that says from whose state a member goes on."""
        search, member = self._member(wildcards)
        return search.file(member.generation.number)

    def parent_states(self, wildcards: Wildcards) -> list[str]:
        """The states that a member may go on from: all of the generation before, by slot."""
        search, member = self._member(wildcards)
        number = member.generation.number
        return [f"{parent.folder}/state" for parent in search.members[number - 2]] if number > 1 else []

    def winner_generations(self, wildcards: Wildcards) -> list[str]:
        """The files of the generations of the search that a run is the winner of."""
        return self._studies[wildcards.study].winners[wildcards.run].files

    def last_members(self, wildcards: Wildcards, file: str) -> list[str]:
        """A file of each member of the last generation of that search, by slot."""
        search = self._studies[wildcards.study].winners[wildcards.run]
        return [f"{member.folder}/{file}" for member in search.members[-1]]
