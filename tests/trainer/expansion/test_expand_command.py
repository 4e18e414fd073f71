"""The command against a real HTTP server: what is sent, what is written, what fails and how."""

from __future__ import annotations

import json

import pytest
from client_kit.scripted import Reply
from expansion_kit import KEY, comment_of, completion, expanding, lines, row, text_of
from mmreward_client.data import ReadOptions, read_mm_rlhf, read_pairs


def test_rows_come_back_with_expanded_and_original_reasons(expand, chat, pictures, write, tmp_path):
    """Every other column stays as it was, and our readers read the file."""
    rows = [row(n, extra={"n": n}, is_tie=False) for n in range(4)]
    done = expand(write(rows))
    assert done.exit_code == 0, done.output
    written = lines(tmp_path / "out.jsonl")
    for before, after in zip(rows, written, strict=True):
        for side in ("chosen", "rejected"):
            original = before[f"{side}_reason"]
            assert after[f"{side}_reason"] == f"In full: {original}"
            assert after[f"{side}_reason_original"] == original
            assert after["expansion"][side] == "ok"
        unchanged = before.keys() - {"chosen_reason", "rejected_reason"}
        assert {name: after[name] for name in unchanged} == {n: before[n] for n in unchanged}
    for reader in (read_mm_rlhf, read_pairs):
        read = list(reader(tmp_path / "out.jsonl", options=ReadOptions(image_root=pictures)))
        assert [pair.chosen_reason for pair in read] == [f"In full: good {n}" for n in range(4)]
        assert read[2].images[0].path == (pictures / "mcq" / "2.png").resolve()


def test_a_request_holds_the_texts_of_its_side(expand, chat, write):
    """Question, answer and comment of one side, and nothing of the other."""
    assert expand(write([row(1, prompt="<image>\nWhat {is} it?")])).exit_code == 0
    texts = {comment_of(request): text_of(request) for request in chat.received}
    assert set(texts) == {"good 1", "bad 1"}
    assert "What {is} it?" in texts["good 1"]
    assert "<image>" not in texts["good 1"]
    assert "It is 1." in texts["good 1"]
    assert "Maybe 1?" not in texts["good 1"]
    assert "Maybe 1?" in texts["bad 1"]


def test_equal_comments_are_sent_once(expand, chat, write, tmp_path):
    """The same question, answer and comment in several rows are one request for all of them."""
    rows = [row(1), row(1, id="other"), row(1, rejected="Something else.")]
    done = expand(write(rows))
    assert "6 reasons to expand, 3 of them different" in done.stdout
    assert len(chat.received) == 3
    assert all(one["chosen_reason"] == "In full: good 1" for one in lines(tmp_path / "out.jsonl"))


