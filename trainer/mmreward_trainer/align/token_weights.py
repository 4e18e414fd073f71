"""Which tokens a correction changed, and what they weigh (RLHF-V, arXiv 2312.00849).

The data hold a corrected answer and the original, not where the corrections are. Both forms find
them with difflib on token ids: matching runs of at least `MIN_MATCH` tokens are kept, shorter ones
belong to the change, and what lies between kept runs is a segment.

- `paper`: corrected tokens weigh γ = 5 and the sum is divided by N = |y_u| + γ |y_c|. A segment
  that is empty on one side (an insertion, a deletion) counts on the other. Compared are the
  answers, after the last `MIN_MATCH` tokens of the prompt, so that equal beginnings are a kept run
  whatever their length; without difflib's treatment of frequent tokens (`autojunk`); and in an
  order that does not depend on which answer is preferred, because difflib's result may.
- `released`: the code of RLHF-V's release compares the whole sequences from the second token on,
  prompt included, rejected against chosen, with difflib's defaults; a segment counts only if it is
  not empty on either side; corrected tokens weigh 1.1 and nothing is divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

MIN_MATCH = 3
Form = Literal["paper", "released"]
Span = tuple[int, int]
"""First token, and the one behind the last."""


@dataclass(frozen=True)
class DenseWeights:
    """How corrected tokens are found and weighed.

    Attributes:
        gamma: weight of a corrected token, the others weigh 1.
        normalise: whether the weighted sum is divided by the sum of the weights.
        insertions: whether segments that are empty on one side count on the other.
        whole_sequence: compare from the prompt's second token on, with difflib's defaults.
    """

    gamma: float
    normalise: bool
    insertions: bool
    whole_sequence: bool
    min_match: int = MIN_MATCH

    @classmethod
    def of(cls, form: Form, *, gamma: float | None = None) -> DenseWeights:
        """A named form, with another γ if one is given."""
        if form == "paper":
            return cls(5.0 if gamma is None else gamma, True, True, False)
        return cls(1.1 if gamma is None else gamma, False, False, True)

    def changed(
        self, prompt: Sequence[int], chosen: Sequence[int], rejected: Sequence[int]
    ) -> tuple[list[bool], list[bool]]:
        """Whether each token of chosen, and each of rejected, is a corrected one.

        Args:
            prompt: token ids that both answers follow, placeholders of pictures included.
        """
        start = 1 if self.whole_sequence else max(0, len(prompt) - self.min_match)
        context = list(prompt[start:])
        answers = (context + list(chosen), context + list(rejected))
        found = ([False] * len(chosen), [False] * len(rejected))
        for spans in self._segments(*answers):
            if not self.insertions and any(first == end for first, end in spans):
                continue
            for side, (first, end) in zip(found, spans, strict=True):
                for i in range(max(first, len(context)), end):
                    side[i - len(context)] = True
        return found

    def _segments(self, chosen: list[int], rejected: list[int]) -> list[tuple[Span, Span]]:
        """Segments of both sides, chosen first."""
        if self.whole_sequence or rejected < chosen:
            turned = changed_spans(rejected, chosen, self.min_match, autojunk=self.whole_sequence)
            return [(b, a) for a, b in turned]
        return changed_spans(chosen, rejected, self.min_match)


def changed_spans(
    before: list[int], after: list[int], min_match: int, *, autojunk: bool = False
) -> list[tuple[Span, Span]]:
    """Segments in which two token sequences differ, in order; one side may be empty."""
    if before == after:
        return []
    matcher = SequenceMatcher(None, before, after, autojunk=autojunk)
    kept = [
        (block.a, block.b, block.size)
        for block in matcher.get_matching_blocks()
        if block.size >= min_match
    ]
    segments = []
    i = j = 0
    for i_kept, j_kept, size in [*kept, (len(before), len(after), 0)]:
        if i_kept > i or j_kept > j:
            segments.append(((i, i_kept), (j, j_kept)))
        i, j = i_kept + size, j_kept + size
    return segments
