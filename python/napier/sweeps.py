"""What `napier sweep` and `napier where` have measured, as tables."""

from __future__ import annotations

import json
import os
import sqlite3
from typing import Any

from napier import _core
from napier.results import Drawing, Table


def _existing(path: str | os.PathLike[str], what: str) -> str:
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name}: there is no such file; give {what}")
    return name


def read_sweep(path: str | os.PathLike[str]) -> Table:
    """The figures of a sweep, a record for each model, text or task, and arithmetic: a column for
    each metric.

    plot() draws the divergence against bits a weight; x="energy_pj" and others against these.
    Raises FileNotFoundError, Error for what is no such database.

        >>> table = napier.read_sweep("results.db")            # doctest: +SKIP
        >>> axes = table.where(source="stories").plot()        # doctest: +SKIP
    """
    name = _existing(path, "a database of napier sweep")
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


def read_where(path: str | os.PathLike[str]) -> Table:
    """What `napier where --json` wrote: a record for each arithmetic and matmul, with its role, its
    layer (None where it has none), the signal-to-noise ratio of its results and, where matmuls were
    switched alone, the model's loss_change and kl_mean by that one.

    plot() draws the heat map of one arithmetic, roles against layers; y="snr_db" another column.
    Raises FileNotFoundError, Error for what is no such file.

        >>> table = napier.read_where("where.json")            # doctest: +SKIP
        >>> axes = table.where(arith="lmul-m4").plot()         # doctest: +SKIP
    """
    name = _existing(path, "JSON of napier where")
    records: list[dict[str, Any]] = []
    try:
        with open(name, encoding="utf-8") as file:
            document = json.load(file)
        for entry in document["arithmetics"]:
            alone = {part["name"]: part for part in entry["parts"] if part["part"] == "matmul"}
            for matmul in document["matmuls"]:
                record = {
                    "arith": entry["arith"],
                    "matmul": matmul["name"],
                    "role": matmul["role"],
                    "layer": matmul["layer"],
                    "snr_db": matmul["snr_db"][entry["arith"]],
                }
                if part := alone.get(matmul["name"]):
                    record |= {key: part[key] for key in ("loss_change", "kl_mean")}
                records.append(record)
        details = {key: document[key] for key in ("model", "text", "ctx", "chunks")}
    except (ValueError, KeyError, TypeError) as error:
        raise _core.Error(f"{name}: is no JSON of napier where: {error}") from error
    is_alone = any("kl_mean" in record for record in records)
    return Table(
        records,
        f"where {details['model']} suffers",
        details,
        Drawing("heat", "layer", "kl_mean" if is_alone else "snr_db", "role"),
    )
