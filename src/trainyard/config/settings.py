"""What a device costs an hour."""

from typing import Annotated

from pydantic import Field

from trainyard.config.values import Entry

Price = Annotated[float, Field(gt=0, le=1e9)]


class Prices(Entry):
    """What one process's device costs an hour: a choice of the machine, which changes no result."""

    currency: str = Field(min_length=1, max_length=16, description="as the report writes it: EUR, USD")
    cpu: Price | None = Field(None, description="an hour of the cores of one process")
    cuda: Price | None = Field(None, description="an hour of one GPU")

    def hour(self, device: str) -> float | None:
        """The price of an hour of a device, `cpu` or `cuda`; None where none is given."""
        return {"cpu": self.cpu, "cuda": self.cuda}[device]
