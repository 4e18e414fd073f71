"""Which pairs are not independent of each other.

Pairs that share a question id or a picture stand or fall together: whoever misreads the picture
misreads it for all of them. A bootstrap over single pairs would take them for independent draws and
give an interval that is too narrow, and folds that part them would test a map on pictures that it
was fitted on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def group_numbers(shared: Sequence[Iterable[str]]) -> NDArray[np.int64]:
    """The number of each pair's group, from what each pair has that others may have too.

    Two pairs are in one group if they have a name in common, or are linked by pairs that do.

    Args:
        shared: for each pair the names of its id and of its pictures.

    Returns:
        (pairs,) numbers from 0, every number in use.
    """
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    names: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    for pair, own in enumerate(shared):
        for name in own:
            rows.append(pair)
            columns.append(len(shared) + names.setdefault(name, len(names)))
    size = len(shared) + len(names)
    links = coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    _, labels = connected_components(links, directed=False)
    return np.unique(labels[: len(shared)], return_inverse=True)[1].astype(np.int64)
