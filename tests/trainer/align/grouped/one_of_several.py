"""One process of two that share the completions of three prompts, two each of the middle one.

Prints what its part of them earned, as JSON: first as it should be, then with a prompt of process 1
that cannot be read. Usage: one_of_several.py URL (RANK and WORLD_SIZE as a launcher sets them,
MEETING a file that is not there yet).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import torch.distributed as dist
from mmreward_trainer.align.grouped.rewards import GroupedReward

SIZE, END = 4, 2
TEXTS = [f"{'e' * (i % 5)}--" for i in range(12)]


def arguments(places: range, *, is_broken: bool = False) -> dict[str, Any]:
    """The completions at these places; plain texts, so that the prompts tell the groups apart."""
    return {
        "prompts": [None if is_broken else f"Question {i // SIZE}?" for i in places],
        "completions": [TEXTS[i] for i in places],
        "completion_ids": [[5, 9] if i == 7 else [5, END] for i in places],
    }


def main() -> None:
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        "gloo", init_method=f"file://{os.environ['MEETING']}", rank=rank, world_size=processes
    )
    share = len(TEXTS) // processes
    reward = GroupedReward(
        sys.argv[1], num_generations=SIZE, end_token_ids=[END], timeout_s=60.0, retries=0
    )
    mine = range(rank * share, (rank + 1) * share)
    for is_broken in (False, rank == 1):
        values: dict[str, float] = {}
        try:
            given = arguments(mine, is_broken=is_broken)
            found: Any = asyncio.run(reward(**given, log_metric=values.__setitem__))
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        null = values.get("grouped_reward/null")
        print(json.dumps({"rank": rank, "rewards": found, "null": null}), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
