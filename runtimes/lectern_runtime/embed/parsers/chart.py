"""Writes the charts of Office documents as tables of the figures that they show."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.xml_tree import Element, local

_MAX_POINTS = 20_000
_KIND = re.compile(r"(bar|line|pie|area|scatter|bubble|radar|doughnut|surface|stock|ofPie)(3D)?Chart\Z")


def write(root: Element, composer: Composer) -> None:
    """Write title, kind and figures of the chart in `root`."""
    for each in root.iter():
        if local(each.tag) == "title":
            composer.block("paragraph", _rich(each))
            break
    for plot in root.iter():
        kind = _KIND.match(local(plot.tag))
        if kind is not None:
            composer.block("paragraph", f"{kind.group(1).capitalize()} chart")
            composer.table(_figures([each for each in plot if local(each.tag) == "ser"]))


def _figures(series: list[Element]) -> Iterator[list[str]]:
    """A row for each category: its name, and its value in each series."""
    names = [_rich(found) if (found := _child(each, "tx")) is not None else "" for each in series]
    columns = [_points(_child(each, "val", "yVal")) for each in series]
    categories: dict[int, str] = {}
    for each in series:
        categories = _points(_child(each, "cat", "xVal")) or categories
    yield ["", *names]
    for place in sorted(set(categories).union(*columns))[:_MAX_POINTS]:
        yield [categories.get(place, str(place + 1)), *(column.get(place, "") for column in columns)]


def _child(element: Element, *names: str) -> Element | None:
    return next((each for each in element if local(each.tag) in names), None)


def _points(element: Element | None) -> dict[int, str]:
    """The values that the application kept beside the reference, by place."""
    found: dict[int, str] = {}
    for each in element.iter() if element is not None else ():
        if local(each.tag) == "pt":
            place = each.get("idx", "")
            value = _child(each, "v")
            if place.isdecimal() and len(place) < 8 and value is not None:
                found[int(place)] = _number(value.text or "")
    return found


def _number(text: str) -> str:
    try:
        return format(float(text), ".12g")
    except ValueError:
        return text


def _rich(element: Element) -> str:
    """The text of a title or name, whether typed or taken from a cell."""
    return " ".join((each.text or "").strip() for each in element.iter() if local(each.tag) in ("t", "v"))
