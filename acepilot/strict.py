"""The base of models that refuse unknown fields."""

from typing import cast

from pydantic import BaseModel, ConfigDict, model_validator

MAX_FIELDS = 100
"""Fields of one object; ours have a dozen. Each unknown one is an error of its own, which takes time."""


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: object) -> object:
        if isinstance(value, dict) and len(cast(dict[object, object], value)) > MAX_FIELDS:
            raise ValueError(f"an object has more than {MAX_FIELDS} fields: send only the documented ones")
        return cast(object, value)
