"""Figures as rows that pandas, notebooks and plots take."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Drawing:
    """How a table is drawn: columns `x` and `y`, and as what.

    lines    a line for each of `group`, x on a logarithmic scale of 2
    bars     a bar a record; of several `group`s beside each other for each x
    stack    bars of x, made of the parts of `group`
    points   a point a record named by `group`; columns `low` and `high` are y's interval
    heat     cells of x by `group`, coloured by y
    """

    style: str
    x: str
    y: str
    group: str = "arith"
    low: str = ""
    high: str = ""


class Table(Sequence[Record]):
    """A sequence of records (dictionaries with the same keys). `title` says what of, `details` how
    it was measured; `plot()` draws it where a drawing is defined."""

    def __init__(
        self,
        records: Sequence[Record],
        title: str,
        details: Record | None = None,
        drawing: Drawing | None = None,
    ) -> None:
        self._records = [dict(record) for record in records]
        self.title = title
        self.details = dict(details or {})
        self._drawing = drawing

    @property
    def records(self) -> list[dict[str, Any]]:
        return [dict(record) for record in self._records]

    @property
    def columns(self) -> list[str]:
        seen: dict[str, None] = {}
        for record in self._records:
            seen.update(dict.fromkeys(record))
        return list(seen)

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._records[index]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._records)

    def to_frame(self) -> pandas.DataFrame:
        """A pandas.DataFrame, a row a record; `attrs` has title and details."""
        import pandas

        frame = pandas.DataFrame(self._records, columns=self.columns)
        frame.attrs.update(self.details, title=self.title)
        return frame

    def where(self, **values: Any) -> Table:
        """The records whose columns have these values: table.where(operands="gaussian")."""
        unknown = set(values) - set(self.columns)
        if unknown:
            raise ValueError(f"there is no column {sorted(unknown)}: there are {self.columns}")
        kept = [r for r in self._records if all(r.get(key) == v for key, v in values.items())]
        return Table(kept, self.title, self.details, self._drawing)

    def plot(self, ax: Axes | None = None, x: str | None = None, y: str | None = None) -> Axes:
        """Draws it with matplotlib as the reports do; `x` and `y` are other columns to draw. Raises
        ValueError where a drawing would say nothing."""
        d = self._drawing
        if d is None or not self._records:
            raise ValueError(f"{self.title}: there is no drawing of it; take to_frame().plot()")
        d = Drawing(d.style, x or d.x, y or d.y, d.group, *(("", "") if y else (d.low, d.high)))
        for column in (d.x, d.y):
            if column not in self.columns:
                raise ValueError(f"there is no column '{column}': there are {self.columns}")
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots()[1]
        groups: dict[Any, list[dict[str, Any]]] = {}
        for record in self._records:
            groups.setdefault(record[d.group], []).append(record)
        if d.style in ("lines", "heat"):
            for name, rows in groups.items():
                if len({r[d.x] for r in rows}) < len(rows):
                    raise ValueError(
                        f"{self.title}: several records of {d.group} {name} have the same {d.x}: "
                        "take one kind by where()"
                    )
        getattr(self, f"_draw_{d.style}")(ax, d, groups)
        ax.set_xlabel(d.x)
        ax.set_ylabel(d.group if d.style == "heat" else d.y)
        ax.set_title(self.title)
        return ax

    def _draw_lines(self, ax: Axes, d: Drawing, groups: dict[Any, list[dict[str, Any]]]) -> None:
        for name, rows in groups.items():
            ax.plot([r[d.x] for r in rows], [r[d.y] for r in rows], marker="o", label=str(name))
        ax.set_xscale("log", base=2)
        ax.legend()

    def _places(self, column: str) -> list[Any]:
        return list(dict.fromkeys(record[column] for record in self._records))

    def _draw_bars(self, ax: Axes, d: Drawing, groups: dict[Any, list[dict[str, Any]]]) -> None:
        places = self._places(d.x)
        alone = d.x == d.group
        width = 0.8 if alone else 0.8 / len(groups)
        for number, (name, rows) in enumerate(groups.items()):
            shift = 0.0 if alone else (number - (len(groups) - 1) / 2) * width
            at = [places.index(r[d.x]) + shift for r in rows]
            ax.bar(at, [r[d.y] for r in rows], width, label=str(name))
        ax.set_xticks(range(len(places)), [str(place) for place in places], rotation=30)
        if not alone:
            ax.legend()

    def _draw_stack(self, ax: Axes, d: Drawing, groups: dict[Any, list[dict[str, Any]]]) -> None:
        places = self._places(d.x)
        below = [0.0] * len(places)
        for name, rows in groups.items():
            heights = [sum(r[d.y] for r in rows if r[d.x] == place) for place in places]
            ax.bar(range(len(places)), heights, bottom=below, label=str(name))
            below = [b + h for b, h in zip(below, heights, strict=True)]
        ax.set_xticks(range(len(places)), [str(place) for place in places], rotation=30)
        ax.legend()

    def _draw_points(self, ax: Axes, d: Drawing, groups: dict[Any, list[dict[str, Any]]]) -> None:
        for name, rows in groups.items():
            known = [r for r in rows if all(_is_number(r.get(c)) for c in (d.x, d.y))]
            xs, ys = [r[d.x] for r in known], [r[d.y] for r in known]
            reach = None
            if d.low and all(_is_number(r.get(c)) for r in known for c in (d.low, d.high)):
                reach = [
                    [y - r[d.low] for r, y in zip(known, ys, strict=True)],
                    [r[d.high] - y for r, y in zip(known, ys, strict=True)],
                ]
            ax.errorbar(xs, ys, reach, fmt="o", capsize=2, label=str(name))
        ax.legend()

    def _draw_heat(self, ax: Axes, d: Drawing, groups: dict[Any, list[dict[str, Any]]]) -> None:
        columns = self._places(d.x)
        cells = [[math.nan] * len(columns) for _ in groups]
        for row, records in enumerate(groups.values()):
            for record in records:
                value = record.get(d.y)
                cells[row][columns.index(record[d.x])] = math.nan if value is None else value
        image = ax.imshow(cells, aspect="auto")
        labels = ["none" if column is None else str(column) for column in columns]
        ax.set_xticks(range(len(columns)), labels)
        ax.set_yticks(range(len(groups)), [str(name) for name in groups])
        ax.figure.colorbar(image, ax=ax, label=d.y)

    def _text_rows(self) -> list[list[str]]:
        def text(value: Any) -> str:
            if isinstance(value, float):
                return f"{value:.6g}"
            return "" if value is None else str(value)

        return [[text(record.get(column)) for column in self.columns] for record in self._records]

    def __repr__(self) -> str:
        rows = [self.columns, *self._text_rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([self.title, *lines])

    def _repr_html_(self) -> str:
        """What notebooks show."""
        head = "".join(f"<th>{html.escape(column)}</th>" for column in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._text_rows()
        )
        notes = ", ".join(f"{key} {value}" for key, value in self.details.items())
        return (
            f"<table><caption>{html.escape(self.title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table><p>{html.escape(notes)}</p>"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
