"""The sequences of a batch as rows of tensors; what the answers of a pair share is there once.

Both answers of a pair are read after the same picture and question, and the model computes these
once if they stand in one row:

    row:        [ shared prompt | answer A, its critique | answer B, its critique | padding ]
    positions:  [ 0 ... p-1     | p ...                  | p ...                  |         ]

A token attends to what precedes it in the shared prompt and in its own branch, so each branch is
computed as if the other were not there; a test holds it against separate forward passes. With
`share` off every sequence is a row of its own, as plain training does it: for attention
implementations that take no mask of their own (flash attention), and to compare with.

Where a template has its picture behind the answer nothing can be shared but the picture's encoding,
which is then handed to each branch (`image_order`, `video_order`).
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Listing
from dataclasses import dataclass
from typing import Any

import torch

from mmreward_trainer.critique.media import EncodedMedia, stack_media
from mmreward_trainer.critique.sequences import Sequence

PAD_BRANCH = -1

RopeIndex = Callable[..., tuple[torch.Tensor, torch.Tensor]]
"""A model's own `get_rope_index`, where its positions have three dimensions."""


@dataclass(frozen=True)
class Group:
    """The sequences of one row of data: same media, prompts that begin alike."""

    sequences: list[Sequence]
    media: EncodedMedia


