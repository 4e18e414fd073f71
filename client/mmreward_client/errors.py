"""Everything this client raises.

    RewardError
    ├── InvalidInput          (also ValueError) refused here, before anything was sent
    ├── TransportError        no answer: connection refused, dropped, TLS, name resolution
    ├── ProtocolError         an answer that breaks the wire contract
    └── ApiError              the service answered with an error (status, code, request_id)
        ├── InvalidRequest    400, 422, any other 4xx: the same request is wrong again
        ├── Unauthorized      401, 403
        ├── UnknownModel      404
        ├── PinMismatch       409, or a reply from another fingerprint than the pinned one
        ├── TooLarge          413
        ├── Overloaded        429 (retry_after_s)
        ├── NotReady          503 (retry_after_s)
        ├── DeadlineExceeded  504, 408, or the call's own time is over (status None)
        └── ServerError       500, 502 and any other 5xx

An item that could not be scored is no exception: its `status` says so, and its numbers are None.
All of them survive pickling, so they can leave a worker process.
"""

from __future__ import annotations

from typing import Any


class RewardError(Exception):
    """Root of every error of this package."""


class InvalidInput(RewardError, ValueError):
    """An item or option that cannot be sent: no such file, unknown image format, no items."""


class TransportError(RewardError):
    """No usable answer arrived; the scores may or may not have been computed."""


class ProtocolError(RewardError):
    """The other side does not speak this contract; none of its numbers can be trusted."""


class ApiError(RewardError):
    """The service refused or failed the whole request.

    Attributes:
        status: HTTP status, None where the client gave up before an answer.
        code: exact machine-readable cause, such as `unknown_model`.
        request_id: what to look for in the service's log.
        param: the field at fault, where one is.
        retry_after_s: seconds that the service asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.param = param
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        facts = [
            f"HTTP {self.status}" if self.status is not None else "",
            self.code or "",
            f"request {self.request_id}" if self.request_id else "",
        ]
        listed = ", ".join(fact for fact in facts if fact)
        return f"{self.message} ({listed})" if listed else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception pickles its positional arguments only, which would lose every attribute.
        return _rebuild, (type(self), self.message, dict(vars(self)))


class InvalidRequest(ApiError): ...


class Unauthorized(ApiError): ...


class UnknownModel(ApiError): ...


class PinMismatch(ApiError): ...


class TooLarge(ApiError):
    @property
    def is_by_number(self) -> bool:
        """More items or critiques than the service has places for, however small they are."""
        return self.code in ("max_items", "max_in_flight")


class Overloaded(ApiError): ...


class NotReady(ApiError): ...


class DeadlineExceeded(ApiError): ...


class ServerError(ApiError): ...


_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: UnknownModel,
    408: DeadlineExceeded,
    409: PinMismatch,
    413: TooLarge,
    429: Overloaded,
    503: NotReady,
    504: DeadlineExceeded,
}

# The families of the service's error bodies: an error inside a stream has no status of its own.
_BY_TYPE: dict[str, type[ApiError]] = {
    "invalid_request": InvalidRequest,
    "authentication": Unauthorized,
    "not_found": UnknownModel,
    "pin_mismatch": PinMismatch,
    "limit_exceeded": TooLarge,
    "overloaded": Overloaded,
    "unavailable": NotReady,
    "deadline": DeadlineExceeded,
}


def error_class(status: int, *, code: str | None = None) -> type[ApiError]:
    """The class of an HTTP error status; `not_found` is a route, not a model."""
    if status in _BY_STATUS and code != "not_found":
        return _BY_STATUS[status]
    return ServerError if status >= 500 else InvalidRequest


def error_class_of_type(family: str) -> type[ApiError]:
    """The class of an error that came without an HTTP status."""
    return _BY_TYPE.get(family, ServerError)


def _rebuild(kind: type[ApiError], message: str, attributes: dict[str, Any]) -> ApiError:
    error = kind(message)
    vars(error).update(attributes)
    return error
