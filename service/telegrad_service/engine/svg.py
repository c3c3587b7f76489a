"""A graph as an SVG document without scripts, links or outside fonts: leaves above what uses them, the root at the bottom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from telegrad_service.engine.layout import Route, centres, place_in_layers
from telegrad_service.engine.picture import FILLS, labels, lines_of, notice_of, printable

_LINE, _PADDING, _ROW_GAP, _GAP, _MARGIN = 14, 5, 34, 16, 20
"""Pixels: a line of text, around the lines of a box, between layers, between boxes, around all."""

_POINT_WIDTH: Final = 4
_MOST_CHARACTERS: Final = 60
"""Of a line; longer ones are cut, so that one name does not make the picture as wide as itself."""

_CHARACTER_WIDTH: Final = 6.7
"""Pixels of a character of the 11 pixel monospace text, a little generously."""


def svg(description: Mapping[str, Any]) -> str:
    """The document; see ``describe_graph`` for what it is made of."""
    boxes: dict[str, tuple[list[str], str]] = {}
    for key, lines, kind, scope in labels(description):
        every = [*lines, *([] if scope is None else [f"in {scope}"])]
        boxes[key] = [_cut(printable(line)) for line in every], kind
    layers, routes = place_in_layers(list(boxes), lines_of(description))
    widths = {key: float(_POINT_WIDTH) for layer in layers for key in layer}
    widths |= {key: max(len(s) for s in lines) * _CHARACTER_WIDTH + 16 for key, (lines, _) in boxes.items()}
    middles = centres(layers, routes, widths, _GAP)
    notice = notice_of(description)
    tops: dict[str, float] = {}
    bottoms: dict[str, float] = {}
    y: float = _MARGIN + (24 if notice else 0)
    for layer in layers:
        lines_here = max((len(boxes[key][0]) for key in layer if key in boxes), default=1)
        for key in layer:
            tops[key] = y
            bottoms[key] = y + _LINE * (len(boxes[key][0]) if key in boxes else lines_here) + 2 * _PADDING
        y += _LINE * lines_here + 2 * _PADDING + _ROW_GAP
    span = max([middles[key] + widths[key] / 2 for key in middles] + [len(notice or "") * _CHARACTER_WIDTH], default=0.0)
    width, height = span + 2 * _MARGIN, y - (_ROW_GAP if layers else 0) + _MARGIN
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="ui-monospace, monospace" font-size="11">',
        "<title>autograd graph</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    if notice:
        out.append(f'<text x="{_MARGIN}" y="{_MARGIN + 4}" fill="#b00000">{escape(notice)}</text>')
    out.extend(_path(route, middles, tops, bottoms) for route in routes)
    for key, (text, kind) in boxes.items():
        out.extend(_box(key, text, kind, _MARGIN + middles[key], tops[key], widths[key], bottoms[key] - tops[key]))
    return "\n".join([*out, "</svg>", ""])


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


def _path(route: Route, middles: Mapping[str, float], tops: Mapping[str, float], bottoms: Mapping[str, float]) -> str:
    """A line from the lower edge of one box to the upper edge of another: bent between layers, upright within those it passes."""
    x, y = _MARGIN + middles[route.source], bottoms[route.source]
    steps = [f"M{x:.1f} {y:.1f}"]
    for key in (*route.points, route.target):
        across, down = _MARGIN + middles[key], tops[key]
        bend = (down - y) / 2
        steps.append(f"C{x:.1f} {y + bend:.1f} {across:.1f} {down - bend:.1f} {across:.1f} {down:.1f}")
        x, y = across, down
        if key is not route.target:
            y = bottoms[key]
            steps.append(f"V{y:.1f}")
    return f'<path d="{"".join(steps)}" fill="none" stroke="#777777"/>'


def _box(key: str, lines: Sequence[str], kind: str, middle: float, top: float, width: float, height: float) -> Iterator[str]:
    dash = ' stroke-dasharray="4 3"' if kind == "freed" else ""
    place = f'x="{middle - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.0f}"'
    yield f'<g id="{key}"><rect {place} rx="5" fill="{FILLS[kind]}" stroke="#555555"{dash}/>'
    for row, line in enumerate(lines):
        weight = ' font-weight="bold"' if row == 0 else ""
        yield (
            f'<text x="{middle:.1f}" y="{top + _PADDING + 11 + _LINE * row:.1f}" text-anchor="middle" fill="#111111"{weight}>'
            f"{escape(line)}</text>"
        )
    yield "</g>"
