"""A service on the deterministic engine, the environment that names it, and stand-ins.

An adapter inherits from a class of its trainer. Where that package can be imported the tests run on
it; elsewhere on a stand-in with the attributes that the package documents.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from mmreward_client.adapters import rewarding
from mmreward_service.engine.fake import FakeEngine
from service_kit.threaded import running


@pytest.fixture(scope="session")
def service_url() -> Iterator[str]:
    with running(FakeEngine()) as url:
        yield url


@pytest.fixture
def settings(service_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets variables; without a call they name the service alone."""

    def set_variables(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"MMREWARD_{name.upper()}", str(value))

    set_variables(url=service_url, timeout_s=60)
    rewarding.rewarder.cache_clear()
    rewarding.blocking_rewarder.cache_clear()
    yield set_variables
    if rewarding.blocking_rewarder.cache_info().currsize:
        rewarding.blocking_rewarder().close()
    rewarding.rewarder.cache_clear()
    rewarding.blocking_rewarder.cache_clear()


@pytest.fixture
def adapter(
    settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., object]:
    """Imports an adapter, with stand-ins for what it inherits from."""

    def load(name: str, module: str, **attributes: object) -> object:
        try:
            with warnings.catch_warnings(action="ignore"):
                importlib.import_module(module)
        except ImportError:
            parts = module.split(".")
            for end in range(1, len(parts) + 1):
                part = ".".join(parts[:end])
                monkeypatch.setitem(sys.modules, part, ModuleType(part))
            for attribute, value in attributes.items():
                setattr(sys.modules[module], attribute, value)
        found = f"mmreward_client.adapters.{name}"
        monkeypatch.delitem(sys.modules, found, raising=False)
        return importlib.import_module(found)

    return load
