"""The reward functions over real HTTP: what is asked, and what becomes of every kind of failure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mmreward_client import PinMismatch, ServerError, TooLarge, Unauthorized
from mmreward_client.testing import Fault, FaultPlan, LocalService
from mmreward_service.engine.fake import FakeEngine
from mmreward_trainer.align.grouped.configuration import GroupedSettings
from mmreward_trainer.align.grouped.rewards import (
    CritiqueReward,
    GroupedReward,
    ServiceGone,
    SplitGroup,
)
from mmreward_trainer.align.grouped.serving import make_reward
from service_kit.threaded import running

from .conftest import END, call, logged, step

TEXTS = ["eeee", "e---", "ee--", "----"]
WORTH = [10.0, 2.5, 5.0, 0.0]


def grouped(service: LocalService | str, **more: Any) -> GroupedReward:
    url = service if isinstance(service, str) else service.url
    arguments = {"num_generations": 4, "end_token_ids": [END], "timeout_s": 20.0, "retries": 0}
    return GroupedReward(url, **(arguments | more))


def test_each_group_is_one_request_with_its_picture_once(service: LocalService) -> None:
    """Scores come back in the order of the completions, whatever the order of the replies."""
    reward = grouped(service, orders="balanced", aggregate="additive", model="local")
    assert call(reward, **step(TEXTS + TEXTS[::-1], 4)) == WORTH + WORTH[::-1]
    assert sorted(len(one.items) for one in service.asked) == [1, 1]
    for asked in service.asked:
        [item] = asked.items
        assert item["prompt"] == "What is it?"
        assert sorted(item["responses"]) == sorted(TEXTS)
        assert len(item["images"]) == 1
        assert asked.options["orders"] == "balanced"
        assert asked.options["aggregate"] == "additive"
    assert reward.counts == {"completions": 8, "status/ok": 2}


def test_a_cut_completion_is_not_compared_and_has_no_reward(service: LocalService) -> None:
    """Also None where only one is left; the paper's 0 for it has to be asked for by name."""
    arguments = step(TEXTS + TEXTS, 4, cut={1, 4, 5, 6})
    none = [10.0, None, 5.0, 0.0, None, None, None, None]
    reward = grouped(service)
    assert call(reward, **arguments) == none
    [asked] = service.asked
    assert asked.items[0]["complete"] == [True, False, True, True]
    assert reward.counts["null/incomplete"] == 4
    assert reward.counts["null/alone"] == 1
    zero = call(grouped(service, incomplete_reward=0.0), **arguments)
    assert zero == [10.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, None]


def test_a_failed_comparison_is_none_and_never_a_number(service: LocalService) -> None:
    """A whole group that failed, and one of whose responses failed: kept, or dropped as a whole."""
    service.script(Fault("null", status="unparsed"))
    reward = grouped(service)
    values = logged(reward, **step(TEXTS, 4))
    assert values["grouped_reward/null"] == values["grouped_reward/null_item"] == 1.0
    assert reward.counts["status/unparsed"] == 1
    with running(FakeEngine()) as url:
        texts = [*(f"{i} [[quality={q}]]" for i, q in enumerate((7, 3, 9))), "[[unparsed]]"]
        rewards = call(grouped(url), **step(texts, 4))
        assert rewards == [7.0, 3.0, 9.0, None]
        assert call(grouped(url, partial="drop"), **step(texts, 4)) == [None] * 4
        bias = [f"[[first_wins]] {i}" for i in range(4)]
        assert logged(grouped(url), **step(bias, 4))["grouped_reward/order_consistency"] == 0.0


def test_a_call_without_an_answer_stops_the_run_or_is_none(service: LocalService) -> None:
    """`raise` hands the error on; `none` keeps the other groups and counts, until patience ends."""
    arguments = step(TEXTS + TEXTS, 4)
    service.script(Fault("internal"))
    with pytest.raises(ServerError):
        call(grouped(service), **arguments)
    reward = grouped(service, on_failure="none", patience=2, max_in_flight=1)
    service.script(Fault("drop"), None)
    values: dict[str, float] = {}
    assert call(reward, **arguments, log_metric=values.__setitem__) == [None] * 4 + WORTH
    assert values["service/failed_calls"] == 1
    assert values["grouped_reward/null_call"] == 0.5
    service.script(*[Fault("internal")] * 6)
    for _ in range(2):
        assert call(reward, **arguments) == [None] * 8
    with pytest.raises(ServiceGone, match="3 steps in a row"):
        call(reward, **arguments)
    assert call(grouped(service, on_failure="none"), **arguments) == WORTH + WORTH
    with LocalService(api_key="k") as locked, pytest.raises(Unauthorized):
        call(grouped(locked, on_failure="none"), **arguments)


def test_another_model_stops_the_run_before_its_first_reward(service: LocalService) -> None:
    """The first reply's fingerprint holds from then on, whatever the policy for failures."""
    reward = grouped(service, on_failure="none")
    assert call(reward, **step(TEXTS, 4)) == WORTH
    service.fingerprint = "other weights"
    with pytest.raises(PinMismatch):
        call(reward, **step(TEXTS, 4))


