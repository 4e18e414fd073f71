"""Template, settings, estimate and the forms of data, each by itself."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from expansion_kit import lines, row
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.data import Columns, ReadOptions, read_pairs
from mmreward_client.errors import InvalidInput
from mmreward_trainer.expansion.estimate import by_bytes, tokens_by
from mmreward_trainer.expansion.replies import read_reply
from mmreward_trainer.expansion.settings import Settings
from mmreward_trainer.expansion.template import Template, read_template
from service_kit import picture, picture_bytes
from tiny_models.tokenizer import tiny_tokenizer


@given(st.text(), st.text(), st.text())
def test_texts_are_filled_in_as_they_are(question, answer, comment):
    """Braces and places in someone's text are text: one pass, and nothing is lost."""
    template = Template("<{question}|{answer}|{comment}>")
    assert template.fill(question, answer, comment) == f"<{question}|{answer}|{comment}>"
    assert template.fill("{answer}", "{comment}", "{x}") == "<{answer}|{comment}|{x}>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{question} {answer}", "{comment} is missing"),
        ("{question} {answer} {comment} {answer}", "{answer} stands there more than once"),
        ("{question} {answer} {comment} {name}", "no place {name}"),
        ("", "{question} is missing"),
    ],
)
def test_templates_are_checked(text, said):
    """Each place once, and no other."""
    with pytest.raises(InvalidInput) as caught:
        Template(text)
    assert said in str(caught.value)


def test_a_template_may_hold_other_braces():
    """JSON in a prompt is no place."""
    text = '{question}{answer}{comment} as {"critique": "..."} {}'
    assert Template(text).fill("a", "b", "c") == 'abc as {"critique": "..."} {}'


def test_the_packaged_template():
    """It is there, asks for the comment alone, and ends where the critique begins."""
    template = read_template()
    assert template.text.endswith("Expanded comment:")
    assert "Do not answer the question" in template.text


def settings(**changes):
    given = {"model": "m", "base_url": "http://h/v1", "template": read_template(), **changes}
    return Settings(**given)


def test_what_decides_is_in_the_hash():
    """Everything but the bound of the length and whether pictures go along."""
    alike = [settings(max_completion_tokens=7), settings(with_pictures=True), settings()]
    assert len({one.sha256 for one in alike}) == 1
    others = [
        settings(model="n"),
        settings(base_url="http://g/v1"),
        settings(template=Template("{question}{answer}{comment}")),
        settings(temperature=0.0),
        settings(seed=0),
        settings(extra_body={"top_p": 1}),
        settings(),
    ]
    assert len({one.sha256 for one in others}) == len(others)
    assert settings(base_url="http://h/v1/").sha256 == settings().sha256


def test_tokens_are_counted_by_the_tokenizer_that_is_named(tmp_path):
    """Without one by bytes; with one as it counts."""
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    text = "Is the answer 7? 不是。"
    assert tokens_by(tmp_path).count(text) == len(tokenizer(text).input_ids)
    assert by_bytes(text) == -(-len(text.encode()) // 4)
    with pytest.raises(InvalidInput):
        tokens_by(tmp_path / "none")


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "content", "finish_reason", "usage", "refusal"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda body: json.dumps(body).encode())
)
def test_no_body_makes_the_reader_raise(content):
    """Whatever an endpoint sends, it is a reply with a status, and a text only if that is ok."""
    reply = read_reply(content)
    assert (reply.text is not None) == (reply.status == "ok")


def test_critiques_of_refusals_are_no_refusals():
    """Only a reply that itself begins by declining is one."""

    def status(text):
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return read_reply(json.dumps({"choices": [choice]})).status

    assert status("The answer says: I can't help with that. This is right.") == "ok"
    assert status("I cannot see a flaw in the counting, and the comment names none.") == "ok"
    assert status("I’m sorry, but I can’t assist with that request.") == "refused"


