"""Figures as rows that pandas, notebooks and plots take."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

Record = Mapping[str, Any]


class Table(Sequence[Record]):
    """A sequence of records (dictionaries with the same keys). `title` says what of, `details` how
    it was measured; `plot()` draws it where a drawing is defined."""

    def __init__(
        self,
        records: Sequence[Record],
        title: str,
        details: Record | None = None,
        axes: tuple[str, str] | None = None,
        group: str = "arith",
    ) -> None:
        self._records = [dict(record) for record in records]
        self.title = title
        self.details = dict(details or {})
        self._axes = axes
        self._group = group

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

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws it with matplotlib: a line or a bar for each arithmetic. Raises ValueError where a
        drawing would say nothing."""
        if self._axes is None:
            raise ValueError(f"{self.title}: there is no drawing of it; take to_frame().plot()")
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots()[1]
        across, up = self._axes
        if across == self._group:
            names = [str(record[across]) for record in self._records]
            ax.bar(names, [record[up] for record in self._records])
            ax.tick_params(axis="x", labelrotation=30)
        else:
            groups: dict[str, list[dict[str, Any]]] = {}
            for record in self._records:
                groups.setdefault(str(record[self._group]), []).append(record)
            for name, rows in groups.items():
                ax.plot([r[across] for r in rows], [r[up] for r in rows], marker="o", label=name)
            ax.set_xscale("log", base=2)
            ax.legend()
        ax.set_xlabel(across)
        ax.set_ylabel(up)
        ax.set_title(self.title)
        return ax

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
