"""Groups of the benchmark: what is sent, and what the table makes of the measurements."""

from __future__ import annotations

import io
import itertools
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from group_work import AnswerGroup, group_request, groups_of, marked, single_requests
from groups_report import summary
from mmreward_client.schema import GroupItem, GroupsRequest
from mmreward_service.judging.schedule import schedule
from PIL import Image
from workload import drawn_judgements


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photos: one with two questions of three answers, one with a single question."""
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (64, 48), colour).save(tmp_path / name)
    rows = [
        ("a.png", "First?", ["one", "two", "one"]),
        ("a.png", "Second?", ["three", " ", "x" * 700]),
        ("b.png", "Third?", ["four", "five"]),
    ]
    lines = [
        {"id": str(i), "image": image, "prompt": prompt, "responses": [{"text": t} for t in texts]}
        for i, (image, prompt, texts) in enumerate(rows)
    ]
    (tmp_path / "groups.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_further_answers_come_from_other_questions_about_the_photo(photos: Path) -> None:
    """Own answers first, then those to the other questions; equal and empty ones left out, long
    ones cut; a photo with too few is passed over, and none at all is an error."""
    [two_a, two_b] = groups_of(photos, 2, 5)
    assert (two_a.prompt, two_a.responses) == ("First?", ("one", "two"))
    assert (two_b.prompt, two_b.responses) == ("Third?", ("four", "five"))
    [four] = groups_of(photos, 4, 5)
    assert four.prompt == "First?"
    assert four.responses == ("one", "two", "three", "x" * 600)
    assert groups_of(photos, 2, 1) == [two_a]
    with pytest.raises(ValueError, match="5 different answers"):
        groups_of(photos, 5, 1)


def test_drawn_groups_have_as_many_answers_as_asked_for() -> None:
    """All of them different."""
    assert [len(set(one.responses)) for one in groups_of(Path("drawn"), 16, 2)] == [16, 16]


def test_the_single_requests_are_the_comparisons_of_the_group() -> None:
    """The same texts in the same orders, by the service's own schedule; each asks for one."""
    group = AnswerGroup("g", drawn_judgements(1)[0].image, "Which?", ("a", "b", "c", "d"))

    def played(bodies: list[str]) -> list[tuple[str, str]]:
        games = []
        for body in bodies:
            request = GroupsRequest.model_validate(json.loads(body))
            for item in map(GroupItem.model_validate, request.items):
                texts = item.responses
                for game in schedule(len(texts), request.comparisons, request.orders):
                    games.append((texts[game.first], texts[game.second]))
        return games

    together = played(group_request(group, 1, "both", 8))
    singles = single_requests(group, itertools.count(2), 8, one_picture=False)
    apart = played(singles)
    assert len({json.loads(body)["media"]["k"] for body in singles}) == 12
    same = single_requests(group, itertools.count(20), 8, one_picture=True)
    assert played(same) == apart
    assert len({json.loads(body)["media"]["k"] for body in same}) == 1
    assert len(together) == 12
    assert sorted(together) == sorted(apart)
    balanced = played(group_request(group, 3, "balanced", 8))
    assert len(balanced) == 6
    assert set(map(frozenset, balanced)) == set(map(frozenset, together))


def test_a_mark_makes_another_picture_of_the_same_size() -> None:
    """No cache knows it, and the rest of the picture is there."""
    image = drawn_judgements(1)[0].image
    pictures = [
        Image.open(io.BytesIO(b64decode(marked(image, number).partition(",")[2])))
        for number in (1, 257)
    ]
    assert pictures[0].size == pictures[1].size == Image.open(io.BytesIO(image)).size
    assert pictures[0].getpixel((4, 4)) != pictures[1].getpixel((4, 4))
    far = [picture.crop((64, 64, 200, 200)).tobytes() for picture in pictures]
    assert far[0] == far[1]


def test_ratios_are_taken_group_by_group() -> None:
    """Each way beside one by one on the same group, not between medians of different groups."""

    def entry(way: str, group: str, computed: int, wall_s: float, pictures: int) -> dict[str, Any]:
        return {
            "way": way,
            "answers": 4,
            "group": group,
            "comparisons": 12,
            "prompt_tokens": 1000,
            "computed_tokens": computed,
            "wall_s": wall_s,
            "engine": {"pictures_encoded": pictures},
        }

    measured = [
        entry("one_by_one", "a", 1000, 8.0, 12),
        entry("group", "a", 250, 4.0, 1),
        entry("group", "b", 1000, 1.0, 1),
        entry("one_by_one", "b", 2000, 10.0, 12),
    ]
    group, base = summary(measured, ["group", "one_by_one"])
    assert group["times_fewer_tokens"]["values"] == [4.0, 2.0]
    assert group["times_faster"]["values"] == [2.0, 10.0]
    assert base["times_fewer_tokens"]["values"] == [1.0, 1.0]
    assert (group["pictures_encoded"], base["pictures_encoded"]) == ([1, 1], [12, 12])
