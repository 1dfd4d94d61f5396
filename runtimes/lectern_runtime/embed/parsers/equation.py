"""Writes the equations of Office documents as LaTeX, which people and models read and search."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from lectern_runtime.embed.parsers.xml_tree import Element, attribute, local

_NAMED = {
    0x2211: "sum", 0x220F: "prod", 0x222B: "int", 0x222C: "iint", 0x222D: "iiint", 0x222E: "oint", 0x22C3: "bigcup",
    0x22C2: "bigcap", 0x00B1: "pm", 0x2213: "mp", 0x00D7: "times", 0x00F7: "div", 0x22C5: "cdot", 0x00B7: "cdot",
    0x2264: "leq", 0x2265: "geq", 0x2260: "neq", 0x2248: "approx", 0x2261: "equiv", 0x223C: "sim", 0x221E: "infty",
    0x2202: "partial", 0x2207: "nabla", 0x2208: "in", 0x2209: "notin", 0x2282: "subset", 0x2286: "subseteq",
    0x222A: "cup", 0x2229: "cap", 0x2200: "forall", 0x2203: "exists", 0x2192: "rightarrow", 0x2190: "leftarrow",
    0x21D2: "Rightarrow", 0x21D4: "Leftrightarrow", 0x221D: "propto", 0x2026: "ldots", 0x22EF: "cdots",
    0x221A: "surd", 0x2205: "emptyset", 0x211D: "mathbb{R}", 0x2115: "mathbb{N}", 0x2124: "mathbb{Z}",
}  # fmt: skip
_GREEK = {
    code: name.rpartition(" ")[2]
    for code in range(0x391, 0x3CA)
    if (name := unicodedata.name(chr(code), "")).startswith("GREEK") and "WITH" not in name and "FINAL" not in name
}
_SYMBOLS = {code: f" \\{name} " for code, name in _NAMED.items()}
_SYMBOLS |= {code: f" \\{name.capitalize() if code < 0x3B1 else name.lower()} " for code, name in _GREEK.items()}
_FUNCTIONS = frozenset(("sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "lim", "max", "min"))
_FUNCTIONS |= {
    "sup",
    "inf",
    "sinh",
    "cosh",
    "tanh",
    "det",
    "arg",
    "gcd",
    "deg",
    "dim",
    "ker",
    "arcsin",
    "arccos",
    "arctan",
}
_ACCENTS = {"\u0302": "hat", "\u0303": "tilde", "\u0304": "bar", "\u0305": "overline", "\u0307": "dot"}
_ACCENTS |= {"\u0308": "ddot", "\u20d7": "vec", "\u030c": "check", "\u0306": "breve"}
_MAX_DEPTH = 120


def latex(element: Element) -> str:
    """The equation in `element`, without dollar signs."""
    return " ".join(_inside(element, 0).split())


def _inside(element: Element | None, depth: int) -> str:
    if element is None or depth > _MAX_DEPTH:
        return ""
    return "".join(_one(each, depth + 1) for each in element)


def _one(element: Element, depth: int) -> str:
    name = local(element.tag)
    if name == "t":
        return _text(element.text or "")
    if name.endswith("Pr"):
        return ""
    writer = _WRITERS.get(name)
    return writer(element, depth) if writer is not None else _inside(element, depth)


def _text(text: str) -> str:
    return text.translate(_SYMBOLS)


def _part(element: Element, name: str, depth: int) -> str:
    found = next((each for each in element if local(each.tag) == name), None)
    return _inside(found, depth).strip()


def _property(element: Element, name: str, default: str) -> str:
    for properties in element:
        if local(properties.tag).endswith("Pr"):
            for each in properties:
                if local(each.tag) == name:
                    return attribute(each, "val") or ""
    return default


def _fraction(element: Element, depth: int) -> str:
    above, below = _part(element, "num", depth), _part(element, "den", depth)
    if _property(element, "type", "bar") == "noBar":
        return rf"\genfrac{{}}{{}}{{0pt}}{{}}{{{above}}}{{{below}}}"
    return rf"\frac{{{above}}}{{{below}}}"


def _scripts(element: Element, depth: int) -> str:
    below, above = _part(element, "sub", depth), _part(element, "sup", depth)
    scripts = (f"_{{{below}}}" if below else "") + (f"^{{{above}}}" if above else "")
    base = _part(element, "e", depth)
    return scripts + base if local(element.tag) == "sPre" else base + scripts


def _root(element: Element, depth: int) -> str:
    degree = _part(element, "deg", depth)
    return rf"\sqrt{f'[{degree}]' if degree else ''}{{{_part(element, 'e', depth)}}}"


def _operator(element: Element, depth: int) -> str:
    below, above = _part(element, "sub", depth), _part(element, "sup", depth)
    scripts = (f"_{{{below}}}" if below else "") + (f"^{{{above}}}" if above else "")
    return _text(_property(element, "chr", "∫")).strip() + scripts + " " + _part(element, "e", depth)


def _fenced(element: Element, depth: int) -> str:
    begin, end = _property(element, "begChr", "("), _property(element, "endChr", ")")
    inner = [_inside(each, depth).strip() for each in element if local(each.tag) == "e"]
    return rf"\left{begin or '.'}{_property(element, 'sepChr', '|').join(inner)}\right{end or '.'}"


def _function(element: Element, depth: int) -> str:
    name = _part(element, "fName", depth)
    head = name.partition("_")[0].partition("^")[0]
    return ("\\" + name if head in _FUNCTIONS else name) + " " + _part(element, "e", depth)


def _accent(element: Element, depth: int) -> str:
    return rf"\{_ACCENTS.get(_property(element, 'chr', chr(0x302)), 'hat')}{{{_part(element, 'e', depth)}}}"


def _limit(element: Element, depth: int) -> str:
    script = "_" if local(element.tag) == "limLow" else "^"
    return f"{_part(element, 'e', depth)}{script}{{{_part(element, 'lim', depth)}}}"


def _rows(element: Element, depth: int) -> str:
    """A matrix, or equations below each other."""
    rows = []
    for row in element:
        if local(row.tag) in ("mr", "e"):
            cells = list(row) if local(row.tag) == "mr" else [row]
            rows.append(" & ".join(_inside(cell, depth).strip() for cell in cells))
    return r"\begin{matrix}" + r" \\ ".join(rows) + r"\end{matrix}"


_WRITERS: dict[str, Callable[[Element, int], str]] = {
    "f": _fraction,
    "sSup": _scripts,
    "sSub": _scripts,
    "sSubSup": _scripts,
    "sPre": _scripts,
    "rad": _root,
    "nary": _operator,
    "d": _fenced,
    "func": _function,
    "acc": _accent,
    "limLow": _limit,
    "limUpp": _limit,
    "m": _rows,
    "eqArr": _rows,
}
