"""A short list of names for what went wrong: an error's message has no place in a label."""

from __future__ import annotations

from typing import Literal, get_args

from mmreward_client.errors import (
    DeadlineExceeded,
    InvalidInput,
    InvalidRequest,
    NotReady,
    Overloaded,
    PinMismatch,
    ProtocolError,
    RewardError,
    ServerError,
    TooLarge,
    TransportError,
    Unauthorized,
    UnknownModel,
)

Cause = Literal[
    "transport",
    "overloaded",
    "not_ready",
    "server_error",
    "deadline",
    "protocol",
    "pin_mismatch",
    "unauthorized",
    "unknown_model",
    "too_large",
    "invalid_request",
    "invalid_input",
    "other",
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

_CAUSE_OF: dict[type[RewardError], Cause] = {
    TransportError: "transport",
    Overloaded: "overloaded",
    NotReady: "not_ready",
    ServerError: "server_error",
    DeadlineExceeded: "deadline",
    ProtocolError: "protocol",
    PinMismatch: "pin_mismatch",
    Unauthorized: "unauthorized",
    UnknownModel: "unknown_model",
    TooLarge: "too_large",
    InvalidRequest: "invalid_request",
    InvalidInput: "invalid_input",
}


def cause_of(error: RewardError) -> Cause:
    """The name of an error's class; of a class that is not known, of the nearest that is."""
    known = (_CAUSE_OF.get(kind) for kind in type(error).__mro__)
    return next((cause for cause in known if cause is not None), "other")
