"""What decides about the text of a reply, resolved once, and the hash that a reply is filed under.

The bound of the reply's length is no part of the hash: a reply that ended by itself is the same
under any larger bound, so that raising it asks again for nothing but the replies that were cut.
The key of the endpoint is no part of anything here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from mmreward_client.errors import InvalidInput

from mmreward_trainer.expansion.template import Template

LengthField = Literal["max_completion_tokens", "max_tokens"]
_OWN_FIELDS = frozenset(
    {"model", "messages", "temperature", "seed", "stream", "n", *get_args(LengthField)}
)


@dataclass(frozen=True)
class Settings:
    """Who is asked, and how.

    Attributes:
        base_url: address of an OpenAI-compatible API, up to and with its version.
        with_pictures: send the pictures of a pair (of a video its sampled frames, in order).
        max_completion_tokens: bound of a reply; with reasoning models it covers their reasoning.
        length_field: the name under which the endpoint takes this bound.
        temperature, seed: None leaves them to the endpoint.
        extra_body: further fields of the request's body.

    Raises:
        InvalidInput: an address that is none or carries a password, an empty model, a bound below
            1, or an `extra_body` that would replace a field of ours.
    """

    model: str
    base_url: str
    template: Template
    with_pictures: bool = False
    max_completion_tokens: int = 1024
    length_field: LengthField = "max_completion_tokens"
    temperature: float | None = None
    seed: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise InvalidInput(f"{self.base_url!r} is no http or https address")
        if address.username is not None or address.password is not None or address.query:
            raise InvalidInput(
                "the address of the endpoint must not carry a user, password or query"
            )
        if not self.model.strip():
            raise InvalidInput("the endpoint needs the name of a model")
        if self.max_completion_tokens < 1:
            raise InvalidInput("a reply must be allowed at least one token")
        if self.length_field not in get_args(LengthField):
            raise InvalidInput(f"length_field is one of {', '.join(get_args(LengthField))}")
        taken = sorted(_OWN_FIELDS & set(self.extra_body))
        if taken:
            raise InvalidInput(f"extra_body must not set {', '.join(taken)}: that has its option")

    def body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The JSON body of a request."""
        return {
            "model": self.model,
            "messages": messages,
            self.length_field: self.max_completion_tokens,
            **self._sampling(),
            **self.extra_body,
        }

    def resolved(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "model": self.model,
            "base_url": self.base_url,
            "template": self.template.text,
            "with_pictures": self.with_pictures,
            "max_completion_tokens": self.max_completion_tokens,
            "length_field": self.length_field,
            "temperature": self.temperature,
            "seed": self.seed,
            "extra_body": dict(self.extra_body),
            "settings_sha256": self.sha256,
        }

    @cached_property
    def sha256(self) -> str:
        """Over endpoint, model, template and sampling. Pictures are in the key of each request."""
        decisive = {
            "base_url": self.base_url.rstrip("/"),
            "model": self.model,
            "template": self.template.text,
            "sampling": self._sampling(),
            "extra_body": dict(self.extra_body),
        }
        canonical = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def _sampling(self) -> dict[str, Any]:
        given = {"temperature": self.temperature, "seed": self.seed}
        return {name: value for name, value in given.items() if value is not None}
