"""One request to an OpenAI-compatible endpoint, through the library `openai`: one typed reply.

The library repeats what may be cured by repetition (408, 409, 429, 5xx, no connection, no reply in
time), waits 0.5 s and then twice as long each time up to 8 s, and follows `Retry-After` up to two
minutes. What is left after that is a `Reply` with its status. Only what would meet every other
request as well is raised: a key that is refused, a model that is not there, an exhausted quota.

The body of the reply is read by `replies`: the library itself checks nothing of what it returns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from mmreward_trainer.expansion.errors import EndpointError
from mmreward_trainer.expansion.replies import Reply, read_reply

OPENAI = "https://api.openai.com/v1"

_NOBODY_IS_SERVED = frozenset({401, 402, 404, 405})
"""Not 403: some gateways answer so to a single prompt that their filter does not like."""

_MAX_REASON_CHARACTERS = 300
_BASE64 = re.compile(r"[A-Za-z0-9+/]{200,}=*")


@dataclass(frozen=True)
class Patience:
    """How long a request may take, and how often it is repeated.

    `timeout_s` bounds connecting, sending and the wait for the reply, each, of every attempt.
    """

    timeout_s: float = 120.0
    retries: int = 5


class Endpoint:
    """A connection pool to the endpoint; `async with` closes it.

    Args:
        api_key: None sends no `Authorization` at all, as servers of one's own often want it.
    """

    def __init__(self, base_url: str, api_key: str | None, patience: Patience) -> None:
        import openai

        self._headers: dict[str, Any] = {} if api_key else {"Authorization": openai.Omit()}
        self._api_key = api_key
        self._errors = openai
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",
            timeout=patience.timeout_s,
            max_retries=patience.retries,
            # A redirect could lead prompts and pictures to a host that nobody named.
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def ask(self, body: dict[str, Any]) -> Reply:
        """The reply to one request body.

        Raises:
            EndpointError: no request of this run can be served.
        """
        try:
            raw = await self._client.chat.completions.with_raw_response.create(
                **_arguments(body), extra_headers=self._headers
            )
        except self._errors.APITimeoutError:
            return Reply("timeout", reason="no reply in time")
        except self._errors.APIConnectionError as error:
            return Reply("unavailable", reason=self._told(error.__cause__ or error))
        except self._errors.APIStatusError as error:
            return self._error_reply(error.status_code, error.code, self._told(error))
        return read_reply(raw.content, retries=raw.retries_taken)

    def _error_reply(self, status: int, code: str | None, reason: str) -> Reply:
        if status in _NOBODY_IS_SERVED or code == "insufficient_quota":
            raise EndpointError(f"HTTP {status}: {reason}")
        if 300 <= status < 400:
            raise EndpointError(f"HTTP {status}: the endpoint is elsewhere; give its own address")
        repeatable = status in (408, 409, 429) or status >= 500
        return Reply("unavailable" if repeatable else "rejected", reason=reason, http_status=status)

    def _told(self, error: BaseException) -> str:
        """The message without the key, without pictures, and not longer than a sentence or two."""
        said = str(error) or type(error).__name__
        if self._api_key:
            said = said.replace(self._api_key, "***")
        said = _BASE64.sub("<base64 left out>", said)
        return said[:_MAX_REASON_CHARACTERS]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.close()


def _arguments(body: dict[str, Any]) -> dict[str, Any]:
    """The body as the library wants it: fields of ours by name, any others in `extra_body`."""
    named = {name: body[name] for name in ("model", "messages")}
    rest = {name: value for name, value in body.items() if name not in named}
    return {**named, "extra_body": rest}
