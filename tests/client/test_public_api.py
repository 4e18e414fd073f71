"""What other people's code may rely on, and what importing it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import mmreward_client
import pytest

PUBLIC = {
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
    "ResultStream",
    "ReplicaDown",
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
}


def test_public_names_are_frozen():
    """A name leaves or joins this list on purpose only."""
    assert set(mmreward_client.__all__) == PUBLIC
    assert len(mmreward_client.__all__) == len(PUBLIC)
    assert all(hasattr(mmreward_client, name) for name in PUBLIC)


def test_both_clients_offer_the_same():
    """Whatever one client can do, the other can, with the same parameters."""

    def methods(kind):
        members = inspect.getmembers(kind, inspect.isfunction)
        return {
            name.removeprefix("a") if name == "aclose" else name: list(
                inspect.signature(member).parameters
            )
            for name, member in members
            if not name.startswith("_")
        }

    assert methods(mmreward_client.RewardClient) == methods(mmreward_client.AsyncRewardClient)


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        (
            "import mmreward_client",
            {"torch", "numpy", "PIL", "fastapi", "vllm", "transformers", "typer", "rich"},
        ),
        (
            "from mmreward_client.cli.app import app",
            {"torch", "numpy", "PIL", "fastapi", "vllm", "transformers", "pandas", "matplotlib"},
        ),
    ],
)
def test_imports_stay_light(code, banned):
    """Neither the library nor the command line loads anything heavy before it is needed."""
    code += f"; import sys; print(sorted(set({sorted(banned)}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == "[]"
