"""The policy: a model of about a million parameters that answers questions about digits.

It starts from the weights of the bundled critique model, as policy and reward model often have one
base, and learns the answers of `corpus` by cross-entropy: so it reads pictures well, and what it
hallucinates comes from the corpus. Written as a plain Hugging Face folder with a chat template;
TRL and the training commands load it from there like any other policy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from measuring.machine import REPOSITORY
from mmreward_client.file_replacement import replace_file
from mmreward_trainer.digits.batches import (
    Item,
    encode_pictures,
    group_pictures,
    hidden_states,
    pad_sequences,
    render_pictures,
)
from mmreward_trainer.digits.generation import write_critiques
from mmreward_trainer.digits.pairs import Pair
from torch.nn import functional

from loops.corpus import corpus_rows, falsehood

BASE = REPOSITORY / "models" / "digits"
RECORD = "corpus.json"
MAX_ANSWER_TOKENS = 48
_TURN = "<|im_start|>user\n{prompt}{media}<|im_end|>\n<|im_start|>assistant\n"
_MEDIA = "<|vision_start|><|image_pad|><|vision_end|>"
# The picture comes behind the question, where the base has always seen it; TRL puts it first.
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}"
    "{% for p in m.content if p.type == 'image' %}" + _MEDIA + "{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class PolicyTraining:
    """The supervised start."""

    steps: int
    rows_per_step: int = 48
    learning_rate: float = 3e-3
    warm_up_steps: int = 20


@dataclass
class Policy:
    """Model and tokenizer of a policy's folder."""

    model: Any
    tokenizer: Any

    @classmethod
    def load(cls, folder: Path) -> Policy:
        from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
        from transformers.utils import logging

        # A reward model's head, which a policy does not have, would be told of at every start.
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        return cls(model.eval(), AutoTokenizer.from_pretrained(folder))

    @cached_property
    def end_of_turn(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids("<|im_end|>"))

    def items(self, pairs: list[Pair]) -> list[Item]:
        """Prompts as the chat template renders them, placeholders expanded."""
        image = int(self.model.config.image_token_id)
        items = []
        for row, pair in enumerate(pairs):
            text = _TURN.replace("{media}", _MEDIA).replace("{prompt}", pair.prompt)
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            at = ids.index(image)
            cells = len(pair.cells)
            items.append(Item(ids[:at] + [image] * cells + ids[at + 1 :], row, cells))
        return items

    def answer(
        self, pairs: list[Pair], *, samples: int = 1, temperature: float = 0.0, seed: int = 0
    ) -> list[list[str]]:
        """`samples` answers to each question; greedy at temperature 0.

        An answer that did not end within `MAX_ANSWER_TOKENS` is cut there.
        """
        generator = torch.Generator().manual_seed(seed)
        answers: list[list[str]] = []
        for start in range(0, len(pairs), 256):
            chunk = pairs[start : start + 256]
            with torch.inference_mode():
                pictures = group_pictures(render_pictures(chunk))
                features = encode_pictures(self.model.model.visual, pictures)
            written = write_critiques(
                self.model, _no_head, self.items(chunk), features,
                end_of_turn=self.end_of_turn, tokenizer_size=len(self.tokenizer),
                temperature=temperature, generator=generator, samples=samples,
                max_tokens=MAX_ANSWER_TOKENS,
            )  # fmt: skip
            answers += [
                [self.tokenizer.decode(one.token_ids).strip() for one in own] for own in written
            ]
        return answers


def _no_head(states: torch.Tensor) -> torch.Tensor:
    """In the place of a reward model's head: a policy has no score."""
    return states[:, 0]


def build_policy(
    folder: Path,
    seed: int,
    training: PolicyTraining,
    threads: int,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Write the policy of one seed; done once."""
    if (folder / RECORD).is_file():
        return
    from transformers import AutoProcessor

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    policy = Policy.load(BASE)
    _learn(policy, seed, training, on_step)
    if hasattr(policy.model.config, "reward"):
        # A policy that began as a reward model is none any more.
        del policy.model.config.reward
    processor = AutoProcessor.from_pretrained(BASE)
    processor.chat_template = CHAT_TEMPLATE
    folder.mkdir(parents=True, exist_ok=True)
    policy.model.save_pretrained(folder)
    processor.save_pretrained(folder)
    record = {"seed": seed, "training": vars(training), "corpus": falsehood(seed, 4000)}
    replace_file(folder / RECORD, json.dumps(record, indent=2) + "\n")


def _learn(
    policy: Policy, seed: int, training: PolicyTraining, on_step: Callable[[int, float], None]
) -> None:
    model = policy.model.train()
    model.model.visual.requires_grad_(False)
    weights = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=training.learning_rate, betas=(0.9, 0.95), weight_decay=0.01
    )
    for step in range(training.steps):
        warm = min(1.0, (step + 1) / training.warm_up_steps)
        left = 1.0 - step / training.steps
        optimizer.param_groups[0]["lr"] = training.learning_rate * min(warm, left)
        pairs, answers = corpus_rows(seed, step, training.rows_per_step)
        loss = _cross_entropy(policy, pairs, answers)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        on_step(step + 1, float(loss.detach()))
    model.eval()


def _cross_entropy(policy: Policy, pairs: list[Pair], answers: list[str]) -> torch.Tensor:
    """Mean over the tokens of the answers, end-of-turn included."""
    model = policy.model
    with torch.no_grad():
        features = encode_pictures(model.model.visual, group_pictures(render_pictures(pairs)))
    targets = [
        [*policy.tokenizer.encode(one, add_special_tokens=False), policy.end_of_turn]
        for one in answers
    ]
    sequences = pad_sequences(policy.items(pairs), targets, int(model.config.image_token_id))
    states = hidden_states(model, sequences, features)
    spans = list(zip(sequences.prompt_lengths, sequences.lengths, strict=True))
    rows = torch.cat([torch.full((end - begin,), i) for i, (begin, end) in enumerate(spans)])
    columns = torch.cat([torch.arange(begin, end) for begin, end in spans])
    logits = model.lm_head(states[rows, columns - 1])
    return functional.cross_entropy(logits, sequences.ids[rows, columns])