def test_a_step_has_one_total_time_and_so_many_requests_at_once() -> None:
    """What has no turn in time is a failed call, not a wait; retries are told to the hook."""
    plan = FaultPlan([Fault("silent", seconds=30)] * 3)
    with LocalService(faults=plan) as slow:
        reward = grouped(slow, on_failure="none", timeout_s=1.0, max_in_flight=1)
        values = logged(reward, **step(TEXTS * 3, 4))
        assert values["service/failed_calls"] == 3
        assert len(slow.asked) == 1
        assert slow.most_in_flight == 1
    told: list[str] = []
    with LocalService(faults=[Fault("overloaded", retry_after_s=0)]) as busy:
        reward = grouped(busy, retries=2, on_event=lambda event: told.append(type(event).__name__))
        assert logged(reward, **step(TEXTS, 4))["service/retries"] == 1
    assert told.count("RetryPlanned") == 1


def test_completions_that_are_no_whole_groups_are_refused(service: LocalService) -> None:
    """Another number than TRL's, in count or in kind, before anything is sent."""
    with pytest.raises(SplitGroup, match="num_generations"):
        call(grouped(service), **step(TEXTS[:3], 3))
    with pytest.raises(SplitGroup, match="completions 0 to 3 are not of one prompt"):
        call(grouped(service), **step(TEXTS + TEXTS, 2))
    assert not service.asked
    with pytest.raises(ValueError, match="needs two"):
        grouped(service, num_generations=1)


def test_a_critique_model_scores_each_completion_by_itself(service: LocalService) -> None:
    """In requests of bounded size; cut and empty completions and nulls are None."""
    reward = CritiqueReward(
        service.url, end_token_ids=[END], items_per_request=2, mode="none", retries=0
    )
    texts = [*TEXTS, "", "e"]
    service.script(None, Fault("null", status="not_finite"))
    rewards = call(reward, **step(texts, 6, cut={5}))
    assert rewards[4:] == [None, None]
    # Either request may have been the second to arrive.
    assert rewards[:4] in ([*WORTH[:2], None, None], [None, None, *WORTH[2:]])
    assert [len(one.items) for one in service.asked] == [2, 2]
    assert {item["mode"] for one in service.asked for item in one.items} == {"none"}
    assert reward.counts["status/not_finite"] == 2


def test_what_is_too_large_for_one_request_goes_in_halves() -> None:
    """Each completion has the score it has alone; what is too large by itself is null, counted."""
    noise = np.random.default_rng(0).integers(0, 255, (3, 180, 180, 3), dtype=np.uint8)
    pictures = [noise[0, :60, :60], noise[1, :60, :60], noise[2]]

    def arguments(numbers: list[int]) -> dict[str, Any]:
        return {
            "prompts": [f"What is {i}?" for i in numbers],
            "completions": [f"answer {place}" for place, _ in enumerate(numbers)],
            "completion_ids": [[5, END]] * len(numbers),
            "images": [[pictures[i]] for i in numbers],
        }

    def reward(kind: Any = CritiqueReward, **more: Any) -> Any:
        return kind(url, end_token_ids=[END], retries=0, **{"on_failure": "none", **more})

    with running(FakeEngine(), max_body_bytes=25_000) as url:
        together = reward()
        found = call(together, **arguments([0, 2, 1]))
        assert found == call(reward(items_per_request=1), **arguments([0, 2, 1]))
        assert found[1] is None
        assert None not in found[::2]
        assert together.counts["status/too_large"] == 1
        # A group cannot go in halves.
        grouped = reward(GroupedReward, num_generations=2)
        found = call(grouped, **arguments([0, 0, 2, 2]))
        assert [one is None for one in found] == [False, False, True, True]
        assert grouped.counts["status/too_large"] == 1
        for kind, more in ((CritiqueReward, {}), (GroupedReward, {"num_generations": 2})):
            with pytest.raises(TooLarge, match="max_body_bytes"):
                call(reward(kind, on_failure="raise", **more), **arguments([0, 0, 2, 2]))
            # A run in which nothing fits is not worth going on with.
            hopeless = reward(kind, patience=1, **more)
            assert call(hopeless, **arguments([2, 2])) == [None, None]
            with pytest.raises(ServiceGone, match="every request was too large"):
                call(hopeless, **arguments([2, 2]))
    # What no picture is the cause of is so for every request.
    with running(FakeEngine(), max_in_flight=1) as url:
        for kind, more in (
            (CritiqueReward, {"critiques": 2}),
            (GroupedReward, {"num_generations": 2}),
        ):
            with pytest.raises(TooLarge, match="max_in_flight"):
                call(reward(kind, **more), **arguments([0, 0]))


@pytest.mark.parametrize("kind", ["groups", "scores"])
def test_a_run_gives_its_settings_to_the_client(kind: str) -> None:
    """Replicas, times and the fingerprint; a process group's only where there are others."""
    settings = GroupedSettings.model_validate(
        {
            "model": "policy",
            "data": {"train": ["prompts.jsonl"]},
            "service": {
                "urls": ["http://a:1", "http://b:2"],
                "timeout_s": 9,
                "silence_timeout_s": 7,
            },
            "reward": {"kind": kind},
        }
    )
    alone, together = (make_reward(settings, "f", "key", n).client.config for n in (1, 2))
    assert alone.urls == ("http://a:1", "http://b:2")
    assert (alone.timeout_s, alone.silence_timeout_s, alone.pin) == (9, 7, "f")
    assert alone.process_group_timeout_s is None
    assert together.process_group_timeout_s == settings.run.process_group_timeout_s
