"""The annotate command, rows for it, and its output as rows."""

from __future__ import annotations

import json
import time

from mmreward_client.cli.app import app
from typer.testing import CliRunner


def annotate(*arguments, url=None):
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    if url is not None:
        environment["MMREWARD_URL"] = url
    command = ["annotate", "--no-picture", *map(str, arguments)]
    return CliRunner().invoke(app, command, env=environment)


def pair(number, **fields):
    texts = {"prompt": "Which?", "chosen": f"Right {number}.", "rejected": f"Wrong {number}."}
    return {"id": f"q{number}", "images": f"{number % 3}.png", **texts, **fields}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for(condition, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
