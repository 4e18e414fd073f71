"""Whether the parts of a checkpoint fit together: architecture, head, slot, vocabulary, templates.

The rules are those of `reward.checkpoint` and `engine.vllm.fence`, asked one by one so that each
breach is named; a test holds that both refuse the same folders.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict

from mmreward_service.check.findings import Findings
from mmreward_service.check.folder import HEAD_PREFIX, Folder
from mmreward_service.engine.vllm.plugin import ARCHITECTURES
from mmreward_service.reward.spec import HeadSpec

_LAYER = re.compile(r"^(.*\blayers)\.(\d+)\.(.+)$")
_VISION = re.compile(r"\b(visual|vision_tower)\.")
_EMBEDDING = re.compile(r"(^|\.)embed_tokens\.weight$")
_FOREIGN_HEAD = re.compile(r"^(.*\.)?(rm_head\.|score\.weight$|v_head\.)")
_OUTPUT = re.compile(r"(^|\.)lm_head\.weight$")


def check_contents(folder: Folder, findings: Findings) -> None:
    """Every check that needs nothing but the folder's text files and the headers of its weights."""
    if folder.config is not None:
        _check_architecture(folder, findings)
    _hint_at_import(folder, findings)
    _check_slot(folder, findings)
    _check_head(folder, findings)
    _check_language_model(folder, findings)
    _check_templates(folder, findings)


def architecture(folder: Folder) -> str | None:
    """The first of the folder's architectures that is served."""
    names = (folder.config or {}).get("architectures") or []
    return next((str(name) for name in names if name in ARCHITECTURES), None)


def head_shapes(hidden_size: int, spec: HeadSpec) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors of a head, without building it."""
    if spec.type == "linear":
        return {"out.weight": (1, hidden_size), "out.bias": (1,)}
    inner = spec.inner_size or hidden_size
    return {
        "dense.weight": (inner, hidden_size),
        "dense.bias": (inner,),
        "out.weight": (1, inner),
        "out.bias": (1,),
    }


def _check_architecture(folder: Folder, findings: Findings) -> None:
    name = architecture(folder)
    if name is not None:
        served = name if _is_judge_alone(folder) else ARCHITECTURES[name]
        findings.ok("architecture", f"{name}, served as {served}")
        return
    names = (folder.config or {}).get("architectures") or ["(none)"]
    if _is_judge_alone(folder):
        findings.note("architecture", f"{names[0]}, if vLLM serves it: a judge needs no head")
        return
    findings.problem(
        "architecture",
        f"{', '.join(map(str, names))} is not supported; supported are {', '.join(ARCHITECTURES)}",
    )


def _hint_at_import(folder: Folder, findings: Findings) -> None:
    """Somebody else's reward model, not yet imported, is told the way."""
    if folder.spec is not None or folder.head:
        return
    found = sorted(entry.name for entry in folder.tensors if _FOREIGN_HEAD.search(entry.name))
    if found:
        findings.note(
            "format",
            f"{found[0]} is the head of another form of reward model: `mmreward-train import` "
            "makes a checkpoint of it",
        )


def _check_slot(folder: Folder, findings: Findings) -> None:
    size, used = folder.text_setting("vocab_size"), folder.tokenizer_size
    if folder.config is not None and not isinstance(size, int):
        findings.problem("vocabulary", "config.json has no vocab_size")
        return
    if used is None or not isinstance(size, int) or _is_judge_alone(folder):
        return
    if used >= size:
        findings.problem(
            "vocabulary",
            f"the tokenizer uses ids below {used}, the vocabulary has {size}: no id is free for "
            "the score slot; enlarge the embedding at export",
        )
    else:
        findings.ok("vocabulary", f"{used} of {size} ids are in use")
    slot = None if folder.spec is None else folder.spec.score_slot
    if slot is None:
        return
    if slot < used:
        findings.problem("slot", f"score_slot {slot} is a real token: ids below {used} are in use")
    elif slot >= size:
        findings.problem("slot", f"score_slot {slot} is outside the vocabulary of {size}")
    else:
        findings.ok("slot", f"score_slot {slot} is free")


