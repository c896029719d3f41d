"""What the sections of `params.yaml` are made of: the base of all, and the kinds of numbers in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, lt=10)]
Weight = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """Base of all sections: no unknown keys, no silent conversion, no change after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
