"""Parameters of jobs as Snakemake's report shows them."""

from typing import Any


class Shown(dict[str, Any]):
    """A parameter that holds texts of the configuration.

    Snakemake's report writes the parameters of each job, as Python would, into a script of its page, which a text with
    `</script>` would end: here `<` stands as its escape. To a script of a rule it is a plain dictionary.
    """

    def __repr__(self) -> str:
        return super().__repr__().replace("<", r"\x3c")

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)
