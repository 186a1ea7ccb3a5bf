"""The figures and tables of a study's report, an entry each: `rules/` makes a rule of every entry.

How to add one: docs/how-to/add-a-figure.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trainyard.plan.study import StudyPlan


def always(_: StudyPlan) -> bool:
    """The condition of what every report holds."""
    return True


class File(NamedTuple):
    """A file of a figure or a table, and how the report's list of results shows it."""

    name: str
    title: str
    form: str


@dataclass(frozen=True, kw_only=True)
class Product(ABC):
    """What a figure and a table of the report have in common.

    Attributes:
        name: of its rule.
        title: as the report's list of results shows it, in lower case.
        subcategory: the part of the list that it stands in.
        module: the file of `src/trainyard/report/pages/` that makes it, without `.py`; the file of `report/` that
            explains it has the same name.
        inputs: for each argument of its function, the kind of result files that it reads (a key of `Dag.results`).
        params: what else of the configuration its function takes: `models`, `prices`, `energy`.
        when: whether a study has it; any value that Python takes for true will do.
    """

    name: str
    title: str
    subcategory: str
    module: str
    inputs: Mapping[str, str]
    params: tuple[str, ...] = ()
    when: Callable[[StudyPlan], object] = always

    @property
    def stem(self) -> str:
        """The name of its files without suffix: the rule's, without what tells a figure's rule from a table's."""
        return self.name.removesuffix("_figure").removesuffix("_table").replace("_", "-")

    @property
    @abstractmethod
    def files(self) -> dict[str, File]:
        """Its files, by the names that the rule gives to its outputs."""

    @property
    def log(self) -> str:
        """The name of its job's log, without suffix."""
        return self.name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Figure(Product):
    """A figure: its module has a function `draw`.

    Attributes:
        options: further arguments of `draw`.
    """

    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Its title in the overview."""
        return self.title[0].upper() + self.title[1:]

    @property
    def files(self) -> dict[str, File]:
        """The SVG."""
        return {"figure": File(f"{self.stem}.svg", self.title, "figure")}


@dataclass(frozen=True, kw_only=True)
class Table(Product):
    """A table, as HTML to read and CSV to compute with: its module has a function `tabulate`.

    Attributes:
        more_numbers: for each further CSV file the argument of `tabulate` that takes its path, and what it holds.
    """

    more_numbers: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, File]:
        """HTML and CSV, by the arguments of `tabulate`."""
        return {
            "table": File(f"{self.stem}.html", self.title, "table"),
            "numbers": File(f"{self.stem}.csv", self.title, "numbers"),
            **{
                argument: File(f"{self.stem}-{part}.csv", f"{self.title}: {part}", "numbers")
                for argument, part in self.more_numbers.items()
            },
        }


FIGURES = [
    Figure(
        name="loss_by_step",
        title="loss by step",
        subcategory="Curves",
        module="curves",
        inputs={"runs": "trainings", "metrics": "metrics"},
        options={"axis": "step"},
        when=lambda study: study.trainings,
    ),
    Figure(
        name="loss_by_tokens",
        title="loss by tokens",
        subcategory="Curves",
        module="curves",
        inputs={"runs": "trainings", "metrics": "metrics"},
        options={"axis": "tokens"},
        when=lambda study: study.trainings,
    ),
    Figure(
        name="loss_by_time",
        title="loss by time",
        subcategory="Curves",
        module="curves",
        inputs={"runs": "trainings", "metrics": "metrics"},
        options={"axis": "time"},
        when=lambda study: study.trainings,
    ),
    Figure(
        name="search_lineage",
        title="lineage of searches",
        subcategory="Searches",
        module="searches",
        inputs={"runs": "trainings", "generations": "generations", "members": "members"},
        options={"show": "lineage"},
        when=lambda study: study.searches,
    ),
    Figure(
        name="search_budget",
        title="loss against budget",
        subcategory="Searches",
        module="searches",
        inputs={"runs": "trainings", "generations": "generations", "members": "members"},
        options={"show": "budget"},
        when=lambda study: study.searches,
    ),
    Figure(
        name="scores_figure",
        title="scores",
        subcategory="Evaluation",
        module="scores",
        inputs={"runs": "trainings", "evaluations": "evaluations"},
        when=lambda study: study.evaluation_files,
    ),
    Figure(
        name="quality_by_step",
        title="quality by step",
        subcategory="Evaluation",
        module="quality",
        inputs={"runs": "trainings", "metrics": "metrics", "evaluations": "by_step", "shortcuts": "shortcuts"},
        params=("prices",),
        options={"along": "step"},
        when=lambda study: study.has_steps,
    ),
    Figure(
        name="quality_by_cost",
        title="quality against cost",
        subcategory="Evaluation",
        module="quality",
        inputs={"runs": "trainings", "metrics": "metrics", "evaluations": "by_step", "shortcuts": "shortcuts"},
        params=("prices",),
        options={"along": "cost"},
        when=lambda study: study.trainings,
    ),
    Figure(
        name="levels_figure",
        title="scores by level",
        subcategory="Evaluation",
        module="levels",
        inputs={"runs": "trainings", "evaluations": "evaluations", "shortcuts": "shortcuts"},
        when=lambda study: study.choice_datasets,
    ),
    Figure(
        name="scaling_figure",
        title="scaling law",
        subcategory="Evaluation",
        module="scaling",
        inputs={"runs": "trainings"},
        params=("models",),
        when=lambda study: study.study.scaling,
    ),
    Figure(
        name="forecasts_figure",
        title="forecasts and results",
        subcategory="Evaluation",
        module="forecasts",
        inputs={"runs": "trainings"},
        when=lambda study: study.has_forecasts,
    ),
    Figure(
        name="sweeps_figure",
        title="sweeps",
        subcategory="Evaluation",
        module="sweeps",
        inputs={"runs": "trainings"},
        when=lambda study: study.sweeps,
    ),
    Figure(
        name="parity_figure",
        title="parity with the reference",
        subcategory="Parallel settings",
        module="parity",
        inputs={"parity": "parity"},
        when=lambda study: study.probes,
    ),
    Figure(
        name="measure_figure",
        title="speed and memory",
        subcategory="Parallel settings",
        module="speed",
        inputs={"cells": "cells"},
        when=lambda study: study.cells,
    ),
    Figure(
        name="breakdown_figure",
        title="where time goes",
        subcategory="Parallel settings",
        module="step_time",
        inputs={"cells": "cells"},
        when=lambda study: study.cells,
    ),
    Figure(
        name="prediction_figure",
        title="predicted memory",
        subcategory="Parallel settings",
        module="predicted_memory",
        inputs={"cells": "cells"},
        when=lambda study: study.cells,
    ),
    Figure(
        name="memory_figure",
        title="memory by step",
        subcategory="Parallel settings",
        module="memory",
        inputs={"runs": "runs_and_probes", "cells": "cells"},
        when=lambda study: study.runs or study.cells,
    ),
]
"""In the order of the overview."""

TABLES = [
    Table(
        name="comparison_table",
        title="comparison of runs",
        subcategory="Overview",
        module="comparison",
        inputs={
            "runs": "trainings",
            "evaluations": "evaluations",
            "scored": "items",
            "parity": "parity",
            "contamination": "contamination",
            "peaks": "peaks",
        },
        params=("energy",),
    ),
    Table(
        name="trade_offs_table",
        title="trade-offs of recipes",
        subcategory="Evaluation",
        module="trade_offs",
        inputs={
            "runs": "trainings",
            "validations": "validations",
            "evaluations": "evaluations",
            "scored": "items",
        },
        more_numbers={"interactions": "interactions"},
        params=("energy",),
        when=lambda study: study.weighs_recipes,
    ),
    Table(
        name="differences_table",
        title="paired differences",
        subcategory="Evaluation",
        module="differences",
        inputs={
            "runs": "trainings",
            "validations": "validations",
            "evaluations": "evaluations",
            "scored": "items",
        },
        when=lambda study: study.has_shared_evaluations or study.has_shared_validation,
    ),
    Table(
        name="searches_table",
        title="searches over recipes",
        subcategory="Searches",
        module="searches",
        inputs={"runs": "trainings", "generations": "generations", "members": "members"},
        when=lambda study: study.searches,
    ),
    Table(
        name="levels_table",
        title="scores by level",
        subcategory="Evaluation",
        module="levels",
        inputs={
            "runs": "trainings",
            "evaluations": "evaluations",
            "scored": "items",
            "shortcuts": "shortcuts",
            "points": "points",
        },
        when=lambda study: study.choice_datasets,
    ),
    Table(
        name="quality_table",
        title="quality by step",
        subcategory="Evaluation",
        module="quality",
        inputs={"runs": "trainings", "metrics": "metrics", "evaluations": "by_step"},
        params=("prices",),
        when=lambda study: study.has_steps,
    ),
    Table(
        name="contamination_table",
        title="contamination",
        subcategory="Evaluation",
        module="contamination",
        inputs={
            "runs": "trainings",
            "evaluations": "evaluations",
            "scored": "items",
            "contamination": "contamination",
        },
        more_numbers={"scores": "scores", "affected": "items"},
        when=lambda study: study.contaminations,
    ),
    Table(
        name="scaling_table",
        title="scaling law",
        subcategory="Evaluation",
        module="scaling",
        inputs={"runs": "trainings", "validations": "validations"},
        params=("models",),
        when=lambda study: study.study.scaling,
    ),
    Table(
        name="forecasts_table",
        title="forecasts and results",
        subcategory="Evaluation",
        module="forecasts",
        inputs={"runs": "trainings"},
        when=lambda study: study.has_forecasts,
    ),
    Table(
        name="sweeps_table",
        title="sweeps",
        subcategory="Evaluation",
        module="sweeps",
        inputs={"runs": "trainings"},
        when=lambda study: study.sweeps,
    ),
    Table(
        name="parity_table",
        title="parity with the reference",
        subcategory="Parallel settings",
        module="parity",
        inputs={"parity": "parity"},
        when=lambda study: study.probes,
    ),
    Table(
        name="measure_table",
        title="speed and memory",
        subcategory="Parallel settings",
        module="speed",
        inputs={"cells": "cells"},
        when=lambda study: study.cells,
    ),
    Table(
        name="energy_table",
        title="energy",
        subcategory="Overview",
        module="energy",
        inputs={"runs": "trainings"},
        params=("energy", "prices"),
        when=lambda study: study.trainings,
    ),
    Table(
        name="data_table",
        title="data",
        subcategory="Inputs and sources",
        module="data",
        inputs={"statistics": "statistics", "duplicates": "duplicates"},
    ),
    Table(
        name="models_table",
        title="models",
        subcategory="Inputs and sources",
        module="models",
        inputs={},
        params=("models",),
    ),
    Table(
        name="environment_table",
        title="environment",
        subcategory="Inputs and sources",
        module="environment",
        inputs={"runs": "runs_and_probes"},
    ),
    Table(
        name="sources_table",
        title="where figures come from",
        subcategory="Inputs and sources",
        module="sources",
        inputs={
            "runs": "runs_and_probes",
            "evaluations": "evaluated",
            "parity": "parity",
            "cells": "cells",
            "shortcuts": "shortcuts",
            "statistics": "statistics",
            "contamination": "contamination",
            "duplicates": "duplicates",
        },
    ),
]
