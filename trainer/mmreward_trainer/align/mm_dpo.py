"""MM-DPO (arXiv 2502.10391): DPO in which a pair's β grows with the margin of a reward model.

    from datasets import load_dataset
    from mmreward_trainer.align.mm_dpo import MMDPOConfig, MMDPOTrainer

    trainer = MMDPOTrainer(
        model="Qwen/Qwen2.5-VL-3B-Instruct",
        args=MMDPOConfig(output_dir="out", loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.25]),
        train_dataset=pairs,            # images, prompt, chosen, rejected, delta
    )

`beta` of the configuration is β0. The paper tries SFT weights of 0, 0.1, 0.25, 0.5 and 1; its
released code has 0.25. The SFT term is TRL's, the mean over the tokens of chosen answers; the
released code, with one pair per batch, takes the mean of the pairs' means.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import gather as gather_tensors
from datasets import Dataset
from mmreward_client import dynamic_beta
from torch.utils.data import DataLoader

from mmreward_trainer.align import betas
from mmreward_trainer.align.collating import (
    MARGINS,
    AskingCollator,
    Batch,
    Collate,
    MarginCollator,
)
from mmreward_trainer.align.live_ahead import LiveCallback, LiveMargins
from mmreward_trainer.align.live_margins import ServiceMargins
from mmreward_trainer.align.margins import ColumnMargins, MarginSource
from mmreward_trainer.align.objective import answer_log_probs, dpo_losses
from mmreward_trainer.align.statistics import Bounds, PairFigures
from mmreward_trainer.align.trainer import PairConfig, PairTrainer, TokenLogProbs

_COLUMNS = {"released-column": "ls_factor", "given": "beta"}
_BASES = {"raw": "delta", "calibrated": "delta_calibrated"}
POLICIES = ("drop", "beta0")


@dataclass
class MMDPOConfig(PairConfig):
    """TRL's settings of DPO, and those of the β of a pair."""

    beta_rule: str = field(
        default="paper",
        metadata={"help": "paper | given | released-column | released-implicit | plain"},
    )
    w: float | None = field(
        default=None, metadata={"help": "Largest relative increase; None: 0.5, released rules 0.1."}
    )
    k: float = field(default=0.5, metadata={"help": "How fast the paper's β saturates with δ."})
    basis: str = field(default="raw", metadata={"help": "δ as it is, or `calibrated`."})
    margin_column: str | None = field(
        default=None, metadata={"help": "Another column than the rule's own."}
    )
    without_margin: str = field(
        default="drop", metadata={"help": "A pair without δ: `drop` it, or train it with `beta0`."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (
            ("beta_rule", betas.RULES),
            ("basis", tuple(_BASES)),
            ("without_margin", POLICIES),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}")
        # Training on raw δ under the name of calibrated ones must not happen without a word.
        if self.basis == "calibrated" and self.margin_column is not None:
            raise ValueError(
                f"basis calibrated: margin_column {self.margin_column} is read, leave one out"
            )
        if self.basis == "calibrated" and self.beta_rule != "paper":
            raise ValueError(
                f"basis calibrated: the beta_rule {self.beta_rule} reads no δ from a column"
            )
        if self.w is None:
            self.w = betas.default_w(self.beta_rule)
        # The formula's own bounds of w and k, before the first step.
        dynamic_beta(0.0, beta0=self.beta, w=self.w, k=self.k)

    def column(self) -> ColumnMargins | None:
        """The column of the rule; None for rules without one."""
        if self.beta_rule in ("released-implicit", "plain"):
            return None
        name = self.margin_column or _COLUMNS.get(self.beta_rule) or _BASES[self.basis]
        # The released code takes 1 where the data have no such field.
        absent = 1.0 if self.beta_rule == "released-column" else None
        return ColumnMargins(name, positive=self.beta_rule == "given", absent=absent)


class MMDPOTrainer(PairTrainer):
    """TRL's DPOTrainer with a β of each pair.

    Args:
        margin_source: where margins come from; None reads the configuration's column. A
            `ServiceMargins` is asked ahead of the step. Another one that has to wait wants
            `dataloader_num_workers` above 0, see `margins`; with 0 a warning.
        others: as `DPOTrainer`.

    Raises:
        ValueError: a loss in which a pair's β has no meaning; released-implicit with one pair per
            forward pass, of which it would draw none.
        MarginError: a row whose margin is no finite number, or no row with one.
    """

    args: MMDPOConfig

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: MMDPOConfig | None = None,
        *,
        margin_source: MarginSource | None = None,
        **arguments: Any,
    ) -> None:
        args = MMDPOConfig("mm-dpo") if args is None else args
        if not isinstance(args, MMDPOConfig):
            raise TypeError(f"args is an MMDPOConfig, not a {type(args).__name__}")
        self.live: LiveMargins | None = None
        if isinstance(margin_source, ServiceMargins):
            self.live = LiveMargins(margin_source, args)
        column = args.column()
        self.margin_source = column if margin_source is None else margin_source
        if args.beta_rule in ("released-implicit", "plain"):
            self.margin_source = None
        if self.live is None and not isinstance(self.margin_source, ColumnMargins | None):
            _warn_without_workers(args)
        # Reason -> training rows without a margin; of live margins those that were trained on.
        self.lacking: dict[str, int] = {}
        if isinstance(self.margin_source, ColumnMargins):
            held_out = arguments.get("eval_dataset")
            # TRL takes one set or several by name.
            for table in held_out.values() if isinstance(held_out, Mapping) else [held_out]:
                if isinstance(table, Dataset):
                    self.margin_source.check(table)
            if isinstance(arguments.get("train_dataset"), Dataset):
                self.lacking = self.margin_source.check(arguments["train_dataset"])
        if args.beta_rule == "paper":
            self.margin_name = "delta"
        elif args.beta_rule == "released-column":
            self.margin_name = "ls_factor"
        super().__init__(model=model, ref_model=ref_model, args=args, **arguments)
        if self.live is not None:
            self.add_callback(LiveCallback(self.live))
        if args.beta_rule == "released-implicit":
            _refuse_single_pairs(self)

    def wrapped(self, collate: Collate) -> Collate:
        if self.margin_source is None:
            return collate
        if self.live is not None:
            return AskingCollator(collate)
        return MarginCollator(collate, self.margin_source)

    def get_train_dataloader(self) -> DataLoader[Any]:
        loader = super().get_train_dataloader()
        if self.live is not None:
            # Batches that are held back would fill the device; each is moved there for its pass.
            loader.device = None
        return loader

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], torch.Tensor]:
        """As of `PairTrainer`; live margins are waited for here, and the wait is logged."""
        if self.live is None:
            return super().get_batch_samples(epoch_iterator, num_batches, device)
        self.live.waited_s = 0.0
        found = super().get_batch_samples(self.live.ahead(epoch_iterator), num_batches, device)
        self._metrics["train"]["margin_wait_s"].append(self.live.waited_s)
        for batch in found[0]:
            for one in batch[MARGINS]:
                if one.value is None:
                    self.lacking[one.reason or "null"] = (
                        self.lacking.get(one.reason or "null", 0) + 1
                    )
        return found

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """As of `PairTrainer`; margins of held-out pairs are asked for here."""
        if self.live is not None and MARGINS not in inputs:
            inputs = self.live.completed(inputs)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def used(self, batch: Batch) -> torch.Tensor:
        if self.margin_source is None or self.args.without_margin == "beta0":
            return super().used(batch)
        return torch.tensor([one.value is not None for one in batch[MARGINS]])

    def bounds(self) -> Bounds:
        if self.args.beta_rule == "paper":
            assert self.args.w is not None
            return Bounds(self.beta, (1.0 + self.args.w) * self.beta)
        if self.args.beta_rule.startswith("released"):
            return Bounds(betas.SMALLEST_RELEASED_BETA)
        return Bounds()

    def figures(self, tokens: TokenLogProbs, batch: Batch) -> PairFigures:
        policy = answer_log_probs(tokens.policy)
        reference = answer_log_probs(tokens.reference)
        chosen, rejected = (policy - reference).chunk(2)
        margin, lacking = self._margins(batch)
        beta = self._betas(batch, margin, (chosen - rejected).detach()).to(policy)
        pairs = len(beta)
        nothing = torch.zeros_like(beta)
        return PairFigures(
            used=self.used(batch).to(policy),
            lacking=lacking.to(policy),
            margin=margin.to(policy),
            beta=beta,
            loss=dpo_losses(chosen - rejected, beta),
            nll=-policy[:pairs],
            tokens=tokens.answers[:pairs].sum(1).to(policy),
            chosen_ratio=chosen,
            rejected_ratio=rejected,
            chosen_log_prob=policy[:pairs],
            rejected_log_prob=policy[pairs:],
            extra_chosen=nothing,
            extra_rejected=nothing,
        )

    def _margins(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(margin or 0, whether there is none), both (P,) in float64."""
        if self.margin_source is None:
            zeros = torch.zeros(len(batch["input_ids"]) // 2, dtype=torch.float64)
            return zeros, zeros
        values = [one.value for one in batch[MARGINS]]
        return (
            torch.tensor([0.0 if one is None else one for one in values], dtype=torch.float64),
            torch.tensor([one is None for one in values], dtype=torch.float64),
        )

    def _betas(self, batch: Batch, margin: torch.Tensor, leads: torch.Tensor) -> torch.Tensor:
        """(P,); a pair without a margin has β0."""
        rule, beta0, w = self.args.beta_rule, self.beta, self.args.w
        assert w is not None
        plain = torch.full_like(margin, beta0)
        # A batch's own β says nothing of held-out pairs, whose last batch may be of one pair.
        if rule == "plain" or (rule == "released-implicit" and not self.model.training):
            return plain
        if rule == "released-implicit":
            return self._implicit(leads, w).expand(len(margin))
        if rule == "paper":
            found = dynamic_beta(margin, beta0=beta0, w=w, k=self.args.k)
        elif rule == "released-column":
            found = betas.released_column(margin, beta0, w)
        else:
            found = margin
        lacks = torch.tensor([one.value is None for one in batch[MARGINS]])
        return torch.where(lacks, plain, found)

    def _implicit(self, leads: torch.Tensor, w: float) -> torch.Tensor:
        everywhere = gather_tensors(leads.contiguous())
        # By step and place in the step: alike on all processes, and the same after resuming.
        generator = torch.Generator().manual_seed(
            hash((self.args.seed, self.state.global_step, self._place())) % 2**63
        )
        return betas.released_implicit(everywhere, self.beta, w, generator)

    def _place(self) -> int:
        """How many forward passes of this step came before."""
        step = (self.model.training, self.state.global_step)
        last, place = getattr(self, "_last_place", (None, 0))
        self._last_place = (step, place + 1 if last == step else 0)
        return self._last_place[1]


def _warn_without_workers(args: MMDPOConfig) -> None:
    if args.dataloader_num_workers == 0:
        warnings.warn(
            "dataloader_num_workers is 0: margin_source is asked in the training process, and "
            "every step waits for it; with workers it is asked ahead of the step",
            stacklevel=3,
        )


def _refuse_single_pairs(trainer: MMDPOTrainer) -> None:
    args = trainer.args
    at_once = args.per_device_train_batch_size * args.world_size
    rest = 0
    if hasattr(trainer.train_dataset, "__len__") and not args.dataloader_drop_last:
        rest = len(trainer.train_dataset) % at_once
    if at_once < 2 or (rest == 1 and args.world_size == 1):
        raise ValueError(
            "released-implicit draws 80 % of the pairs of a forward pass over all processes, which "
            "of a single pair are none (the released code fails there): use more pairs per batch, "
            "more processes, or dataloader_drop_last where one pair would remain"
        )
