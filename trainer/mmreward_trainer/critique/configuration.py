"""Every setting of a training run; the resolved ones are written beside it.

Defaults follow the released MM-RLHF script where it has a value (arXiv 2502.10391; its
scripts/train/critic_reward_7b.sh): one epoch, learning rate 1e-6, cosine, warm-up 0.1, no weight
decay, centring 0.01, vision tower frozen. Where we differ, the comment says so.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from mmreward_client.schema import describe
from mmreward_service.reward.spec import ReadOut
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Form = Literal["pairs", "mm-rlhf", "mm-rlhf-rewardbench", "rlhf-v", "vl-rewardbench"]


Config = TypeVar("Config", bound=BaseModel)


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """What is trained on: JSON lines, parquet, or folders that `datasets` saved.

    `form` and `columns` hold for all of them (see docs/data.md).
    """

    train: list[Path] = Field(min_length=1)
    validation: list[Path] = []
    form: Form = "pairs"
    columns: tuple[str, ...] = ()  # of the form `pairs`: "prompt=question", "chosen=best"
    train_split: str | None = None  # of saved datasets that have splits
    validation_split: str | None = None
    image_root: Path | None = None
    bad_rows: Literal["error", "skip"] = "error"
    missing_images: Literal["error", "skip"] = "error"
    # Rows that are too long or whose pictures cannot be decoded: `error` stops when one is met,
    # `skip` encodes every row once before the first step, and leaves them out with a count.
    unusable: Literal["error", "skip"] = "error"
    max_tokens: Count = 32768  # of one answer's sequence, pictures and critique included
    max_image_bytes: Count = 16 * 2**20
    max_image_pixels: Count = 25_000_000
    max_frames: Count = 10
    source_fps: Positive = 1.0  # of folders of frames that do not say it
    # Of a row's own column: what chosen must lead by. None: no margins.
    margin_column: str | None = None
    workers: Annotated[int, Field(ge=0)] = 2


class Reward(_Part):
    """The head, where it reads, and the texts. None: as the model folder says, or the default."""

    head: Literal["tanh", "silu", "linear"] | None = None
    inner_size: Count | None = None
    read_out: ReadOut | None = None
    templates: Path | None = None  # a JSON object, see docs/checkpoints
    max_critique_tokens: Count | None = None


class Loss(_Part):
    """Weights of the parts of the loss, see `mmreward_trainer.losses`."""

    critique: NotNegative = 1.0  # 0: a scalar model without critiques
    score: NotNegative = 1.0
    none: NotNegative = 0.0  # of scores without a critique, for rows that have reasons
    tie: NotNegative = 0.1
    centring: NotNegative = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class OwnCritiques(_Part):
    """From `from_step` on, scores are learned on critiques that the model samples itself.

    The paper scores the critiques of the data only, but when served the model reads its own.
    """

    from_step: Annotated[int, Field(ge=0)] | None = None  # None: never
    temperature: Positive = 1.0


class Lora(_Part):
    """Low-rank adapters on the language model's linear layers; merged when exported."""

    rank: Count
    alpha: Positive | None = None  # None: twice the rank
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Optimisation(_Part):
    """The schedule. `pairs_per_step` is over all processes and accumulated batches."""

    epochs: Positive = 1.0
    max_steps: Count | None = None
    pairs_per_step: Count = 24
    pairs_per_batch: Count = 1  # of one process, in one forward pass
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: for layers' matrices, see `optimizer`
    learning_rate: Positive = 1e-6
    head_learning_rate: Positive | None = None  # None: as the rest; the head starts from nothing
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warm_up_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: NotNegative = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: Positive = 1.0


class Run(_Part):
    """How it runs; nothing here changes what is learned, precision apart."""

    seed: int = 0
    precision: Literal["float32", "bf16-mixed", "bf16"] = "bf16-mixed"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    share_prompt: bool = True
    gradient_checkpointing: bool = False
    cpu: bool = False
    save_every_steps: Count = 100
    keep_saves: Count = 2
    validate_every_steps: Count | None = None  # None: at the end only
    validation_pairs: Count = 200  # of those that are judged with self-written critiques
    export_dtype: Literal["bfloat16", "float32"] = "bfloat16"


class CritiqueConfig(_Part):
    """One run of `mmreward-train critique`."""

    model: Path
    data: Data
    reward: Reward = Reward()
    loss: Loss = Loss()
    own_critiques: OwnCritiques = OwnCritiques()
    train_vision: bool = False
    lora: Lora | None = None
    optimisation: Optimisation = Optimisation()
    run: Run = Run()

    @model_validator(mode="after")
    def _fits(self) -> CritiqueConfig:
        if self.loss.score == 0 and self.loss.critique == 0:
            raise ValueError("loss.score and loss.critique are both 0: nothing is learned")
        if self.own_critiques.from_step is not None and self.loss.critique == 0:
            raise ValueError(
                "own_critiques.from_step: a model that learns no critiques writes none"
            )
        if self.lora is not None and self.train_vision:
            raise ValueError("train_vision: adapters are put into the language model only")
        return self


def load_config(file: Path | None, changes: dict[str, Any]) -> CritiqueConfig:
    """Settings of critique training, see `load_settings`."""
    return load_settings(CritiqueConfig, file, changes)


def load_settings(kind: type[Config], file: Path | None, changes: dict[str, Any]) -> Config:
    """Settings of a TOML file with some of them replaced.

    Args:
        changes: dotted name (`optimisation.learning_rate`) -> value.
    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or out of its range.
    """
    settings: dict[str, Any] = {}
    if file is not None:
        try:
            settings = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{file}: {error}") from error
    for name, value in changes.items():
        *parents, last = name.split(".")
        place = settings
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{name}: {parent} is no group of settings")
        place[last] = value
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(describe(error)) from error


def parse_change(text: str) -> tuple[str, Any]:
    """`name=value` of a command line, the value as TOML writes it; a bare word is text.

    Raises:
        ConfigError: no `=`.
    """
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"{text!r} is not name=value")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value
