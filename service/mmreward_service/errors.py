"""Everything the service can say no with, and the one place where an unknown exception is caught.

Refusals of a request become an HTTP error; failures of an item become its status, and the other
items are served:

    RefusedError                 status  code                 type                retryable
    ├── MalformedJson            400     malformed_json       invalid_request     no
    ├── Unauthorized             401     unauthorized         authentication      no
    ├── NotFound                 404     not_found            not_found           no
    │   └── UnknownModel         404     unknown_model        not_found           no
    ├── WrongMethod              405     method_not_allowed   invalid_request     no
    ├── PinMismatch              409     pin_mismatch         pin_mismatch        no
    ├── TooLarge                 413     name of the limit    limit_exceeded      no
    ├── InvalidRequest           422     invalid_request      invalid_request     no
    │   └── NotScored            422     not_scored           not_scored          no
    ├── Overloaded               429     overloaded           overloaded          yes, Retry-After
    ├── InternalError            500     internal             internal            no
    ├── NotReady                 503     not_ready            unavailable         yes, Retry-After
    │   ├── EngineStopped        503     engine_stopped       unavailable         yes, Retry-After
    │   └── EngineStalled        503     engine_stalled       unavailable         yes, Retry-After
    └── DeadlineExceeded         504     deadline             deadline            yes

    ItemError                    item status
    ├── InvalidItem              invalid
    ├── ImageUnusable            image_error
    ├── PastDeadline             deadline
    └── ItemFailed               internal
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from mmreward_client.schema import ErrorDetail, ErrorReply, Status


class RefusedError(Exception):
    """A request that is not served at all."""

    status: ClassVar[int]
    default_code: ClassVar[str]
    type: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}

    def reply(self, request_id: str | None) -> ErrorReply:
        detail = ErrorDetail(message=self.message, type=self.type, param=self.param, code=self.code)
        return ErrorReply(error=detail, request_id=request_id)


class MalformedJson(RefusedError):
    status, default_code, type = 400, "malformed_json", "invalid_request"


class Unauthorized(RefusedError):
    status, default_code, type = 401, "unauthorized", "authentication"

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class NotFound(RefusedError):
    status, default_code, type = 404, "not_found", "not_found"


class UnknownModel(NotFound):
    default_code = "unknown_model"


class WrongMethod(RefusedError):
    status, default_code, type = 405, "method_not_allowed", "invalid_request"


class PinMismatch(RefusedError):
    status, default_code, type = 409, "pin_mismatch", "pin_mismatch"


class TooLarge(RefusedError):
    status, default_code, type = 413, "too_large", "limit_exceeded"


class InvalidRequest(RefusedError):
    status, default_code, type = 422, "invalid_request", "invalid_request"


class NotScored(InvalidRequest):
    """A reply that has no place for a failed item, and an item that failed."""

    default_code, type = "not_scored", "not_scored"


class Overloaded(RefusedError):
    status, default_code, type, retryable = 429, "overloaded", "overloaded", True


class InternalError(RefusedError):
    status, default_code, type = 500, "internal", "internal"

    @classmethod
    def of(cls, error: Exception) -> InternalError:
        """What a caller is told of a fault: its type. The message may quote someone's prompt."""
        return cls(f"{type(error).__name__}, see the log of this request")


class NotReady(RefusedError):
    status, default_code, type, retryable = 503, "not_ready", "unavailable", True


class EngineStopped(NotReady):
    default_code = "engine_stopped"


class EngineStalled(NotReady):
    """The engine lives and has questions, and has done nothing for too long."""

    default_code = "engine_stalled"


class DeadlineExceeded(RefusedError):
    status, default_code, type, retryable = 504, "deadline", "deadline", True


class ItemError(Exception):
    """One item that cannot be scored; its message goes into the item's `error`."""

    status: ClassVar[Status]


class InvalidItem(ItemError):
    status = "invalid"


class ImageUnusable(ItemError):
    status = "image_error"


class PastDeadline(ItemError):
    status = "deadline"


class ItemFailed(ItemError):
    status = "internal"


class CallerHungUp(Exception):
    """Nobody waits for the reply any more. Not an answer: there is no one to give it to."""


@contextmanager
def boundary(
    translate: Callable[[Exception], Exception], *known: type[Exception]
) -> Iterator[None]:
    """Turn whatever a foreign library raises into an error of this tree.

    The only `except Exception` of the package. Errors that have a meaning already, and `known`
    ones, pass through.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (RefusedError, ItemError, CallerHungUp, *known)):
            raise
        raise translate(error) from error


def place(error: BaseException) -> str:
    """File and line where an exception was raised: what may be logged of it without its message."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "unknown" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