def test_columns_of_any_name(expand, chat, write, tmp_path):
    """They are renamed to what the readers look for; the others stay."""
    own = {"question": "What?", "good": "A cat.", "bad": "A dog.", "why": "It purrs.", "n": 3}
    options = ("--form", "pairs", "--column", "prompt=question,chosen=good")
    done = expand(
        write([own]), *options, "--column", "rejected=bad", "--column", "chosen_reason=why"
    )
    assert done.exit_code == 0, done.output
    (written,) = lines(tmp_path / "out.jsonl")
    assert written["n"] == 3
    (pair,) = read_pairs(tmp_path / "out.jsonl")
    assert (pair.prompt, pair.chosen, pair.rejected) == ("What?", "A cat.", "A dog.")
    assert pair.chosen_reason == written["chosen_reason"]
    assert written["chosen_reason_original"] == "It purrs."


def test_a_name_that_is_taken_is_told_of(expand, chat, write):
    """Two columns that would become one end the command before anything is sent."""
    file = write([{**row(1), "question": "What?"}])
    done = expand(file, "--form", "pairs", "--column", "prompt=question")
    assert done.exit_code == 1
    assert "becomes the column prompt" in done.stderr
    assert chat.received == []


def test_parquet_with_pictures_inside(expand, chat, tmp_path):
    """Pictures are written once, beside the file, and found again by its readers."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    contents = [picture_bytes(picture(shade=shade)) for shade in (0, 90, 0)]
    rows = [
        {**row(n), "image": {"bytes": content, "path": None}} for n, content in enumerate(contents)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    done = expand(tmp_path / "pairs.parquet", "--form", "pairs", "--pictures")
    assert done.exit_code == 0, done.output
    read = list(read_pairs(tmp_path / "out.jsonl"))
    assert [pair.images[0].read() for pair in read] == contents
    assert len(list((tmp_path / "out.jsonl.pictures").iterdir())) == 2
    assert f"its pictures start from {tmp_path}" in done.stdout


def test_a_saved_dataset(expand, chat, tmp_path):
    """A folder of the library `datasets`, by its split."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            **{name: datasets.Value("string") for name in row(0)},
            "image": datasets.Image(),
        }
    )
    content = picture_bytes(picture(shade=10))
    made = [{**row(n), "image": {"bytes": content, "path": None}} for n in range(2)]
    split = datasets.Dataset.from_list(made, features=features)
    datasets.DatasetDict({"train": split}).save_to_disk(tmp_path / "set")
    assert expand(tmp_path / "set", "--form", "pairs").exit_code == 2
    done = expand(tmp_path / "set", "--form", "pairs", "--split", "train")
    assert done.exit_code == 0, done.output
    read = list(read_pairs(tmp_path / "out.jsonl"))
    assert [pair.chosen_reason for pair in read] == ["In full: good 0", "In full: good 1"]
    assert read[0].images[0].read() == content


def test_published_forms_are_written_as_pairs(expand, chat, pictures, write, tmp_path):
    """RLHF-V's packed texts and derived critiques come out as columns."""
    packed = {
        "question": "What stands there?",
        "chosen": "There are three red books on it.",
        "rejected": "There are five red books on it.",
    }
    file = write([{"idx": 7, "image": "mcq/0.png", "text": json.dumps(packed)}])
    done = expand(file, "--form", "rlhf-v")
    assert done.exit_code == 0, done.output
    (pair,) = read_pairs(tmp_path / "out.jsonl", Columns(), ReadOptions(image_root=pictures))
    assert (pair.id, pair.prompt, pair.chosen) == ("7", packed["question"], packed["chosen"])
    assert pair.chosen_reason.startswith("In full: Right where a check was needed")
    assert pair.images[0].path.name == "0.png"


def test_what_json_cannot_hold_is_told_of_before_anything_is_sent(expand, chat, tmp_path):
    """A column of bytes has no place in JSON lines."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.Table.from_pylist([{**row(1), "sound": b"\x00"}])
    parquet.write_table(table, tmp_path / "pairs.parquet")
    done = expand(tmp_path / "pairs.parquet")
    assert done.exit_code == 1
    assert "pairs.parquet:1: sound: cannot be written as JSON" in done.stderr
    assert chat.received == []


def test_the_template_is_packaged():
    """An installed trainer has it too."""
    root = Path(__file__).parents[3]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "expansion/template.txt" in declared["package-data"]["mmreward_trainer"]
    assert (root / "trainer" / "mmreward_trainer" / "expansion" / "template.txt").is_file()
