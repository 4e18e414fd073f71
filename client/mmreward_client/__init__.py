"""Client of the mmreward scoring service: critiques, scores, margins and MM-DPO's beta over HTTP.

Light on purpose (httpx2 and pydantic): it sits inside other people's training jobs.
"""

from __future__ import annotations

from mmreward_client.aio import AsyncRewardClient
from mmreward_client.beta import dynamic_beta
from mmreward_client.config import ClientConfig
from mmreward_client.errors import (
    ApiError,
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
from mmreward_client.events import (
    AttemptBegun,
    CallAbandoned,
    CallDone,
    CallFailed,
    Event,
    ReplicaDown,
    RetryPlanned,
)
from mmreward_client.inputs import GroupInput, PairInput, ScoreInput
from mmreward_client.readiness import Readiness
from mmreward_client.retry import RetryPolicy
from mmreward_client.schema import (
    API_VERSION,
    Beta,
    Comparison,
    Critique,
    GroupResult,
    GroupsReply,
    ModelCard,
    ModelList,
    PairResult,
    PairsReply,
    Provenance,
    Scored,
    ScoreReply,
    ScoreResult,
    Status,
    Video,
)
from mmreward_client.stream import AsyncResultStream, ResultStream
from mmreward_client.sync import RewardClient

__all__ = [
    "API_VERSION",
    "ApiError",
    "AsyncResultStream",
    "AsyncRewardClient",
    "AttemptBegun",
    "Beta",
    "CallAbandoned",
    "CallDone",
    "CallFailed",
    "ClientConfig",
    "Comparison",
    "Critique",
    "DeadlineExceeded",
    "Event",
    "GroupInput",
    "GroupResult",
    "GroupsReply",
    "InvalidInput",
    "InvalidRequest",
    "ModelCard",
    "ModelList",
    "NotReady",
    "Overloaded",
    "PairInput",
    "PairResult",
    "PairsReply",
    "PinMismatch",
    "ProtocolError",
    "Provenance",
    "Readiness",
    "ReplicaDown",
    "ResultStream",
    "RetryPlanned",
    "RetryPolicy",
    "RewardClient",
    "RewardError",
    "ScoreInput",
    "ScoreReply",
    "ScoreResult",
    "Scored",
    "ServerError",
    "Status",
    "TooLarge",
    "TransportError",
    "Unauthorized",
    "UnknownModel",
    "Video",
    "dynamic_beta",
]
