"""How wrong arithmetics are, and what they cost: as `napier error` and `cost` say."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from napier import _core
from napier.model import check_model
from napier.results import Drawing, Table

_SHOWN = ("products", "dots", "offsets")


def _names(arith: str | _core.Arithmetic | Sequence[str | _core.Arithmetic]) -> list[str]:
    names = [arith] if isinstance(arith, str | _core.Arithmetic) else list(arith)
    return [name.name if isinstance(name, _core.Arithmetic) else str(name) for name in names]


def error(
    arith: str | _core.Arithmetic | Sequence[str | _core.Arithmetic] = "lmul-m4",
    operands: str | Sequence[str] = "gaussian",
    show: str = "products",
    *,
    model: str | os.PathLike[str] | None = None,
    text: str = "",
    by: str = "role",
    pairs: int = 1 << 20,
    lengths: Sequence[int] = (),
    keep: Sequence[int] = (),
    reading: str = "adder",
    context: int = 512,
    chunks: int = 1,
    seed: int = 1614,
) -> Table:
    """How wrong products ("products"), sums of products ("dots") or L-Mul's constants ("offsets")
    are, a record for each source of operands and arithmetic.

    Operands are drawn from laws ("mantissa", "uniform", "loguniform", "gaussian", "student(4)"), or
    captured while the GGUF `model` reads `text`, by "role" or "matmul". docs/evaluation.md defines
    the figures; all names are those of `napier error --json`.

        >>> table = napier.error(["lmul-m4", "fp8_e4m3"], "mantissa")
        >>> [round(row["mean_abs"], 4) for row in table]
        [0.0296, 0.0293]
    """
    if show not in _SHOWN:
        raise ValueError(f"show is '{show}': give one of {', '.join(_SHOWN)}")
    for name, value, words in (("by", by, ("role", "matmul")),
                               ("reading", reading, ("adder", "formula"))):  # fmt: skip
        if value not in words:
            raise ValueError(f"{name} is '{value}': give {' or '.join(words)}")
    if model is not None:
        if not text:
            raise ValueError("a model's operands are captured while it reads a text: give text=")
        check_model(model, context, "f32")
    laws = [operands] if isinstance(operands, str) else list(operands)
    document = json.loads(
        _core.error_json(
            show,
            _names(arith),
            [] if model is not None else laws,
            None if model is None else os.fspath(model),
            text,
            by == "role",
            pairs,
            list(lengths),
            list(keep),
            reading == "formula",
            context,
            chunks,
            seed,
        )
    )
    details = {key: value for key, value in document.items() if key != show}
    records = [record for entry in document[show] for record in _records_of(entry, show)]
    several = len({record["operands"] for record in records}) > 1
    drawing = {
        "products": Drawing("bars", "operands" if several else "arith", "mean_abs"),
        "dots": Drawing("lines", "length", "snr_db"),
        "offsets": Drawing("heat", "l", "nmse", "k"),
    }[show]
    return Table(records, f"errors of {show}", details, drawing)


def _records_of(entry: dict[str, Any], show: str) -> list[dict[str, Any]]:
    if show != "offsets":
        errors = entry.pop("errors")
        closed = entry.pop("closed_form", None) or {}
        return [{**entry, **errors, **{f"closed_{key}": closed[key] for key in closed}}]
    return [
        {"operands": entry["operands"], "k": cell["k"], "l": cell["l"], "papers": cell["papers"]}
        | cell["products"]
        | {f"dots_{key}": value for key, value in cell["dots"].items()}
        for cell in entry["grid"]
    ]


def cost(
    model: str | os.PathLike[str],
    arith: str | _core.Arithmetic | Sequence[str | _core.Arithmetic] = (
        "f32",
        "bf16",
        "fp8_e4m3",
        "fp8_e5m2",
        "lmul-m4",
        "lmul-m3",
        "lmul-e4m3",
    ),
    *,
    plans: Mapping[str, str | _core.Plan] | None = None,
    prices: str = "osu018@horowitz45,horowitz45",
    context: int = 4096,
    batch: int = 1,
    tile: int = 128,
    by_role: bool = False,
) -> Table:
    """What a token of a model costs, a record for each arithmetic or plan (or, by_role, for each
    role in it): operations, bytes, and their energy in pJ.

    `model` is a GGUF file or a shape: "llama-3.1-8b", "llama-3.1-70b", "mistral-7b". Nothing is
    guessed: a price that no table has raises Error.

        >>> table = napier.cost("llama-3.1-8b", ["f32", "lmul-m4"])
        >>> table[1]["multiply_pj"] < table[0]["multiply_pj"]
        True
    """  # fmt: skip
    asked = [(name, _core.Plan(name)) for name in _names(arith)]
    for name, plan in (plans or {}).items():
        asked.append((name, plan if isinstance(plan, _core.Plan) else _core.Plan(plan)))
    if not asked:
        raise ValueError("nothing to price: give arith or plans")
    document = json.loads(_core.cost_json(os.fspath(model), asked, prices, context, batch, tile))
    records = []
    for plan_entry in document["plans"]:
        entries = plan_entry["roles"] if by_role else [plan_entry]
        for entry in entries:
            records.append(
                {"arith": plan_entry["arith"]}
                | ({"role": entry["role"], "in": entry["arith"]} if by_role else {})
                | entry["counts"]
                | {f"{key}_pj": value for key, value in entry["pj"].items()}
            )
    details = {key: document[key] for key in ("model", "ctx", "batch", "tile")}
    details["prices"] = prices
    return Table(records, f"cost of a token, {document['model']}", details,
                 Drawing("stack", "arith", "total_pj", "role") if by_role
                 else Drawing("bars", "arith", "total_pj"))  # fmt: skip
