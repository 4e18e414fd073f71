"""Groups that TRL has split over processes, put together again before anybody is asked.

TRL (1.16) deals out consecutive completions to processes in the order of their ranks and calls the
reward function on each process with its own. If the completions of a process are no whole number of
groups, the groups at its edges lie on two or more processes, and comparing a part of a group gives
other scores than comparing all of it. So the texts are exchanged first; the process that holds the
first completion of a group asks for all of it, with its own copy of the pictures, and the scores
are exchanged back.

Values travel as JSON in tensors of bytes, over a gloo group of their own: the reward function runs
beside the training thread, where a GPU backend would take the wrong device, and no other collective
may come in between. Nothing is unpickled.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist


class SplitGroup(ValueError):
    """Completions that are no whole groups; the message names the settings."""


class PeerFailed(RuntimeError):
    """Another process could not get its rewards, so that nobody goes on."""


@dataclass(frozen=True)
class Part:
    """What one process knows of a group, by places among all completions of all processes.

    Attributes:
        places: of the whole group.
        is_mine: whether this process asks for it: the one that holds the first completion.
    """

    places: range
    is_mine: bool


class Ranks:
    """The processes of a run. Every process has to make the same calls in the same order.

    Args:
        timeout_s: after which a process that waits for the others gives up.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout = timedelta(seconds=timeout_s)
        self._group: Any = None

    @property
    def count(self) -> int:
        return dist.get_world_size() if _is_distributed() else 1

    @property
    def own(self) -> int:
        """The number of this process."""
        return dist.get_rank() if _is_distributed() else 0

    def join(self) -> None:
        """Make the group of processes, once; before the first `await` of a call, so that several
        reward functions make theirs in the same order everywhere."""
        if self._group is None and self.count > 1:
            self._group = dist.new_group(backend="gloo", timeout=self._timeout)

    async def gather(self, value: Any) -> list[Any]:
        """The JSON values of all processes, in the order of their ranks."""
        return await asyncio.to_thread(_gather, self._group, value, self.count)


def whole_groups(keys: Sequence[str], size: int, processes: int = 1) -> list[range]:
    """The places of each group among completions in order.

    Args:
        keys: of the prompts that the completions are of.
        size: completions of a prompt.

    Raises:
        SplitGroup: no whole number of groups, or a group with completions of several prompts.
    """
    if len(keys) % size:
        raise SplitGroup(
            f"{len(keys)} completions on {processes} processes are no whole groups of {size}: "
            "num_generations of the reward function must be that of GRPOConfig"
        )
    groups = [range(start, start + size) for start in range(0, len(keys), size)]
    for places in groups:
        if len({keys[place] for place in places}) > 1:
            raise SplitGroup(
                f"completions {places[0]} to {places[-1]} are not of one prompt: num_generations "
                f"is {size} in the reward function and another in GRPOConfig (or "
                "num_generations_eval is), or a sampler of your own deals out the prompts"
            )
    return groups


def refuse_split(count: int, size: int, processes: int) -> None:
    """Refuse completions of one process that are a part of a group.

    Raises:
        SplitGroup: they are.
    """
    if count % size:
        raise SplitGroup(
            f"a process has {count} completions, no whole groups of {size}, and there are "
            f"{processes} processes: let per_device_train_batch_size x steps_per_generation be a "
            "multiple of num_generations (steps_per_generation is gradient_accumulation_steps "
            'unless it is set), or let groups be put together again with split="gather"'
        )


def parts(groups: Sequence[range], counts: Sequence[int], own: int) -> list[Part]:
    """Who asks for which group.

    Args:
        counts: completions of each process, in the order of ranks.
    """
    start = sum(counts[:own])
    mine = range(start, start + counts[own])
    return [Part(places, places[0] in mine) for places in groups]


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def _gather(group: Any, value: Any, count: int) -> list[Any]:
    content = torch.frombuffer(bytearray(json.dumps(value).encode("ascii")), dtype=torch.uint8)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(count)]
    dist.all_gather(sizes, torch.tensor([len(content)]), group=group)
    widest = int(max(int(size) for size in sizes))
    padded = torch.zeros(widest, dtype=torch.uint8)
    padded[: len(content)] = content
    found = [torch.zeros(widest, dtype=torch.uint8) for _ in range(count)]
    dist.all_gather(found, padded, group=group)
    return [
        json.loads(bytes(one[: int(size)].tolist())) for one, size in zip(found, sizes, strict=True)
    ]
