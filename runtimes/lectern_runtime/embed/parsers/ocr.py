"""Reads the text in pictures of pages with Tesseract, inside the parser's own process and from memory only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pypdfium2

from lectern_contract.errors import ConfigurationError
from lectern_runtime.embed.parsers.pdf_lines import Line

if TYPE_CHECKING:
    import tesserocr

_DPI = 200
_MAX_PIXELS = 20_000_000
_PLACES = ("/usr/share/tesseract-ocr/5/tessdata", "/usr/share/tesseract-ocr/4.00/tessdata", "/usr/share/tessdata")
_VARIABLE = "TESSDATA_PREFIX"


def read(page: pypdfium2.PdfPage, languages: Sequence[str]) -> list[Line]:
    """The lines of text in the picture of a page. Raises `ConfigurationError` as `reader` does."""
    engine = reader(tuple(languages))
    width, height = page.get_size()
    scale = min(_DPI / 72, (_MAX_PIXELS / max(1.0, width * height)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        pixels = bytes(bitmap.buffer)
        engine.SetImageBytes(pixels, bitmap.width, bitmap.height, 1, bitmap.stride)
        text: str = engine.GetUTF8Text()
    finally:
        bitmap.close()
        engine.Clear()
    return list(_lines(text))


@lru_cache(maxsize=1)
def reader(languages: tuple[str, ...]) -> tesserocr.PyTessBaseAPI:
    """The engine for these languages, kept warm. Raises `ConfigurationError` naming what is not installed."""
    try:
        import tesserocr
    except ImportError as error:
        raise ConfigurationError(
            "spec.parsing.ocr is set, but the Python package tesserocr is not installed; install it beside lectern"
        ) from error
    folder = data_folder()
    missing = [each for each in languages if folder is None or not (folder / f"{each}.traineddata").is_file()]
    if missing or folder is None:
        packages = " ".join(f"tesseract-ocr-{each.replace('_', '-')}" for each in missing)
        raise ConfigurationError(
            f"spec.parsing.ocr names {', '.join(missing)}, whose data are not installed; "
            f"install {packages}, or set {_VARIABLE} to the directory that holds them"
        )
    turned = (folder / "osd.traineddata").is_file()  # what tells which way up a page is
    mode = tesserocr.PSM.AUTO_OSD if turned else tesserocr.PSM.AUTO
    engine = tesserocr.PyTessBaseAPI(path=str(folder), lang="+".join(languages), psm=mode)
    engine.SetVariable("debug_file", "")  # it would be opened for writing, which the sandbox does not allow
    return engine


def data_folder() -> Path | None:
    """Where the data of the languages lie, or None when they are nowhere."""
    named = os.environ.get(_VARIABLE)
    places = (named, *_PLACES) if named else _PLACES
    return next((Path(each) for each in places if Path(each).is_dir()), None)


def _lines(text: str) -> Iterator[Line]:
    apart = True
    for line in text.split("\n"):
        if line.strip():
            yield Line(line.strip(), 0.0, apart)
        apart = not line.strip()
