"""The files of a checkpoint folder, read once for all checks. What is missing is None and named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreward_service.check.findings import Findings
from mmreward_service.check.headers import TensorEntry, read_folder
from mmreward_service.reward.spec import RewardSpec

HEAD_PREFIX = "reward_head."
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Folder:
    """`tensors` holds the model's own; `head` those under `reward_head.`, without the prefix."""

    path: Path
    config: dict[str, Any] | None
    spec: RewardSpec | None
    tokenizer: dict[str, Any] | None
    tensors: list[TensorEntry]
    head: dict[str, TensorEntry]

    def text_setting(self, name: str) -> Any:
        """A setting of the language model, which multimodal configs nest under `text_config`."""
        config = self.config or {}
        nested = config.get("text_config")
        value = nested.get(name) if isinstance(nested, dict) else None
        return config.get(name) if value is None else value

    def vision_setting(self, name: str) -> Any:
        nested = (self.config or {}).get("vision_config")
        return nested.get(name) if isinstance(nested, dict) else None

    @property
    def tokenizer_size(self) -> int | None:
        """One more than the largest token id in use, added tokens included."""
        if self.tokenizer is None:
            return None
        ids = [int(i) for i in self.tokenizer["model"]["vocab"].values()]
        ids += [int(token["id"]) for token in self.tokenizer.get("added_tokens") or []]
        return max(ids) + 1


def open_folder(path: Path, findings: Findings, stock_judge: str | Path | None = None) -> Folder:
    """Read what can be read; name the rest. `stock_judge` is the setting of that name."""
    config = _read_object(path / "config.json", "format", findings)
    tokenizer = _read_object(path / "tokenizer.json", "tokenizer", findings)
    if tokenizer is not None and not _has_vocabulary(tokenizer):
        findings.problem("tokenizer", f"{path / 'tokenizer.json'} has no vocabulary of token ids")
        tokenizer = None
    entries, problems = read_folder(path)
    for text in problems:
        findings.problem("weights", text)
    if not entries and any(file.suffix in _PICKLES for file in path.glob("*")):
        findings.problem("weights", "weights as pickle are never read: save them as safetensors")
    head = {
        entry.name.removeprefix(HEAD_PREFIX): entry
        for entry in entries
        if entry.name.startswith(HEAD_PREFIX)
    }
    if not any((path / name).is_file() for name in _PROCESSOR_FILES):
        findings.problem("format", f"{path} has none of {', '.join(_PROCESSOR_FILES)}")
    return Folder(
        path=path,
        config=config,
        spec=_read_spec(path, config, stock_judge, findings),
        tokenizer=tokenizer,
        tensors=[entry for entry in entries if not entry.name.startswith(HEAD_PREFIX)],
        head=head,
    )


def _read_object(file: Path, topic: str, findings: Findings) -> dict[str, Any] | None:
    if not file.is_file():
        findings.problem(topic, f"{file} does not exist")
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        findings.problem(topic, f"{file} is not JSON: {error}")
        return None
    if not isinstance(value, dict):
        findings.problem(topic, f"{file} does not hold an object")
        return None
    return value


def _has_vocabulary(tokenizer: dict[str, Any]) -> bool:
    model = tokenizer.get("model")
    return isinstance(model, dict) and isinstance(model.get("vocab"), dict) and bool(model["vocab"])


def _read_spec(
    path: Path,
    config: dict[str, Any] | None,
    stock_judge: str | Path | None,
    findings: Findings,
) -> RewardSpec | None:
    from pydantic import ValidationError

    if config is None:
        return None
    if stock_judge is not None:
        return _stock_spec(config, stock_judge, findings)
    if "reward" not in config:
        findings.problem("format", f"{path / 'config.json'} has no `reward` object")
        return None
    try:
        spec = RewardSpec.model_validate(config["reward"])
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False, include_context=False):
            where = ".".join(str(part) for part in ("reward", *detail["loc"]))
            message = detail["msg"].removeprefix("Value error, ")
            findings.problem("format", f"config.json, {where}: {message}")
        return None
    read_out = "its text" if spec.head is None else spec.read_out
    findings.ok(
        "format",
        f"{' and '.join(spec.kinds)}, reward object of {spec.trainer_version}, read-out {read_out}",
    )
    return spec


def _stock_spec(
    config: dict[str, Any], wanted: str | Path, findings: Findings
) -> RewardSpec | None:
    """The reward object that the service would make for a stock model."""
    from mmreward_service.reward.judge_templates import stock_judge_spec, stock_judge_templates

    try:
        spec = stock_judge_spec(stock_judge_templates(wanted, config))
    except ValueError as error:
        findings.problem("format", str(error))
        return None
    findings.ok("format", f"a stock model as a judge, templates: {wanted}")
    return spec
