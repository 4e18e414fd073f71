"""What an adapter is told, from environment variables with the prefix `MMREWARD_`.

Here and in `cli/options.py` alone the client package reads the environment: a trainer that is given
the path of an adapter has no other way to tell it anything. A variable that cannot be used is named
in the error; its value is not, since one of them is a key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from mmreward_client.config import DEFAULT_MAX_CONNECTIONS, DEFAULT_TIMEOUT_S, DEFAULT_URL
from mmreward_client.errors import InvalidInput
from mmreward_client.exchange import Options
from mmreward_client.pinning import FIRST
from mmreward_client.schema import Aggregate, Kind, Orders

PREFIX = "MMREWARD_"


class AdapterSettings(BaseModel):
    """The settings of all adapters; each field is the variable of its name in capitals.

    Attributes:
        url: addresses of the replicas, separated by commas.
        pin: the fingerprint insisted on; `first`: that of the first reply, in each process for
            itself; `none`: any.
        silence_timeout_s: how long one of several replicas may say nothing, see `ClientConfig`.
        process_group_timeout_s: of the trainer's process group: `timeout_s` has to be smaller.
        kind: `critique` scores each response by itself, `judge` compares those of a group.
        mode: of a critique model: `generate` writes the critique, `none` scores without one.
        critiques: sampled for each response, or each comparison.
        accept_partial: whether a group is good in which comparisons failed, if each of its
            responses has a score.
        on_failure: `stop` raises; `exclude_group` takes the whole group out, where the trainer has
            a way to do that.
        group_size: responses to a prompt, where the trainer does not tell it.
        gather_timeout_s: how long the first response of a group waits for the last one.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    url: tuple[str, ...] = (DEFAULT_URL,)
    api_key: SecretStr | None = None
    timeout_s: PositiveFloat = DEFAULT_TIMEOUT_S
    silence_timeout_s: PositiveFloat | None = None
    process_group_timeout_s: PositiveFloat | None = None
    max_connections: PositiveInt = DEFAULT_MAX_CONNECTIONS
    pin: str | None = FIRST
    kind: Kind = "critique"
    mode: Literal["generate", "none"] = "generate"
    critiques: PositiveInt = 1
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    orders: Orders = "both"
    comparisons: Literal["all"] | PositiveInt = "all"
    aggregate: Aggregate = "mean"
    accept_partial: bool = False
    on_failure: Literal["stop", "exclude_group"] = "stop"
    group_size: Annotated[int, Field(ge=2)] | None = None
    gather_timeout_s: PositiveFloat = 1800.0

    @field_validator("url", mode="before")
    @classmethod
    def _addresses(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("pin")
    @classmethod
    def _no_pin(cls, value: str | None) -> str | None:
        return None if value == "none" else value

    @model_validator(mode="after")
    def _fit_together(self) -> AdapterSettings:
        if self.kind == "judge" and self.mode != "generate":
            raise ValueError("MODE: a judge has the mode generate only")
        if self.critiques > 1 and self.temperature == 0:
            raise ValueError("TEMPERATURE: several critiques at 0 would be the same one again")
        return self

    @property
    def needs_groups(self) -> bool:
        """Whether the responses to a prompt have to be seen together."""
        return self.kind == "judge" or self.on_failure == "exclude_group"

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments of the clients."""
        return {
            "urls": list(self.url),
            "api_key": None if self.api_key is None else self.api_key.get_secret_value(),
            "timeout_s": self.timeout_s,
            "silence_timeout_s": self.silence_timeout_s,
            "process_group_timeout_s": self.process_group_timeout_s,
            "max_connections": self.max_connections,
            "pin": self.pin,
        }

    def sampling(self) -> Options:
        """Options of every call."""
        options: Options = {"critiques": self.critiques}
        if self.temperature is not None:
            options["temperature"] = self.temperature
        if self.seed is not None:
            options["seed"] = self.seed
        return options


def read_settings(environment: Mapping[str, str] | None = None) -> AdapterSettings:
    """The settings from the environment; an empty variable counts as not set.

    Raises:
        InvalidInput: with the name of each variable that cannot be used.
    """
    variables = os.environ if environment is None else environment
    given = {
        name: variables[PREFIX + name.upper()]
        for name in AdapterSettings.model_fields
        if variables.get(PREFIX + name.upper())
    }
    try:
        return AdapterSettings.model_validate(given)
    except ValidationError as error:
        said = "; ".join(_told(one) for one in error.errors(include_input=False))
        raise InvalidInput(said) from None


def _told(error: Any) -> str:
    name = str(error["loc"][0]).upper() if error["loc"] else ""
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{PREFIX}{name}: {message}" if name else f"{PREFIX}{message}"
