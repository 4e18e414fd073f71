"""The pages on other trainers: Python runs, options exist, the table of settings is complete."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from mmreward_client.adapters import rewarding
from mmreward_client.adapters.adapter_settings import PREFIX, AdapterSettings
from mmreward_client.testing import LocalService
from service_kit import picture

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    name: (DOCS / f"{name}.md").read_text(encoding="utf-8")
    for name in ("adapters", "verl", "ms-swift", "openrlhf")
}


class Base:
    """What the adapters inherit from where the trainer is not installed."""


STAND_INS = {
    "swift.rewards": {"AsyncORM": Base, "orms": {}},
    "openrlhf.utils.agent": {"SingleTurnAgentExecutor": Base},
}


@pytest.fixture
def stand_ins(monkeypatch):
    """Their packages may be missing here: the pages' one-liners import adapters all the same."""
    for module, attributes in STAND_INS.items():
        parts = module.split(".")
        if importlib.util.find_spec(parts[0]) is not None:
            continue
        for end in range(1, len(parts) + 1):
            part = ".".join(parts[:end])
            monkeypatch.setitem(sys.modules, part, ModuleType(part))
        for name, value in attributes.items():
            setattr(sys.modules[module], name, value)
    yield
    for adapter in ("swift_orm", "openrlhf_agent"):
        sys.modules.pop(f"mmreward_client.adapters.{adapter}", None)


@pytest.mark.filterwarnings("ignore:unclosed")
@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page, tmp_path, monkeypatch, stand_ins):
    """All Python blocks of a page in one piece, with a service and the picture they name."""
    picture().save(tmp_path / "cat.png")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)
    assert blocks
    rewarding.rewarder.cache_clear()
    rewarding.blocking_rewarder.cache_clear()
    with LocalService() as service:
        monkeypatch.setenv("MMREWARD_URL", service.url)
        code = "\n".join(blocks).replace("http://127.0.0.1:8000", service.url)
        exec(compile(code, f"docs/{page}.md", "exec"), {})
        if rewarding.blocking_rewarder.cache_info().currsize:
            rewarding.blocking_rewarder().close()
    rewarding.rewarder.cache_clear()
    rewarding.blocking_rewarder.cache_clear()


def test_every_setting_is_explained():
    """The table has each variable once, and no other; the pages name none that does not exist."""
    known = {PREFIX + name.upper() for name in AdapterSettings.model_fields}
    table = re.findall(r"^\| `(MMREWARD_\w+)` \|", PAGES["adapters"], re.MULTILINE)
    assert sorted(table) == sorted(known)
    for page in PAGES.values():
        assert set(re.findall(r"MMREWARD_\w+", page)) <= known


@pytest.mark.parametrize(
    ("page", "package", "file"),
    [
        ("verl", "verl", "trainer/config/_generated_ppo_trainer.yaml"),
        ("ms-swift", "swift", "arguments/rlhf_args.py"),
        ("openrlhf", "openrlhf", "cli/train_ppo_ray.py"),
    ],
)
def test_options_exist(page, package, file):
    """Each option of a command is one of the trainer's own, where its package is installed."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    folder = Path(next(iter(found.submodule_search_locations)))
    commands = "".join(re.findall(r"^```console\n(.*?)^```", PAGES[page], re.M | re.S))
    if package == "verl":
        import yaml

        known = yaml.safe_load((folder / file).read_text())
        for option in re.findall(r"^\s+((?!\+)[a-z_.]+)=", commands, re.MULTILINE):
            section = known
            for part in option.split("."):
                assert part in section, option
                section = section[part]
    elif package == "swift":
        sources = "".join(one.read_text() for one in (folder / "arguments").rglob("*.py"))
        sources += "".join(one.read_text() for one in (folder / "rlhf_trainers").glob("*.py"))
        own = {"rlhf_type", "external_plugins", "reward_funcs", "num_generations", "dataset"}
        for option in own & set(re.findall(r"--([a-z_]+)", commands)):
            assert re.search(rf"\b{option}\b\s*:", sources), option
    else:
        source = (folder / file).read_text()
        for option in re.findall(r"(--[a-z_]+\.[a-z_]+)", commands):
            assert f'"{option}"' in source, option
