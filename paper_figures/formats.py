"""One table, five formats: CSV (the numbers), Markdown, LaTeX (booktabs), HTML, and the terminal (rich)."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import rich.box
import rich.table
from rich.console import Console
from rich.text import Text

NOT_KNOWN = "–"
NOT_APPLICABLE = "n/a"


def percent(share: float) -> str:
    """A share as a sentence says it."""
    return f"{100 * share:.1f} %"


@dataclass(frozen=True)
class Column:
    """A column's header and how much it matters."""

    header: str
    wide: bool = False
    """Left out of the terminal's table where it would not fit; the files always have it."""
    words: bool = False
    """Text, set to the left; the first column always is."""
    quoted: bool = False
    """A published number: set apart from what was measured here."""


@dataclass(frozen=True)
class Table:
    """What a table says, before any format."""

    name: str
    """Stem of its files."""
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    """Cells as they are to be read, as many as columns; the first one names the row."""
    caption: str
    """What a reader must know to read the numbers right."""
    data: pd.DataFrame
    """The numbers behind the cells, in full precision, for the CSV file."""
    errors: tuple[tuple[str, str], ...] = ()
    """Rows that are an error instead of numbers: what it is about, and what to do."""
    bold: frozenset[tuple[int, int]] = frozenset()
    """Cells, as (row, column), that the caption says something about."""


def _left(table: Table) -> list[bool]:
    """Which columns are set to the left."""
    return [i == 0 or column.words for i, column in enumerate(table.columns)]


def _marked(table: Table, before: str, after: str, escape: Callable[[str], str] = str) -> list[list[str]]:
    """The rows' cells, bold ones between two marks."""
    return [
        [f"{before}{escape(cell)}{after}" if (i, j) in table.bold else escape(cell) for j, cell in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]


def to_csv(table: Table) -> str:
    """The numbers, not the cells."""
    return table.data.to_csv(index=False)


def to_markdown(table: Table) -> str:
    """A heading, the table (GitHub's Markdown), the caption."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    blank = [""] * (len(table.columns) - 2)
    lines = [f"## {table.title}", "", line([c.header for c in table.columns])]
    lines.append(line(["---" if left else "---:" for left in _left(table)]))
    lines += [line(row) for row in _marked(table, "**", "**")]
    lines += [line([what, f"**{message}**", *blank]) for what, message in table.errors]
    return "\n".join([*lines, "", table.caption, ""])


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "–": "--", "√": r"$\surd$",
    "<": r"$<$", ">": r"$>$", "→": r"$\rightarrow$", "²": r"$^2$", "α": r"$\alpha$",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def to_latex(table: Table) -> str:
    """A `table*` environment as wide as the page; the document needs the packages booktabs and graphicx."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    span, sides = len(table.columns) - 1, "".join("l" if left else "r" for left in _left(table))
    body = [line(row) for row in _marked(table, r"\textbf{", "}", _latex)]
    body += [
        rf"{_latex(what)} & \multicolumn{{{span}}}{{l}}{{\texttt{{{_latex(message)}}}}} \\"
        for what, message in table.errors
    ]
    head = [r"\begin{table*}[t]", r"\centering\small", rf"\caption{{{_latex(table.title + '. ' + table.caption)}}}"]
    head += [
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
    ]
    head += [
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        line([_latex(c.header) for c in table.columns]),
        r"\midrule",
    ]
    return "\n".join([*head, *body, r"\bottomrule", r"\end{tabular}}", r"\end{table*}", ""])


def to_html(table: Table) -> str:
    """A table and its caption; the page brings the style."""

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = [[k for k, on in (("quoted", c.quoted), ("left", c.words)) if on] for c in table.columns]
        marks = [f' class="{" ".join(kind)}"' if kind else "" for kind in kinds]
        return "".join(f"<{tag}{m}>{cell}</{tag}>" for m, cell in zip(marks, row, strict=True))

    rows = [f"<tr>{cells('td', row)}</tr>" for row in _marked(table, "<b>", "</b>", html.escape)]
    rows += [
        f'<tr class="error"><td>{html.escape(what)}</td>'
        f'<td colspan="{len(table.columns) - 1}"><code>{html.escape(message)}</code></td></tr>'
        for what, message in table.errors
    ]
    head = cells("th", [html.escape(c.header) for c in table.columns])
    return (
        f'<div class="table"><table id="{table.name}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        f'</table></div><p class="caption">{html.escape(table.caption)}</p>'
    )


def show(console: Console, table: Table) -> None:
    """Print a table, without its wide columns where they do not fit. Errors follow it one to a line and unbroken,
    so that their commands can be copied."""
    whole = _grid(table, [True] * len(table.columns))
    narrow = any(c.wide for c in table.columns) and Console(width=10_000).measure(whole).maximum > console.width
    console.print(_grid(table, [not c.wide for c in table.columns]) if narrow else whole)
    for what, message in table.errors:
        console.print(Text(f"{what} {message}", style="bold red"), soft_wrap=True)
    console.print(Text(table.caption, style="dim"))
    if narrow:
        console.print(Text(f"more columns: tables/{table.name}.md", style="dim"))


def _grid(table: Table, shown: Sequence[bool]) -> rich.table.Table:
    grid = rich.table.Table(title=table.title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    left = _left(table)
    for i, column in enumerate(table.columns):
        if shown[i]:
            style = "dim" if column.quoted else None
            grid.add_column(Text(column.header), justify="left" if left[i] else "right", style=style, no_wrap=i == 0)
    for i, row in enumerate(table.rows):
        styles = ["bold" if (i, j) in table.bold else "" for j in range(len(row))]
        grid.add_row(*(Text(cell, s) for cell, s, show in zip(row, styles, shown, strict=True) if show))
    return grid


def write(folder: Path, tables: Sequence[Table]) -> None:
    """``<name>.csv|md|tex`` of the first table; the Markdown and LaTeX files hold those that belong below it too."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / tables[0].name
    stem.with_suffix(".csv").write_text(to_csv(tables[0]), encoding="utf-8")
    stem.with_suffix(".md").write_text("\n".join(to_markdown(t) for t in tables), encoding="utf-8")
    stem.with_suffix(".tex").write_text("\n".join(to_latex(t) for t in tables), encoding="utf-8")