def test_rows_without_reasons_pass_through(expand, chat, write, tmp_path):
    """Nothing is asked for them and no column is added; a single reason is expanded alone."""
    bare = row(1, chosen_reason=None, rejected_reason="  ")
    half = row(2, rejected_reason=None)
    done = expand(write([bare, half]))
    assert "1 pairs without reasons pass through unchanged" in done.stdout
    assert len(chat.received) == 1
    first, second = lines(tmp_path / "out.jsonl")
    assert first == bare
    assert second["chosen_reason"] == "In full: good 2"
    assert second["rejected_reason"] is None
    assert second["expansion"]["rejected"] is None


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(body=completion("half a sen", "length")), "truncated"),
        (Reply(body=completion("  ")), "empty"),
        (Reply(body=completion(None)), "empty"),
        (Reply(body=completion(None, refusal="I decline.")), "refused"),
        (Reply(body=completion("partly", "content_filter")), "refused"),
        (Reply(body=completion("I'm sorry, but I can't help with that.")), "refused"),
        (Reply(body=completion("<think>hm</think> It is good.")), "unexpected"),
        (Reply(body=completion("x", "tool_calls")), "unexpected"),
        (Reply(body={"choices": []}), "unexpected"),
        (Reply(body={"object": "error"}), "unexpected"),
        (Reply(body=b"<html>hello</html>"), "unexpected"),
        (Reply(400, {"error": {"message": "too long"}}), "rejected"),
        (Reply(403, {"error": {"message": "flagged"}}), "rejected"),
        (Reply(429, {"error": {"message": "slowly"}}), "unavailable"),
        (Reply(503, {"error": {"message": "later"}}), "unavailable"),
        (Reply(body=completion("late"), delay_s=3.0), "timeout"),
        (Reply(drop="before"), "unavailable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_failures_keep_the_original(expand, chat, write, tmp_path, reply, status):
    """A reply that is no expansion never becomes a reason; it is counted under its name."""
    chat.script = lambda request: reply if "bad 1" in text_of(request) else expanding(request)
    options = ("--on-failure", "keep-original", "--retries", 0, "--timeout", 1)
    done = expand(write([row(0), row(1)]), *options)
    assert done.exit_code == 0, done.output
    assert f"1 {status}" in done.stdout
    first, second = lines(tmp_path / "out.jsonl")
    assert second["rejected_reason"] == second["rejected_reason_original"] == "bad 1"
    assert second["expansion"] == {**first["expansion"], "rejected": status}
    assert second["chosen_reason"] == "In full: good 1"


def test_failures_drop_the_row(expand, chat, write, tmp_path):
    """The row is left out and counted, with the side that was good."""
    bad = Reply(body=completion("cut", "length"))
    chat.script = lambda request: bad if "bad 1" in text_of(request) else expanding(request)
    done = expand(write([row(0), row(1)]), "--on-failure", "drop")
    assert done.exit_code == 0, done.output
    assert "1 expansions failed (1 truncated)" in done.stdout
    assert "1 rows left out" in done.stdout
    assert [one["id"] for one in lines(tmp_path / "out.jsonl")] == ["q0"]


def test_failures_write_no_file_by_default(expand, chat, write, tmp_path):
    """Exit 1, and what there is; another policy then writes the file without a request."""
    bad = Reply(body=completion("cut", "length"))
    chat.script = lambda request: bad if "bad 1" in text_of(request) else expanding(request)
    file = write([row(0), row(1)])
    done = expand(file)
    assert done.exit_code == 1
    assert "1 expansions failed (1 truncated)" in done.stderr
    assert {path.name for path in tmp_path.glob("out*")} == {
        "out.jsonl.journal.jsonl",
        "out.jsonl.run.json",
    }
    assert expand(file, "--on-failure", "drop").exit_code == 0
    assert len(chat.received) == 4


def test_a_second_run_asks_nothing(expand, chat, write, tmp_path):
    """All replies are in the journal; the file is the same."""
    file = write([row(n) for n in range(3)])
    expand(file)
    before, content = len(chat.received), (tmp_path / "out.jsonl").read_bytes()
    assert expand(file).exit_code == 0
    assert len(chat.received) == before
    assert (tmp_path / "out.jsonl").read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [
        ("--model", "another"),
        ("--temperature", 0.5),
        ("--seed", 3),
        ("--extra-body", '{"top_p": 0.5}'),
        ("--template", "template"),
        ("--pictures",),
    ],
    ids=str,
)
def test_other_settings_ask_anew(expand, chat, pictures, write, tmp_path, change):
    """A reply belongs to its settings: another model, prompt or sampling does not get it."""
    (tmp_path / "template").write_text("{question}{answer}Comment of the expert:\n{comment}")
    file = write([row(1)])
    expand(file)
    options = [tmp_path / one if one == "template" else one for one in change]
    done = expand(file, *options)
    assert done.exit_code == 0, done.output
    assert len(chat.received) == 4


def test_a_changed_row_asks_anew_and_a_moved_one_does_not(expand, chat, write):
    """What was asked decides, not the place of the row."""
    expand(write([row(1), row(2)]))
    expand(write([row(2), row(1, rejected="Changed.")]))
    assert len(chat.received) == 5


