"""Templates come from a file or from the folder's chat template, and render what it renders."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from foreign_models.stock import chat_template
from mmreward_trainer.importing.refusal import ImportRefused
from mmreward_trainer.importing.templates import read_templates, templates_of_chat
from tiny_models.build import FAMILIES

from .conftest import TEMPLATES

PROMPT, RESPONSE = "Which <one>?", "The left one."


class Chat(SimpleNamespace):
    """A processor that has nothing but a chat template."""

    def apply_chat_template(self, messages: Any, tokenize: bool) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        [text], _ = render_jinja_template([messages], chat_template=self.chat_template)
        return str(text)


def chat(template: str, *, image: bool) -> str:
    content: list[dict[str, str]] = [{"type": "image"}] if image else []
    messages = [
        {"role": "user", "content": [*content, {"type": "text", "text": PROMPT}]},
        {"role": "assistant", "content": [{"type": "text", "text": RESPONSE}]},
    ]
    return Chat(chat_template=template).apply_chat_template(messages, tokenize=False)


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_templates_write_what_the_chat_template_writes(family: str, image: bool) -> None:
    """With and without a picture; and up to the response, where `critique` ends."""
    text = chat_template(family)
    templates = templates_of_chat(Chat(chat_template=text), "<|im_end|>")
    assert templates.none is not None
    for template, rest in ((templates.none, ""), (templates.critique, templates.after_turn)):
        written = (
            template.replace("{media}", templates.image if image else "")
            .replace("{prompt}", PROMPT)
            .replace("{response}", RESPONSE)
        )
        assert written + rest == chat(text, image=image)
    assert templates.end_of_turn == "<|im_end|>"


@pytest.mark.parametrize(
    ("image", "expected"),
    [("<image>\n", "<image>\n"), ("\n<image>", "<image>"), ("<a><b></a>", "<a><b></a>")],
)
def test_a_picture_is_cut_out_at_a_token(image: str, expected: str) -> None:
    """A run between equal texts could be cut out at several places: one that begins a token."""
    text = chat_template("llava_onevision").replace("<image>\n", image)
    assert templates_of_chat(Chat(chat_template=text), "<|im_end|>").image.strip() == (
        expected.strip()
    )


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{{ messages[0]['content'][-1]['text'] }}<|im_end|>",
        "{% for m in messages %}{% for c in m['content'] %}{{ c.get('text', '') }}{% endfor %}"
        "{% endfor %}",
        chat_template("qwen").replace("<|im_start|>", "<|im_start|>{literal}"),
    ],
    ids=["none", "no response", "no picture", "braces"],
)
def test_a_chat_template_that_does_more_is_refused(text: str | None) -> None:
    """The way out is a file."""
    with pytest.raises(ImportRefused, match="--templates"):
        templates_of_chat(Chat(chat_template=text), "<|im_end|>")


def test_json_and_toml_are_read_alike(tmp_path: Path) -> None:
    """The same object in either."""
    as_json, as_toml = tmp_path / "t.json", tmp_path / "t.toml"
    as_json.write_text(json.dumps(TEMPLATES))
    lines = [f"{name} = {json.dumps(text)}" for name, text in TEMPLATES.items()]
    as_toml.write_text("\n".join(lines))
    assert read_templates(as_json) == read_templates(as_toml)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "neither JSON nor TOML"),
        (json.dumps({**TEMPLATES, "critique": "{media}"}), "prompt"),
        (json.dumps({**TEMPLATES, "mood": "x"}), "mood"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    """With the field that is wrong."""
    file = tmp_path / "t.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ImportRefused, match=message):
        read_templates(file)
