"""The database of `napier sweep` (docs/sweep.md has its schema) as a table."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from napier import _core
from napier.results import Drawing, Table


def read_sweep(path: str | os.PathLike[str]) -> Table:
    """The figures of a sweep, a record for each model, text or task, and arithmetic: a column for
    each metric.

    plot() draws the divergence against bits a weight; x="energy_pj" and others against these.
    Raises FileNotFoundError, Error for what is no such database.

        >>> table = napier.read_sweep("results.db")            # doctest: +SKIP
        >>> axes = table.where(source="stories").plot()        # doctest: +SKIP
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name}: there is no such file; give a database of napier sweep")
    try:
        with sqlite3.connect(f"file:{name}?mode=ro", uri=True) as database:
            rows = database.execute(
                """SELECT m.path, s.name, a.name, r.metric, r.value FROM result r
                   JOIN model m ON m.id = r.model JOIN source s ON s.id = r.source
                   JOIN subject a ON a.id = r.subject ORDER BY r.model, r.source, r.subject"""
            ).fetchall()
    except sqlite3.DatabaseError as error:
        raise _core.Error(f"{name}: is no database of napier sweep: {error}") from error
    records: dict[tuple[str, str, str], dict[str, Any]] = {}
    for model, source, arith, metric, value in rows:
        record = records.setdefault(
            (model, source, arith),
            {"model": model, "source": source, "arith": arith, "weight_bits": None},
        )
        record[metric] = value
    return Table(
        list(records.values()),
        f"sweep {name}",
        None,
        Drawing("points", "weight_bits", "kl_mean", "arith", "kl_low", "kl_high"),
    )
