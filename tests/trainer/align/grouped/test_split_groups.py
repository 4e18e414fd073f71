"""Groups that are split over processes: the rewards of two processes are those of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mmreward_client.testing import LocalService
from mmreward_trainer.align.grouped.gathering import SplitGroup, parts, refuse_split, whole_groups
from mmreward_trainer.align.grouped.rewards import GroupedReward

from .conftest import END, call
from .one_of_several import SIZE, TEXTS, arguments

ALONE: Mapping[str, str] = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def in_two_processes(url: str, folder: Path) -> list[list[dict[str, Any]]]:
    """What each process printed."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("one_of_several.py")), url],
            env=os.environ | ALONE
            | {"RANK": str(rank), "WORLD_SIZE": "2", "MEETING": str(folder / "meeting")},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=500) for process in processes]
    found = [
        [json.loads(line) for line in out.splitlines() if line.startswith('{"rank"')]
        for out, _ in said
    ]
    assert [len(one) for one in found] == [2, 2], said
    return found


def test_two_processes_get_the_rewards_of_one(service: LocalService, tmp_path: Path) -> None:
    """Six completions each of groups of four: the middle group is asked about once, and whole.

    Where one of them cannot read its prompts, both are told, nobody waits, and nothing is asked.
    """
    reward = GroupedReward(service.url, num_generations=SIZE, end_token_ids=[END])
    whole = call(reward, **arguments(range(len(TEXTS))))
    alone = sorted(json.dumps(one.items) for one in service.asked)
    assert whole.count(None) == 1
    (first, broken_first), (second, broken_second) = in_two_processes(service.url, tmp_path)
    assert first["rewards"] + second["rewards"] == whole
    assert sorted(json.dumps(one.items) for one in service.asked[3:]) == alone
    assert [first["null"], second["null"]] == [0.0, pytest.approx(1 / 6)]
    assert broken_second["rewards"].startswith("TypeError")
    assert broken_first["rewards"].startswith("PeerFailed: process 1: TypeError")


def test_a_split_is_refused_where_that_is_wanted() -> None:
    """The message names the settings; whole groups on every process are no split."""
    refuse_split(8, 4, 2)
    with pytest.raises(SplitGroup, match="per_device_train_batch_size x steps_per_generation"):
        refuse_split(6, 4, 2)


def test_the_process_with_the_first_completion_asks() -> None:
    """Every group is asked about by exactly one process, whatever the shares."""
    groups = whole_groups([f"{i // 4}" for i in range(12)], 4)
    for counts in ([6, 6], [3, 3, 3, 3], [12], [4, 8], [1, 11]):
        owners = [
            [part.places[0] for part in parts(groups, counts, own) if part.is_mine]
            for own in range(len(counts))
        ]
        assert sorted(place for one in owners for place in one) == [0, 4, 8]
    [first, second] = ([p.is_mine for p in parts(groups, [6, 6], own)] for own in (0, 1))
    assert (first, second) == ([True, True, False], [False, False, True])
