"""Every setting of `mmreward-train align mm-dpo` and `align dense-dpo`.

MM-DPO's defaults are the paper's β (arXiv 2502.10391: β0 0.1, w 0.5, k 0.5) with the rest of its
released script: learning rate 1e-6, one epoch, cosine, warm-up 0.1, SFT weight 0.25, 12 pairs per
step on each process (a step counts the pairs of all processes here: 96 is 12 on eight). Dense DPO's
are the paper's (arXiv 2312.00849: β 0.5, γ 5, 7 epochs, learning rate 5e-7, batch 32, warm-up 0.1);
with `loss.form = "released"` β and γ are those of its released script, the schedule stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from mmreward_client import dynamic_beta
from mmreward_client.config import check_address
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mmreward_trainer.critique.configuration import Count, Form, Lora, NotNegative, Positive

Share = Annotated[float, Field(ge=0, lt=1)]
Address = Annotated[str, AfterValidator(check_address)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AlignData(_Part):
    """What is trained on: JSON lines, parquet, or folders that `datasets` saved (docs/data.md).

    Ties have no preferred answer and are left out, counted.
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
    max_tokens: Count = 32768  # of one answer's sequence, pictures included
    max_image_bytes: Count = 16 * 2**20
    max_image_pixels: Count = 25_000_000
    workers: Annotated[int, Field(ge=0)] = 2


class MMDPOLoss(_Part):
    """The β of a pair, see `betas`, and the SFT term."""

    rule: Literal["paper", "given", "released-column", "released-implicit", "plain"] = "paper"
    beta: Positive = 0.1  # β0
    w: NotNegative | None = None  # None: 0.5, of the released rules 0.1
    k: NotNegative = 0.5
    basis: Literal["raw", "calibrated"] = "raw"  # the column `delta` or `delta_calibrated`
    column: str | None = None  # another than the rule's own
    without_margin: Literal["drop", "beta0"] = "drop"
    sft: NotNegative = 0.25

    @model_validator(mode="after")
    def _fits(self) -> MMDPOLoss:
        if self.column is not None and self.rule in ("released-implicit", "plain"):
            raise ValueError(f"column: the rule {self.rule} reads none")
        if self.basis == "calibrated" and self.column is not None:
            raise ValueError(f"basis calibrated: the column {self.column} is read, leave one out")
        if self.basis == "calibrated" and self.rule != "paper":
            raise ValueError(f"basis calibrated: the rule {self.rule} reads no δ from a column")
        dynamic_beta(0.0, beta0=self.beta, w=self.w or 0.0, k=self.k)
        return self


class DenseDPOLoss(_Part):
    """The weights of corrected tokens, see `token_weights`, and the SFT term."""

    form: Literal["paper", "released"] = "paper"
    beta: Positive | None = None  # None: 0.5, released 0.1
    gamma: Positive | None = None  # None: 5, released 1.1
    sft: NotNegative = 0.0


class AlignOptimisation(_Part):
    """The schedule. `pairs_per_step` is over all processes and accumulated batches."""

    epochs: Positive = 1.0
    max_steps: Count | None = None
    pairs_per_step: Count = 96
    pairs_per_batch: Count = 1  # of one process, in one forward pass
    learning_rate: Positive = 1e-6
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warm_up_share: Share = 0.1
    weight_decay: NotNegative = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: Positive = 1.0


class AlignRun(_Part):
    """How it runs; nothing here changes what is learned, precision apart."""

    seed: int = 0
    precision: Literal["float32", "bf16-mixed", "bf16"] = "bf16-mixed"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    gradient_checkpointing: bool = False
    cpu: bool = False
    save_every_steps: Count = 100
    keep_saves: Count = 2
    validate_every_steps: Count | None = None  # None: at the end only
    export_dtype: Literal["bfloat16", "float32"] = "bfloat16"


class AlignSettings(_Part):
    """What both methods share."""

    model: Path
    data: AlignData
    train_vision: bool = False
    lora: Lora | None = None
    optimisation: AlignOptimisation = AlignOptimisation()
    run: AlignRun = AlignRun()

    @model_validator(mode="after")
    def _vision(self) -> AlignSettings:
        if self.lora is not None and self.train_vision:
            raise ValueError("train_vision: adapters are put into the language model only")
        return self


class Margins(_Part):
    """Where δ comes from: the rows, or a running service (see `live_margins.ServiceOptions`).

    Its key is `MMREWARD_API_KEY` of the environment: settings are written beside the run.
    """

    source: Literal["column", "service"] = "column"
    urls: tuple[Address, ...] = ()
    pin: Annotated[str, Field(min_length=1)] = "first"
    kind: Literal["critique", "judge"] | None = None
    critiques: Count = 1
    look_ahead: Annotated[int, Field(ge=0)] = 8  # batches of each process
    concurrency: Count = 8
    timeout_s: Positive = 120.0
    silence_timeout_s: Positive | None = None
    cache_pairs: Annotated[int, Field(ge=0)] = 100_000
    max_lost_calls: Count = 20

    @model_validator(mode="after")
    def _fits(self) -> Margins:
        if self.source == "service" and not self.urls:
            raise ValueError('source service: urls = ["http://..."] of its replicas are missing')
        # The resolved settings of a run name every field, and are read again to resume it.
        unread = {
            name
            for name, field in type(self).model_fields.items()
            if name != "source" and getattr(self, name) != field.default
        }
        if self.source == "column" and unread:
            raise ValueError(f"source column: {', '.join(sorted(unread))} would not be read")
        return self


class MMDPOSettings(AlignSettings):
    """One run of `mmreward-train align mm-dpo`."""

    loss: MMDPOLoss = MMDPOLoss()
    margins: Margins = Margins()

    @model_validator(mode="after")
    def _fits(self) -> MMDPOSettings:
        if self.margins.source == "service":
            if self.loss.rule != "paper":
                raise ValueError(f"margins.source service: loss.rule {self.loss.rule} reads no δ")
            if self.loss.column is not None:
                raise ValueError("loss.column: margins.source service reads no column")
        if self.loss.rule == "released-implicit" and self.optimisation.pairs_per_step < 2:
            raise ValueError("loss.rule released-implicit needs several pairs in a forward pass")
        return self


class DenseDPOOptimisation(AlignOptimisation):
    """The schedule of RLHF-V's paper."""

    epochs: Positive = 7.0
    pairs_per_step: Count = 32
    learning_rate: Positive = 5e-7


class DenseDPOSettings(AlignSettings):
    """One run of `mmreward-train align dense-dpo`."""

    loss: DenseDPOLoss = DenseDPOLoss()
    optimisation: DenseDPOOptimisation = DenseDPOOptimisation()
