"""Judgements about handwritten digits that the bundled model was not trained on."""

from __future__ import annotations

import io

from mmreward_trainer.digits.images import Split, compose, render_cells
from mmreward_trainer.digits.pairs import draw_pair
from PIL import Image
from workload import Judgement

SEED = 20_261_121


def held_out_judgements(count: int, split: Split = "test") -> list[Judgement]:
    """The true and the false answer of count / 2 pairs, clean and hard as they are drawn.

    Wordings are those of training; pictures are of the split. Every picture is sent as PNG.
    """
    judgements: list[Judgement] = []
    for index in range((count + 1) // 2):
        pair = draw_pair(split, "trained", SEED, index)
        buffer = io.BytesIO()
        Image.fromarray(compose(render_cells(list(pair.cells)))).save(buffer, format="PNG")
        for name, claim in (("true", pair.chosen), ("false", pair.rejected)):
            judgements.append(
                Judgement(f"{split}_{index}_{name}", buffer.getvalue(), pair.prompt, claim.text)
            )
    return judgements[:count]