def _is_judge_alone(folder: Folder) -> bool:
    return folder.spec is not None and folder.spec.head is None


def _check_head(folder: Folder, findings: Findings) -> None:
    hidden = folder.text_setting("hidden_size")
    if folder.config is not None and not isinstance(hidden, int):
        findings.problem("head", "config.json has no hidden_size")
    if folder.spec is None or not isinstance(hidden, int) or not folder.tensors:
        return
    head = folder.spec.head
    if head is None:
        findings.ok("head", "a judge alone, its scores are in its text")
        return
    if not folder.head:
        findings.problem("head", f"no tensor under {HEAD_PREFIX!r}: the head is missing")
        return
    expected = head_shapes(hidden, head)
    before = len(findings.problems)
    for name, shape in expected.items():
        if name not in folder.head:
            findings.problem("head", f"tensor {HEAD_PREFIX}{name} is missing")
        elif folder.head[name].shape != shape:
            findings.problem(
                "head",
                f"tensor {HEAD_PREFIX}{name} has shape {list(folder.head[name].shape)}, "
                f"a {head.type} head needs {list(shape)}",
            )
    for name in sorted(set(folder.head) - set(expected)):
        findings.problem("head", f"a {head.type} head has no tensor {name!r}")
    if len(findings.problems) == before:
        findings.ok("head", f"{head.type}, {len(expected)} tensors")


def _check_language_model(folder: Folder, findings: Findings) -> None:
    """Completeness as far as names tell: equal layers, as many as promised, and both ends."""
    if folder.config is None or not folder.tensors:
        return
    before = len(findings.problems)
    layers: dict[int, set[str]] = defaultdict(set)
    for entry in folder.tensors:
        match = _LAYER.match(entry.name)
        if match and not _VISION.search(entry.name):
            layers[int(match[2])].add(match[3])
    promised = folder.text_setting("num_hidden_layers")
    parts = set().union(*layers.values())
    if isinstance(promised, int):
        for number in range(promised):
            for part in sorted(parts - layers[number]):
                findings.problem("weights", f"layer {number} has no {part}")
        for number in sorted(number for number in layers if number >= promised):
            findings.problem("weights", f"there is a layer {number}, config.json says {promised}")
    _check_ends(folder, findings)
    if len(findings.problems) == before:
        findings.ok("weights", f"{len(folder.tensors)} tensors, {promised} layers")


def _check_ends(folder: Folder, findings: Findings) -> None:
    size, hidden = folder.text_setting("vocab_size"), folder.text_setting("hidden_size")
    tied = bool(folder.text_setting("tie_word_embeddings"))
    for pattern, what, needed in (
        (_EMBEDDING, "embedding (embed_tokens)", True),
        (_OUTPUT, "output layer (lm_head)", not tied),
    ):
        found = [entry for entry in folder.tensors if pattern.search(entry.name)]
        if not found and needed:
            findings.problem("weights", f"the {what} is missing")
        for entry in found:
            if entry.shape != (size, hidden):
                findings.problem(
                    "weights",
                    f"{entry.name} has shape {list(entry.shape)}, config.json says "
                    f"{[size, hidden]}",
                )


def _check_templates(folder: Folder, findings: Findings) -> None:
    if folder.spec is None or folder.tokenizer is None:
        return
    from mmreward_service.reward.prompt import PromptError, PromptRenderer

    try:
        renderer = PromptRenderer(json.dumps(folder.tokenizer), folder.spec)
    except PromptError as error:
        findings.problem("templates", str(error))
        return
    end_of_turn = renderer.end_of_turn_id
    for kind in folder.spec.kinds:
        ids = (
            renderer.render_judge(prompt="", first="", second="", images=1)
            if kind == "judge"
            else renderer.render(prompt="", response="", images=1)
        )
        findings.ok(
            "templates", f"{kind}: {len(ids)} tokens without texts, end of turn {end_of_turn}"
        )
