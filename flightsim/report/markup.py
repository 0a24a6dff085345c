"""Pieces of the page as text: everything from outside is escaped here, and nowhere else is markup made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

#: Words of the trade that the page explains where they stand, and once more in a list.
WORDS: Mapping[str, str] = {
    "F1": "One number for how well the ground knows what happened: 2TP / (2TP + FP + FN). 1 is everything found and "
    "nothing made up; 0 is nothing found.",
    "bent pipe": "A spacecraft that sends every picture it takes, oldest first, as far as its contacts carry them, "
    "without looking at any.",
    "unlimited link": "The same bent pipe with a link that carries everything: the most that pictures alone can give.",
    "retained": "F1 of this run divided by the F1 of an unlimited link.",
    "contact": "A pass over a ground station that the payload has booked.",
    "eye": "The model on board that looks at a pair of pictures and answers each question.",
    "verdict": "The eye's answer about one picture and one kind of event: event, null, unclassifiable or invalid.",
    "reader": "Who looks at the pictures that arrive on the ground, with stated rates of being right.",
    "tile": "One picture of one place.",
    "schema": "A kind of event that is asked about, for example a flood.",
    "true event": "An event that really is there, by the truth that no one on board knows.",
    "false alarm": "The ground believes an event that is not there.",
    "no-VLM": "Senders without a vision model on board: all tiles, thumbnails, cloud filters, random shares.",
    "MCC": "Matthews correlation coefficient: 1 is perfect, 0 is no better than chance.",
    "precision": "Share of what the ground believes that is true.",
    "recall": "Share of the true events that the ground believes.",
    "posterior": "The probability of an event as the ground sees it, from the prior, the verdict and the reader.",
    "censored": "A true event that the ground never came to know: it counts as a wait without an end.",
    "radiated": "Sent over the radio, with all headers and fill, before coding.",
    "lossless": "A picture that comes back to the last bit.",
}
_PATTERN = re.compile(
    r"(?<![\w-])(" + "|".join(re.escape(word) for word in sorted(WORDS, key=len, reverse=True)) + r")(?![\w-])"
)


def explained(text: str, known: set[str] | None = None) -> str:
    """Escaped text in which the first use of each word of ``WORDS`` carries its meaning as a hint.

    Parameters
    ----------
    known
        Words that need no hint any more; those hinted here are added.
    """
    seen = set() if known is None else known
    parts, at = [], 0
    for match in _PATTERN.finditer(text):
        word = match[1]
        if word in seen:
            continue
        seen.add(word)
        parts.append(escape(text[at : match.start()]))
        parts.append(f"<abbr title='{escape(WORDS[word])}'>{escape(word)}</abbr>")
        at = match.end()
    parts.append(escape(text[at:]))
    return "".join(parts)


def section(title: str, content: str, name: str = "", level: int = 2) -> str:
    """A section with its heading."""
    mark = f" id='{name}'" if name else ""
    return f"<section{mark}><h{level}>{escape(title)}</h{level}>{content}</section>\n"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph with the words of the trade explained."""
    return f"<p{_class(kind)}>{explained(text)}</p>"


def source(*paths: str) -> str:
    """Where the numbers above come from."""
    return f"<p class='source'>Source: {escape('; '.join(paths))}</p>"


def bullet_list(lines: Iterable[str], kind: str = "lines") -> str:
    """A list of texts."""
    return f"<ul{_class(kind)}>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def details(summary: str, content: str, opened: bool = False) -> str:
    """Something that opens on demand."""
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>{content}</details>"


def warning(content: str) -> str:
    """A box that comes before the figures; ``content`` is markup."""
    return f"<div class='warning' role='note'>{content}</div>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1, code: bool = False, name: str = "",
    caption: str = "",
) -> str:  # fmt: skip
    """A table whose columns after the first ``text_columns`` hold numbers."""

    def cells(tag: str, row: Sequence[str]) -> str:
        found = []
        for column, text in enumerate(row):
            kind = " class='number'" if column >= text_columns else " class='code'" if code and column else ""
            scope = " scope='col'" if tag == "th" else ""
            found.append(f"<{tag}{scope}{kind}>{escape(text)}</{tag}>")
        return f"<tr>{''.join(found)}</tr>"

    lines = "".join(cells("td", row) for row in rows)
    mark = f" id='{name}'" if name else ""
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f"<div class='scroll' tabindex='0' role='region' aria-label='{escape(caption or head[0])}'>"
        f"<table{mark}>{said}<thead>{cells('th', head)}</thead><tbody>{lines}</tbody></table></div>"
    )


def bars(
    rows: Sequence[tuple[str, float, str, str, str]], total: float, label: str, colour: str = "", links: bool = False
) -> str:
    """Ranked bars with their counts beside them.

    Parameters
    ----------
    rows
        Name, length in units of ``total``, number as text, a sentence, and the filter that a click sets
        (``key=value;key=value``, used with ``links``).
    """
    lines = []
    for name, value, number, sentence, chosen in rows:
        width = 100.0 * value / total if total else 0.0
        inner = (
            f"<span class='name'>{escape(name)}</span> <b>{escape(number)}</b>"
            f"<span class='groove'><span class='bar {escape(colour)}{'' if value > 0 else ' none'}' "
            f"style='width:{width:.2f}%'></span></span>"
        )
        hint = f" title='{escape(sentence)}'" if sentence else ""
        if links:
            inner = f"<a href='#explore' data-filter='{escape(chosen)}'{hint}>{inner}</a>"
            hint = ""
        lines.append(f"<li{hint}>{inner}</li>")
    return f"<ol class='bars' aria-label='{escape(label)}'>{''.join(lines)}</ol>"


def glossary() -> str:
    """All words of the trade with their meanings."""
    items = "".join(f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in sorted(WORDS.items()))
    return details("Words used on this page", f"<dl class='words'>{items}</dl>")


def _class(kind: str) -> str:
    return f" class='{escape(kind)}'" if kind else ""


__all__ = [
    "WORDS", "bars", "bullet_list", "details", "explained", "glossary", "paragraph", "section", "source", "table",
    "warning",
]  # fmt: skip