def test_answered_failures_are_asked_again_on_request_only(expand, chat, write):
    """They were paid for; a cut one is asked again when the bound has been raised."""
    chat.script = lambda request: Reply(
        body=completion("cut", "length") if "bad" in text_of(request) else completion("")
    )
    file = write([row(1)])
    options = ("--on-failure", "keep-original")
    expand(file, *options)
    assert len(chat.received) == 2
    expand(file, *options)
    assert len(chat.received) == 2
    expand(file, *options, "--max-completion-tokens", 2048)
    assert len(chat.received) == 3
    assert chat.received[-1].body["max_completion_tokens"] == 2048
    expand(file, *options, "--max-completion-tokens", 2048, "--retry-failed")
    assert len(chat.received) == 5


def test_max_requests(expand, chat, write, tmp_path):
    """The first so many are sent; finished rows go into a partial file, the rest waits."""
    file = write([row(n) for n in range(4)])
    done = expand(file, "--max-requests", 3, "--concurrency", 1)
    assert done.exit_code == 0, done.output
    assert len(chat.received) == 3
    assert not (tmp_path / "out.jsonl").exists()
    assert [one["id"] for one in lines(tmp_path / "out.partial.jsonl")] == ["q0"]
    assert "3 rows are not in it" in done.stdout
    assert "5 requests are open" in done.stderr
    assert expand(file).exit_code == 0
    assert len(chat.received) == 8
    assert len(lines(tmp_path / "out.jsonl")) == 4


def test_a_dry_run_sends_and_writes_nothing(expand, chat, pictures, write, tmp_path):
    """It shows the estimate and one request, with pictures told of and not printed."""
    file = write([row(1)])
    before = sorted(tmp_path.rglob("*"))
    done = expand(file, "--dry-run", "--pictures", "--price-input", 1, "--price-output", 2)
    assert done.exit_code == 0, done.output
    assert chat.received == []
    assert sorted(tmp_path.rglob("*")) == before
    said = done.stdout
    size = (pictures / "mcq" / "1.png").stat().st_size
    assert f"data:image/png;base64,<{size} bytes left out>" in said
    assert KEY not in said
    assert "nothing was sent" in said
    assert "prompts unknown, since the pictures' tokens are" in said
    shown = json.loads(said[said.index("{\n") : said.rindex("}") + 1])
    expand(file, "--pictures", "--concurrency", 1)
    sent = chat.received[0].body
    sent["messages"][0]["content"][0] = shown["messages"][0]["content"][0]
    assert shown == sent


def test_bad_rows(expand, chat, write, tmp_path):
    """The first ends the command before anything is sent, or all are left out and counted."""
    file = write([row(0), row(1, chosen=""), row(2)])
    done = expand(file)
    assert done.exit_code == 1
    assert f"{file}:2: chosen: is empty" in done.stderr
    assert chat.received == []
    done = expand(file, "--bad-rows", "skip")
    assert done.exit_code == 0
    assert "3 rows: 2 pairs, 1 bad rows left out" in done.stdout
    assert [one["id"] for one in lines(tmp_path / "out.jsonl")] == ["q0", "q2"]


def test_an_expanded_file_is_not_expanded_again(expand, chat, write, tmp_path):
    """Its reasons are not original ones, and the original ones would be lost."""
    expand(write([row(1)]))
    before = len(chat.received)
    done = expand(tmp_path / "out.jsonl", "--output", tmp_path / "again.jsonl")
    assert done.exit_code == 1
    assert "chosen_reason_original: is a column already" in done.stderr
    assert len(chat.received) == before


def test_the_record_beside_the_file(expand, chat, write, tmp_path):
    """Settings, estimate, tokens used and what was written; no key."""
    done = expand(write([row(1), row(2)]), "--price-input", 10, "--price-output", 20)
    text = (tmp_path / "out.jsonl.run.json").read_text()
    record = json.loads(text)
    assert record["settings"]["model"] == "writer"
    assert "{comment}" in record["settings"]["template"]
    assert record["sent"] == {
        "requests": 4,
        "statuses": {"ok": 4},
        "http_statuses": {},
        "prompt_tokens": 400,
        "completion_tokens": 16,
        "without_usage": 0,
        "retries": 0,
    }
    assert "used: 400 prompt + 16 completion tokens" in done.stdout
    assert "at the given prices: 0.0043" in done.stdout
    assert record["written"]["expanded"] == 4
    assert KEY not in text + done.output + (tmp_path / "out.jsonl.journal.jsonl").read_text()
