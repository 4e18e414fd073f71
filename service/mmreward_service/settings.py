"""Settings of one service process, and the only place that reads the environment.

Precedence: command line, then `MMREWARD_*` variables, then the TOML file named by `--config` or
`MMREWARD_CONFIG`, then the defaults below. Afterwards the object is frozen and handed down as plain
arguments.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from mmreward_client.schema import describe
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

PREFIX = "MMREWARD_"
_KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WORKERS = "WEB_CONCURRENCY"
"""How many processes uvicorn and its like would start."""
CONFIG_VARIABLE = PREFIX + "CONFIG"

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SettingsRefused(ValueError):
    """Settings that cannot be served with; the message names them."""


class Settings(BaseSettings):
    """Every knob of the service. A field `max_items` is the variable `MMREWARD_MAX_ITEMS`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True
    )

    # What is served
    checkpoint: Path | None = None
    served_name: str | None = None
    engine: Literal["vllm", "fake"] = "vllm"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_model_len: PositiveInt | None = None
    kv_cache_gib: PositiveFloat | None = None
    max_num_seqs: PositiveInt | None = None
    engine_args: dict[str, Any] = {}
    parity_tolerance: PositiveFloat | None = None
    # A stock model as a judge: "default", or a JSON file with its prompt templates.
    stock_judge: Literal["default"] | Path | None = None

    # Where, and to whom
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    # What the metrics call the keys, in their order; their positions where there are none.
    api_key_names: Annotated[tuple[str, ...], NoDecode] = ()
    allow_no_keys: bool = False

    # How much
    max_items: PositiveInt = 256
    max_critiques: PositiveInt = 16
    max_in_flight: PositiveInt = 1024
    max_body_bytes: PositiveInt = 64 * 2**20
    max_image_bytes: PositiveInt = 16 * 2**20
    max_image_pixels: PositiveInt = 25_000_000
    max_images_per_item: PositiveInt = 8
    max_frames_per_item: PositiveInt = 64
    max_pixels_in_flight: PositiveInt = 1_000_000_000
    max_critique_tokens: PositiveInt = 2048
    decode_threads: PositiveInt = 2

    # How long
    default_deadline_s: PositiveFloat = 300.0
    max_deadline_s: PositiveFloat = 3600.0
    retry_after_s: PositiveInt = 2
    drain_s: PositiveInt = 30
    # Without an answer or a token of the engine for so long, although it has questions: /ready is
    # 503.
    stall_after_s: PositiveFloat = 120.0

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys_from_a_comma_list(cls, value: object) -> object:
        return _from_a_comma_list(value)

    @field_validator("api_key_names", mode="before")
    @classmethod
    def _names_from_a_comma_list(cls, value: object) -> object:
        return _from_a_comma_list(value)

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        if self.stock_judge is not None and self.engine != "vllm":
            raise ValueError("stock_judge needs the engine vllm")
        if self.engine == "vllm" and self.checkpoint is None:
            raise ValueError("checkpoint is required: a folder with a model")
        if any(not key.get_secret_value() for key in self.api_keys):
            raise ValueError("api_keys must not hold an empty key")
        _check_key_names(self.api_key_names, len(self.api_keys))
        if not (self.api_keys or self.allow_no_keys or is_loopback(self.host)):
            raise ValueError(
                f"host {self.host} is reachable by others and no api_keys are set: "
                "set MMREWARD_API_KEYS, or allow_no_keys if something in front checks them"
            )
        if self.default_deadline_s > self.max_deadline_s:
            raise ValueError("default_deadline_s is larger than max_deadline_s")
        return self

    @property
    def key_names(self) -> tuple[str, ...]:
        """The public name of each key: never the key, nor anything computed from it."""
        return self.api_key_names or tuple(str(1 + i) for i in range(len(self.api_keys)))


def _from_a_comma_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(one.strip() for one in value.split(",") if one.strip())
    return value


def _check_key_names(names: tuple[str, ...], keys: int) -> None:
    """They become labels of metrics that anybody may read."""
    if not names:
        return
    if len(names) != keys:
        raise ValueError(f"api_key_names has {len(names)} entries, api_keys has {keys}")
    if len(set(names)) < len(names) or "none" in names:
        raise ValueError("api_key_names must differ from each other and from `none`")
    if not all(_KEY_NAME.fullmatch(name) for name in names):
        raise ValueError("api_key_names are 1 to 64 characters of A-Z a-z 0-9 . _ -")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Settings from all sources; `overrides` are the options of the command line.

    Raises:
        SettingsRefused: with one line that says which setting is wrong. Values are left out of it:
            one of them may be a key.
    """
    if os.environ.get(_WORKERS, "1").strip() not in ("", "1"):
        raise SettingsRefused(
            f"{_WORKERS} is {os.environ[_WORKERS]}: one process holds the engine and counts its "
            "requests; for more, start more services"
        )
    if config is None and (named := os.environ.get(CONFIG_VARIABLE)):
        config = Path(named)
    if config is not None and not config.is_file():
        raise SettingsRefused(f"{config} does not exist")

    class FromAllSources(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            if config is None:
                return init_settings, env_settings
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config)

    try:
        return FromAllSources(**overrides)
    except ValidationError as error:
        raise SettingsRefused(describe(error)) from error
    except (SettingsError, ValueError) as error:
        # A variable that is not the JSON it has to be, or a file that is not TOML.
        raise SettingsRefused(str(error)) from error
