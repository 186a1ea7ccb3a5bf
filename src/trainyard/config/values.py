"""What a value in a YAML file may be: bounded numbers, names, lists without repetition, and the base of every entry."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

T = TypeVar("T")


def _check_distinct(values: Sequence[Any]) -> Sequence[Any]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{value!r} appears twice; remove one of them")
    return values


Distinct = Annotated[list[T], AfterValidator(_check_distinct), Field(json_schema_extra={"uniqueItems": True})]
"""A list in which nothing appears twice."""

# Bounds are what torch, NumPy and the operating system take; what is smaller, but too large for a machine, is predicted
PositiveInt = Annotated[int, Field(gt=0, lt=2**63)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**63)]
Dimension = Annotated[int, Field(gt=0, le=2**24)]
"""Of a model or a batch: the bytes of a product of three are still a number of 64 bits, which torch can refuse."""
Rows = Annotated[int, Field(gt=0, le=2**31)]
Threads = Annotated[int, Field(gt=0, le=1024)]
Processes = Annotated[int, Field(gt=0, le=2**16)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""Of a generator: what every library takes, and multiplied by a large prime still a number of 64 bits."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
SHA256 = r"^[0-9a-f]{64}$"
REPOSITORY = r"^\w[\w.-]*/\w[\w.-]*$"
PACKAGE = r"^[\w.-]+==[\w.]+$"
FORMS = {
    NAME: "letters, digits, dots, - and _, a letter or digit first",
    SHA256: "the 64 digits, 0 to 9 and a to f, that sha256sum prints",
    REPOSITORY: "OWNER/NAME, as the hub has it",
    PACKAGE: "PACKAGE==VERSION",
}
"""What a text of each pattern looks like, in words."""
Name = Annotated[str, Field(pattern=NAME, max_length=80)]
"""What something is called: it becomes part of file names."""
Sha256 = Annotated[str, Field(pattern=SHA256)]


def _parts(annotation: Any) -> Iterator[Any]:
    """A type, and all that is in its brackets."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


class Entry(BaseModel):
    """The base of everything that is read from a YAML file: unknown keys, infinity and NaN are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans(cls, values: Any) -> Any:
        """Python counts true as 1: `steps: yes` would train one step."""
        for name, value in values.items() if isinstance(values, dict) else ():
            kinds = set(_parts(cls.model_fields[name].annotation)) if name in cls.model_fields else set()
            given = value if isinstance(value, list) else [value]
            if kinds & {int, float} and bool not in kinds and any(isinstance(each, bool) for each in given):
                raise ValueError(f"{name}: should be a number; yes, no, on and off are true and false to YAML")
        return values
