"""The command against vLLM's own server with a tiny model: what it writes is noise, and counted.

Random weights say nothing sensible; the protocol, the length cut, the token counts and many
requests at once are those of a real endpoint.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest
from expansion_kit import lines, row
from expansion_kit.vllm_server import counter, plain_checkpoint, vllm_serve

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]

COUNTERS = (
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    plain_checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def address(checkpoint, tmp_path_factory):
    with vllm_serve(checkpoint, tmp_path_factory.mktemp("vllm") / "log") as found:
        yield found


@pytest.fixture
def ask(expand, address, tmp_path):
    """The command, and what it and vLLM count for it: prompt and completion tokens, requests."""

    def ask(file, *options):
        before = [counter(address, name) for name in COUNTERS]
        fixed = ("--base-url", f"{address}/v1", "--model", "tiny", "--timeout", 300)
        done = expand(file, *fixed, "--on-failure", "keep-original", *options, key=None)
        assert done.exit_code == 0, done.output
        counted = [counter(address, name) - was for name, was in zip(COUNTERS, before, strict=True)]
        sent = json.loads((tmp_path / "out.jsonl.run.json").read_text())["sent"]
        told = [sent["prompt_tokens"], sent["completion_tokens"], sent["requests"]]
        assert told == counted
        return done, sent

    return ask


def test_expansions_of_a_real_endpoint(ask, pictures, write, checkpoint, tmp_path):
    """Every reason is replaced by what the model wrote; used tokens are those that vLLM counts."""
    file = write([row(n) for n in range(6)])
    done, sent = ask(file, "--temperature", 1, "--seed", 3, "--tokenizer", checkpoint)
    assert sent["statuses"] == {"ok": 12}
    for written in lines(tmp_path / "out.jsonl"):
        assert written["expansion"]["chosen"] == written["expansion"]["rejected"] == "ok"
        assert written["chosen_reason"] != written["chosen_reason_original"]
    record = json.loads((tmp_path / "out.jsonl.run.json").read_text())
    estimated = record["estimate"]["prompt_tokens"]
    assert estimated == pytest.approx(sent["prompt_tokens"], rel=0.05)
    assert sent["completion_tokens"] <= record["estimate"]["completion_tokens_at_most"]
    assert "used: " in done.stdout
    _, again = ask(file, "--temperature", 1, "--seed", 3)
    assert again["requests"] == 0


def test_a_cut_reply_is_no_expansion(ask, pictures, write, tmp_path):
    """At the bound the endpoint stops; raised, the same requests are asked again and answered."""
    file = write([row(n) for n in range(3)])
    _, sent = ask(file, "--temperature", 1, "--seed", 3, "--max-completion-tokens", 3)
    assert sent["statuses"] == {"truncated": 6}
    assert sent["completion_tokens"] == 18
    assert all(one["chosen_reason"].startswith("good") for one in lines(tmp_path / "out.jsonl"))
    _, sent = ask(file, "--temperature", 1, "--seed", 3, "--max-completion-tokens", 300)
    assert sent["statuses"] == {"ok": 6}


def test_pictures_reach_the_model(ask, pictures, write, tmp_path):
    """A request with a picture has more prompt tokens than the same one without."""
    file = write([row(1)])
    _, without = ask(file, "--temperature", 1, "--seed", 3)
    _, with_them = ask(file, "--temperature", 1, "--seed", 3, "--pictures")
    assert with_them["requests"] == 2
    assert with_them["prompt_tokens"] > without["prompt_tokens"]


def test_what_the_endpoint_refuses(ask, expand, address, write):
    """A bound over the model's length is refused for each request; another model for the run."""
    file = write([row(n) for n in range(2)])
    done = expand(
        file,
        *("--base-url", f"{address}/v1", "--model", "tiny", "--on-failure", "drop"),
        *("--max-completion-tokens", 5000),
        key=None,
    )
    assert "4 expansions failed (4 rejected)" in done.stdout
    assert "4 HTTP 400" in done.stdout
    done = expand(file, "--base-url", f"{address}/v1", "--model", "another", key=None)
    assert done.exit_code == 1
    assert "HTTP 404" in done.stderr
    assert Counter(done.stderr.splitlines())["Traceback (most recent call last):"] == 0
