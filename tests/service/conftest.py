"""The running service that most tests talk to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import settings
from mmreward_service.engine.fake import FakeEngine
from service_kit import picture_uri, serving

# Examples of this folder run a service; a busy machine must not fail them by the clock.
settings.register_profile(
    "service", settings.get_profile("patient"), max_examples=40, derandomize=True
)
settings.load_profile("service")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def client(engine: FakeEngine) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(engine) as client:
        yield client


@pytest.fixture
def item() -> dict[str, Any]:
    """An item that is scored without trouble."""
    return {"images": [picture_uri()], "prompt": "What is it?", "response": "A ramp."}


@pytest.fixture
def pair() -> dict[str, Any]:
    return {
        "images": [picture_uri()],
        "prompt": "What is it?",
        "chosen": "A ramp.",
        "rejected": "A cat.",
    }