@dataclass(frozen=True)
class MediaTokens:
    """Ids that mark places of pictures and of frames; either may be None."""

    image: int | None
    video: int | None

    def types(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What stands at each place of ids: 0 text or padding, 1 a picture, 2 a frame."""
        types = torch.zeros_like(ids)
        for kind, token in ((1, self.image), (2, self.video)):
            if token is not None:
                types[(ids == token) & mask.bool()] = kind
        return types

    def never_written(self, tokenizer_size: int, vocabulary: int) -> list[int]:
        """Ids that nothing a model writes in training may hold.

        These placeholders, because a text that is read in again would ask for a picture that is
        not there, and the padding of the vocabulary, which serving masks, too.
        """
        placeholders = [one for one in (self.image, self.video) if one is not None]
        return [*placeholders, *range(tokenizer_size, vocabulary)]


@dataclass(frozen=True)
class PackedBatch:
    """Tensors of one forward pass; R rows of length L, T learned tokens, N scores.

    Attributes:
        inputs: arguments of the model's forward pass: `input_ids` (R, L), `branches` (R, L) with 0
            for the shared prompt, 1, 2, ... for what follows it and -1 for padding, `position_ids`
            (R, L) or (3, R, L), the processor's tensors, `image_order` and `video_order`,
            `learned_at` (2, T), `learned_ids` (T,), `read_at` (2, N).
        score_of: for group g and its sequence s, score_of[g][s] is the place among the N scores,
            or None.
        tokens: all tokens that are computed, padding left out.
    """

    inputs: dict[str, torch.Tensor]
    score_of: list[list[int | None]]
    tokens: int


class Packer:
    """Packs groups for one model.

    Args:
        rope_index: the model's `get_rope_index`, None where positions are plain.
        rope_arguments: which of the processor's tensors it takes.
        share: whether sequences of a group stand in one row.
    """

    def __init__(
        self,
        media_tokens: MediaTokens,
        pad_id: int,
        *,
        rope_index: RopeIndex | None,
        rope_arguments: frozenset[str] = frozenset(),
        share: bool = True,
    ) -> None:
        self._tokens = media_tokens
        self._pad_id = pad_id
        self._rope_index = rope_index
        self._rope_arguments = rope_arguments
        self.share = share

    def pack(self, groups: Listing[Group]) -> PackedBatch:
        """One batch.

        Raises:
            ValueError: no group, or a group without a sequence.
        """
        if not groups or not all(group.sequences for group in groups):
            raise ValueError("nothing to pack")
        rows = [row for group in groups for row in self._rows(group)]
        width = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), width), self._pad_id)
        branches = torch.full((len(rows), width), PAD_BRANCH)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)] = torch.tensor(row.ids)
            branches[i, : len(row.ids)] = torch.tensor(row.branches)
        inputs: dict[str, torch.Tensor] = {
            "input_ids": ids,
            "branches": branches,
            "position_ids": self._positions(groups, rows, width),
            **joined([group.media for group in groups]),
        }
        inputs |= self._orders(groups, rows)
        score_of = self._targets(groups, rows, inputs)
        return PackedBatch(inputs, score_of, tokens=sum(len(row.ids) for row in rows))

    def _rows(self, group: Group) -> list[_Row]:
        if not self.share:
            return [_Row.alone(group, i) for i in range(len(group.sequences))]
        return [_Row.joined(group)]

    def _orders(self, groups: Listing[Group], rows: list[_Row]) -> dict[str, torch.Tensor]:
        """Which picture stands at each place of the batch that holds one, in order."""
        orders: dict[str, list[int]] = {"image": [], "video": []}
        first = {"image": 0, "video": 0}
        at = 0
        for group in groups:
            kind, count = group.media.kind, group.media.count
            own = range(first[kind], first[kind] + count)
            first[kind] += count
            for row in rows[at : at + (1 if self.share else len(group.sequences))]:
                orders[kind] += list(own) * row.copies(self._media_ids(group.media))
                at += 1
        return {f"{kind}_order": torch.tensor(order) for kind, order in orders.items() if order}

    def _media_ids(self, media: EncodedMedia) -> list[int]:
        """The ids at which the media of a row are put in, in order."""
        marks = (self._tokens.image, self._tokens.video)
        return [token for piece in media.pieces for token in piece if token in marks]

    def _positions(self, groups: Listing[Group], rows: list[_Row], width: int) -> torch.Tensor:
        """Positions (R, L), or (3, R, L): those that each sequence has when it stands alone."""
        sequences = [sequence for group in groups for sequence in group.sequences]
        whole = self._whole_positions(groups, sequences)
        packed = torch.zeros((whole.shape[0], len(rows), width), dtype=torch.long)
        first = 0
        for i, row in enumerate(rows):
            for place, (member, start, end) in row.spans.items():
                source = whole[:, first + member, start:end]
                packed[:, i, place : place + end - start] = source
            first += row.members
        return packed if self._rope_index is not None else packed[0]

    def _whole_positions(self, groups: Listing[Group], sequences: list[Sequence]) -> torch.Tensor:
        """Positions (dimensions, sequences, longest) of the sequences, each standing alone."""
        longest = max(len(sequence.ids) for sequence in sequences)
        plain = torch.arange(longest)
        if self._rope_index is None:
            return plain.expand(1, len(sequences), longest)
        ids = torch.full((len(sequences), longest), self._pad_id)
        mask = torch.zeros_like(ids)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence.ids)] = torch.tensor(sequence.ids)
            mask[i, : len(sequence.ids)] = 1
        if not any(group.media.count for group in groups):
            return plain.expand(3, len(sequences), longest)
        types = self._tokens.types(ids, mask)
        # The model wants the sizes of all pictures, sequence by sequence.
        media = [group.media for group in groups for _ in group.sequences]
        sizes = {
            name: tensor for name, tensor in joined(media).items() if name in self._rope_arguments
        }
        positions, _ = self._rope_index(
            input_ids=ids, mm_token_type_ids=types, attention_mask=mask, **sizes
        )
        return positions

    def _targets(
        self, groups: Listing[Group], rows: list[_Row], inputs: dict[str, torch.Tensor]
    ) -> list[list[int | None]]:
        """Fills in `learned_at`, `learned_ids` and `read_at`; returns the place of each score."""
        learned: list[tuple[int, int, int]] = []
        read: list[tuple[int, int]] = []
        score_of: list[list[int | None]] = []
        row = 0
        for group in groups:
            places: list[int | None] = []
            for i, sequence in enumerate(group.sequences):
                packed, member = (rows[row], i) if self.share else (rows[row + i], 0)
                at = row if self.share else row + i
                for k in range(sequence.learned_from, sequence.learned_to):
                    # The state that predicts a token is that of the token before it.
                    learned.append((at, packed.place(member, k - 1), sequence.ids[k]))
                if sequence.read_at is None:
                    places.append(None)
                else:
                    places.append(len(read))
                    read.append((at, packed.place(member, sequence.read_at)))
            score_of.append(places)
            row += 1 if self.share else len(group.sequences)
        learned_at = torch.tensor(learned, dtype=torch.long).reshape(-1, 3)
        inputs["learned_at"] = learned_at[:, :2].T.contiguous()
        inputs["learned_ids"] = learned_at[:, 2].contiguous()
        inputs["read_at"] = torch.tensor(read, dtype=torch.long).reshape(-1, 2).T.contiguous()
        return score_of


@dataclass(frozen=True)
class _Row:
    """A packed row: its ids, their branches, and where each part came from."""

    ids: list[int]
    branches: list[int]
    shared: int  # tokens of the shared beginning
    spans: dict[int, tuple[int, int, int]]  # place in the row -> (member, start, end)
    members: int

    @classmethod
    def alone(cls, group: Group, member: int) -> _Row:
        ids = group.sequences[member].ids
        return cls(ids, [0] * len(ids), 0, {0: (0, 0, len(ids))}, 1)

    @classmethod
    def joined(cls, group: Group) -> _Row:
        shared = shared_length(group.sequences)
        ids = group.sequences[0].ids[:shared]
        branches = [0] * shared
        spans = {0: (0, 0, shared)} if shared else {}
        for i, sequence in enumerate(group.sequences):
            spans[len(ids)] = (i, shared, len(sequence.ids))
            ids = ids + sequence.ids[shared:]
            branches += [i + 1] * (len(sequence.ids) - shared)
        return cls(ids, branches, shared, spans, len(group.sequences))

    def place(self, member: int, index: int) -> int:
        """Where token `index` of a member stands in the row."""
        for place, (of, start, end) in self.spans.items():
            if index < self.shared:
                return index
            if of == member and start <= index < end:
                return place + index - start
        raise IndexError(f"token {index} of sequence {member}")

    def copies(self, media_ids: list[int]) -> int:
        """How often the media of the group stand in this row."""
        if not media_ids:
            return 0
        marks = set(media_ids)
        found = sum(token in marks for token in self.ids)
        return found // len(media_ids)


def shared_length(sequences: list[Sequence]) -> int:
    """Tokens that all sequences begin with, and that none of them learns or is read from."""
    limit = min(
        min(
            len(sequence.ids) - 1,
            sequence.learned_from - 1,
            len(sequence.ids) if sequence.read_at is None else sequence.read_at,
        )
        for sequence in sequences
    )
    first, *others = [sequence.ids for sequence in sequences]
    for i in range(limit):
        if any(other[i] != first[i] for other in others):
            return i
    return max(limit, 0)


def joined(media: list[EncodedMedia]) -> dict[str, torch.Tensor]:
    """Tensors of all rows' media, in order."""
    names = dict.fromkeys(name for one in media for name in one.tensors)
    return {
        name: stack_media([one.tensors[name] for one in media if name in one.tensors])
        for name in names
    }


def attention_allowed(branches: torch.Tensor) -> torch.Tensor:
    """Which key each query sees: (R, L) branches -> (R, 1, L, L) booleans.

    A padded token sees itself, so that no softmax runs over nothing.
    """
    length = branches.shape[1]
    query, key = branches[:, :, None], branches[:, None, :]
    earlier = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    same = torch.eye(length, dtype=torch.bool, device=branches.device)
    visible = (key == 0) | (key == query)
    allowed: torch.Tensor = (visible & earlier & (key != PAD_BRANCH)) | same
    return allowed[:, None]


def model_inputs(batch: PackedBatch, device: torch.device) -> dict[str, Any]:
    """The batch's tensors on a device."""
    return {name: tensor.to(device) for name, tensor in batch.inputs.items()}
