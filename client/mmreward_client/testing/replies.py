"""From a request to a good reply, in the contract's shape: the part that does nothing wrong.

Margins follow the service's rules. Without a model there is no calibration to look up: `prob` is
sigmoid(δ) and `delta_calibrated` is δ, or both are null. A group's scores are the means over its
comparisons, in which every response gets the score it has by itself; orders agree therefore.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mmreward_client.beta import dynamic_beta
from mmreward_client.schema import (
    Beta,
    Comparison,
    GroupItem,
    GroupResult,
    GroupsRequest,
    Orders,
    PairItem,
    PairResult,
    PairsRequest,
    Scored,
    ScoreItem,
    ScoreRequest,
    ScoreResult,
    parse_item,
)
from mmreward_client.testing.answers import Answers, Side, prompt_key

AnyRequest = ScoreRequest | PairsRequest | GroupsRequest
Result = ScoreResult | PairResult | GroupResult


@dataclass(frozen=True)
class Replier:
    """Makes the entries of a reply.

    Args:
        spoil: status of the failure that the item at this place has to have, or None.
    """

    answers: Answers
    is_calibrated: bool = True

    def data(self, request: AnyRequest, spoil: Callable[[int], str | None]) -> list[Result]:
        """One entry per item, in order."""
        return [
            self._result(request, index, raw, spoil(index))
            for index, raw in enumerate(request.items)
        ]

    def _result(self, request: AnyRequest, index: int, raw: Any, spoilt: str | None) -> Result:
        hashes = {key: _sha256(uri) for key, uri in request.media.items()}
        if isinstance(request, ScoreRequest):
            item = parse_item(ScoreItem, raw)
            if isinstance(item, str) or spoilt:
                return ScoreResult.model_validate(_failed(index, raw, item, spoilt))
            side = Side(
                prompt_key(_plain(item.prompt)), item.response, _media(item, hashes), item.id
            )
            return ScoreResult(index=index, id=item.id, **dict(self.answers(side)))
        if isinstance(request, PairsRequest):
            pair = parse_item(PairItem, raw)
            if isinstance(pair, str) or spoilt:
                return PairResult.model_validate(_failed(index, raw, pair, spoilt))
            return self._pair(index, pair, request, hashes)
        group = parse_item(GroupItem, raw)
        if isinstance(group, str) or spoilt:
            return GroupResult.model_validate(_failed(index, raw, group, spoilt) | _no_scores(raw))
        return self._group(index, group, request, hashes)

    def _pair(
        self, index: int, pair: PairItem, request: PairsRequest, hashes: Mapping[str, str]
    ) -> PairResult:
        prompt, media = prompt_key(_plain(pair.prompt)), _media(pair, hashes)
        chosen, rejected = (
            self.answers(Side(prompt, response, media)) for response in (pair.chosen, pair.rejected)
        )
        both: dict[str, Any] = {"index": index, "id": pair.id}
        both |= {"chosen": chosen, "rejected": rejected}
        for name, side in (("chosen", chosen), ("rejected", rejected)):
            if side.score is None:
                return PairResult(**both, status=side.status, error=f"{name}: {side.error}")
        assert chosen.score is not None
        assert rejected.score is not None
        delta = chosen.score - rejected.score
        calibrated = delta if self.is_calibrated else None
        return PairResult(
            **both,
            status="ok",
            delta=delta,
            prob=None if calibrated is None else _sigmoid(calibrated),
            delta_calibrated=calibrated,
            beta=_beta(request.beta, delta, calibrated),
            orders=(delta, delta) if request.kind == "judge" else None,
        )

    def _group(
        self, index: int, group: GroupItem, request: GroupsRequest, hashes: Mapping[str, str]
    ) -> GroupResult:
        prompt, media = prompt_key(_plain(group.prompt)), _media(group, hashes)
        count = len(group.responses)
        whole = group.complete if group.complete is not None else [True] * count
        own = [self.answers(Side(prompt, response, media)) for response in group.responses]
        players = [i for i in range(count) if whole[i]]
        opponents = len(players) - 1
        if request.comparisons != "all":
            opponents = min(opponents, request.comparisons)
        games = [
            _compared(first, second, own)
            for first, second in _games(players, opponents, request.orders)
        ]
        played = [game for game in games if game.status == "ok"]
        took_part = [sum(i in (game.first, game.second) for game in played) for i in range(count)]
        lost = any(took_part[i] == 0 for i in players) or len(played) < len(games)
        status = "partial" if lost else "ok"
        return GroupResult(
            index=index,
            id=group.id,
            status="internal" if not played else status,
            scores=[own[i].score if took_part[i] else None for i in range(count)],
            scores_from=took_part,
            comparisons=games,
            order_consistency=1.0 if played and request.orders == "both" else None,
            error=f"{len(games) - len(played)} comparisons failed" if lost else None,
        )


def _games(players: list[int], opponents: int, orders: Orders) -> list[tuple[int, int]]:
    """Neighbours in a ring, `opponents` of them for each (one more for an odd number)."""
    count = len(players)
    seen: dict[frozenset[int], tuple[int, int]] = {}
    for distance in range(1, -(-opponents // 2) + 1):
        for place, player in enumerate(players):
            other = players[(place + distance) % count]
            seen.setdefault(frozenset((player, other)), (player, other))
    once = list(seen.values())
    if orders == "balanced":
        return once
    return [game for first, second in once for game in ((first, second), (second, first))]


def _compared(first: int, second: int, own: list[Scored]) -> Comparison:
    one, other = own[first], own[second]
    for side in (one, other):
        if side.status != "ok":
            return Comparison(first=first, second=second, status=side.status, error=side.error)
    assert one.score is not None
    assert other.score is not None
    return Comparison(
        first=first,
        second=second,
        scores=(one.score, other.score),
        critique="Compared by their own scores.",
        critiques_ok=1,
    )


def _failed(index: int, raw: Any, item: Any, spoilt: str | None) -> dict[str, Any]:
    """What a broken item says of itself comes before what was to go wrong with it."""
    found = raw.get("id") if isinstance(raw, Mapping) else None
    said = item if isinstance(item, str) else f"injected: {spoilt}"
    status = "invalid" if isinstance(item, str) else spoilt
    id_ = found if isinstance(found, str) else None
    return {"index": index, "id": id_, "status": status, "error": said}


def _no_scores(raw: Any) -> dict[str, Any]:
    responses = raw.get("responses") if isinstance(raw, Mapping) else None
    count = len(responses) if isinstance(responses, list) else 0
    return {"scores": [None] * count, "scores_from": [0] * count}


def _beta(beta: Beta, delta: float, calibrated: float | None) -> float | None:
    basis = delta if beta.basis == "raw" else calibrated
    if basis is None:
        return None
    return dynamic_beta(basis, beta0=beta.beta0, w=beta.w, k=beta.k)


def _sigmoid(x: float) -> float:
    return 0.5 * (1.0 + math.tanh(x / 2.0))


def _media(item: Any, hashes: Mapping[str, str]) -> tuple[str, ...]:
    references = item.images if item.video is None else item.video.frames
    return tuple(hashes.get(one) or _sha256(one) for one in references)


def _plain(prompt: Any) -> Any:
    return prompt if isinstance(prompt, str) else [turn.model_dump() for turn in prompt]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
