"""The examples of docs/client.md run as they stand, in order, against the service."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from mmreward_client import errors
from mmreward_client.cli.app import app
from service_kit import listening, picture
from typer.testing import CliRunner

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the examples name."""
    picture((60, 60)).save(tmp_path / "cat.png")
    pair = {"images": "cat.png", "prompt": "q", "chosen": "a", "rejected": "b"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_python_examples(folder):
    """All Python blocks, one after the other, in one namespace."""
    import asyncio

    async with listening() as url:
        code = "\n".join(blocks("python")).replace(ADDRESS, url)
        space: dict[str, object] = {}
        await asyncio.to_thread(exec, compile(code, "docs/client.md", "exec"), space)
        space["client"].close()
        space["pinned"].close()


async def test_console_examples(folder):
    """All commands exit with 0."""
    import asyncio

    commands = re.findall(r"^\$ mmreward (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 4
    async with listening() as url:
        for command in commands:
            done = await asyncio.to_thread(
                CliRunner().invoke, app, shlex.split(command), env={"MMREWARD_URL": url}
            )
            assert done.exit_code == 0, done.output


def test_error_tree_is_the_one_of_the_code():
    """The page and the module draw the same tree, name by name."""

    def names(text):
        return re.findall(r"[├└]── (\w+)", text)

    assert names(PAGE) == names(errors.__doc__)
