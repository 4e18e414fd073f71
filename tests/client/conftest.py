"""The scripted server and the clients of these tests; warnings are errors here."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_kit import ScriptedServer, clients
from mmreward_client.testing import LocalService


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings are errors in this folder: an unclosed socket must not pass."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("error"))


@pytest.fixture(scope="module", autouse=True)
def nothing_of_others() -> None:
    """Sockets that tests of other folders left in this process are not the fault of these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def make_server() -> Iterator[Callable[[], ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def make() -> ScriptedServer:
        servers.append(ScriptedServer())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(make_server: Callable[[], ScriptedServer]) -> ScriptedServer:
    return make_server()


@pytest.fixture
def local() -> Iterator[LocalService]:
    """The service for the tests of others."""
    with LocalService() as service:
        yield service


@pytest.fixture(params=["blocking", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Every test over the network holds for both clients."""
    with clients(request.param) as make:
        yield make
