"""Types of the fields of request bodies."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from revalue.engine.correct.authors import MAX_CHARACTERS
from revalue.engine.correct.inputs.parsing import MAX_ID_CHARACTERS

PortfolioId = Annotated[
    str, Field(min_length=1, max_length=MAX_ID_CHARACTERS, description="Portfolio id.")
]
SecurityId = Annotated[
    str, Field(min_length=1, max_length=MAX_ID_CHARACTERS, description="Security id.")
]
Currency = Annotated[
    str,
    Field(
        pattern="^[A-Z][A-Z][A-Za-z]$",
        description="Currency code of ISO 4217, or one that was added.",
    ),
]
DecimalText = Annotated[
    str,
    Field(
        pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$",
        description="Decimal number as text, at most 18 digits before and after the point.",
    ),
]
Why = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_CHARACTERS,
        description="The reason in words. It is shown to whoever may see what was changed.",
    ),
]


class Body(BaseModel):
    """The body of a request, or a part of it: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")
