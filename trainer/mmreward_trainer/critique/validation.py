"""Accuracy on validation pairs, as the model would be served: it writes its critiques itself.

Accuracy on the data's own critiques is not reported: the verdict stands in them, and any model that
can read reaches nearly everything (it measures the annotator). A pair with an unfinished critique
counts as not judged, a tie of two scores as wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Listing
from dataclasses import dataclass
from typing import Any

import torch

from mmreward_trainer.critique.encoding import EncodedPair, PairEncoder
from mmreward_trainer.critique.packing import Packer, model_inputs
from mmreward_trainer.critique.writing import Writer


@dataclass(frozen=True)
class Judged:
    """A pair as the model judged it.

    Attributes:
        delta: the margin; None where a critique was not finished or a score is not finite.
    """

    where: str
    category: str | None
    is_tie: bool
    delta: float | None
    critiques: tuple[str | None, str | None]


@dataclass(frozen=True)
class Judge:
    """Judges the pairs of a table.

    Attributes:
        rows: the table; the first `limit` of its rows are judged.
        with_critiques: False for a scalar model, which is read without any.
    """

    encoder: PairEncoder
    packer: Packer
    writer: Writer
    rows: Any
    limit: int
    pairs_per_batch: int
    with_critiques: bool

    @torch.no_grad()
    def judge(self, model: Any, *, together: bool = False) -> list[Judged]:
        """All pairs in order. Every process judges all of them, so that none waits for another."""
        was_training = model.training
        model.eval()
        judged: list[Judged] = []
        number = min(self.limit, len(self.rows))
        for start in range(0, number, self.pairs_per_batch):
            stop = min(start + self.pairs_per_batch, number)
            pairs = [self.encoder.encode(self.rows[i]) for i in range(start, stop)]
            judged += self._judge(model, pairs, together)
        model.train(was_training)
        return judged

    @torch.no_grad()
    def judge_given(self, model: Any) -> list[Judged]:
        """All pairs by the critiques of the data, which hold the verdict: an upper bound.

        Pairs without critiques are left out.
        """
        model.eval()
        build = self.encoder.builder
        judged: list[Judged] = []
        for row in self.rows.select(range(min(self.limit, len(self.rows)))):
            pair = self.encoder.encode(row)
            if not pair.learns_critiques:
                continue
            sequences = [[build.critique(answer, learn=False) for answer in pair.answers]]
            [delta] = self._deltas(model, [pair], sequences)
            critiques = (pair.chosen.critique, pair.rejected.critique)
            judged.append(Judged(pair.where, pair.category, pair.is_tie, delta, critiques))
        return judged

    def _judge(self, model: Any, pairs: list[EncodedPair], together: bool) -> list[Judged]:
        build = self.encoder.builder
        if not self.with_critiques:
            sequences = [[build.bare(answer) for answer in pair.answers] for pair in pairs]
            deltas = self._deltas(model, pairs, sequences)
            return [
                Judged(pair.where, pair.category, pair.is_tie, delta, (None, None))
                for pair, delta in zip(pairs, deltas, strict=True)
            ]
        written = self.writer.write(model, pairs, temperature=0.0, together=together)
        sequences = [
            [
                # An unfinished critique is read as well, so that every process runs alike; its
                # score is thrown away below.
                build.critique(answer, [] if ids is None else ids, learn=False)
                for answer, ids in zip(pair.answers, critiques, strict=True)
            ]
            for pair, critiques in zip(pairs, written, strict=True)
        ]
        deltas = self._deltas(model, pairs, sequences)
        decode = build.renderer.decode
        return [
            Judged(
                pair.where,
                pair.category,
                pair.is_tie,
                None if None in critiques else delta,
                (
                    None if critiques[0] is None else decode(critiques[0]),
                    None if critiques[1] is None else decode(critiques[1]),
                ),
            )
            for pair, critiques, delta in zip(pairs, written, deltas, strict=True)
        ]

    def _deltas(
        self, model: Any, pairs: list[EncodedPair], sequences: list[Any]
    ) -> list[float | None]:
        """Margin of each pair; None where a score is not finite: NaN would count as wrong."""
        groups = [self.encoder.group(pair, own) for pair, own in zip(pairs, sequences, strict=True)]
        batch = self.packer.pack(groups)
        scores = model(**model_inputs(batch, model.device)).scores.tolist()
        deltas = [scores[places[0]] - scores[places[1]] for places in batch.score_of]
        return [delta if math.isfinite(delta) else None for delta in deltas]


def figures(judged: Listing[Judged]) -> dict[str, float]:
    """Numbers of judged pairs with a preference; accuracy is left out where there are none."""
    ranked = [one for one in judged if not one.is_tie]
    deltas = [one.delta for one in ranked if one.delta is not None]
    found: dict[str, float] = {
        "pairs": len(ranked),
        "judged": len(deltas),
        "unfinished": len(ranked) - len(deltas),
    }
    if deltas:
        found["accuracy"] = sum(delta > 0 for delta in deltas) / len(deltas)
        found["margin"] = sum(deltas) / len(deltas)
    return found
