"""The page itself: its parts in order, style and script inside, nothing asked of any network."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources

from . import cards, figures, head, markup, numbers, tiles, timeline, world_map
from .material import Material

#: Fragments of the page's one function, in order.
_SCRIPT = ("base.js", "lists.js", "map.js", "time.js")


def render(material: Material) -> str:
    """The whole page as text."""
    context = material.context
    title = f"{context['scenario']}: {context['policy']}"
    style = _shipped("report.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_shipped(f"script/{name}") for name in _SCRIPT) + "})();\n"
    body = [
        "<a class='skip' href='#answer'>To the answer</a>",
        head.header(material),
        "<main>",
        head.warnings(material),
        head.answer(material),
        markup.section("What it looked like", cards.gallery(material), name="pictures"),
        "<section id='explore'><h2>Where and when</h2>",
        tiles.filters(material),
        world_map.world_map(material),
        timeline.timeline(material),
        "</section>",
        markup.section("Tiles", tiles.tile_table(material), name="tiles"),
        markup.section("Figures", figures.all_figures(material), name="figures"),
        markup.section("All numbers", numbers.all_numbers(material), name="numbers"),
        markup.section("Provenance", numbers.provenance(material), name="provenance"),
        markup.section("Words", markup.glossary()),
        "</main>",
        "<footer>Bytes are transfer-frame bytes before coding, with headers and fill. Times count from the scenario's "
        "start; dates are UTC. This page was made from the files of its run folder alone and asks nothing of a network."
        "</footer>",
        f"<script type='application/json' id='data'>{tiles.page_data(material)}</script>",
        f"<script>{script}</script>",
    ]
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src '{_source_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<link rel='icon' href='data:,'>\n<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _shipped(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _source_hash(script: str) -> str:
    """The one script that the page may run, as the Content Security Policy (W3C, level 3) names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


__all__ = ["render"]
