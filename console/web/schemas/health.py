"""The model of a healthy service."""

from typing import Literal

from pydantic import Field

from revalue.console.web.schemas.fields import Model


class Health(Model):
    """Service is healthy."""

    status: Literal["ok"] = Field(description="Always ok: a service that is not healthy is 503.")
