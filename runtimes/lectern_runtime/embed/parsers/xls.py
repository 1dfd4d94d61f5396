"""Turns Excel workbooks of the old kind (xls, BIFF) into text: a heading a sheet, then its tables."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

import olefile
import python_calamine

from lectern_runtime.embed.parsed import ParsedDocument
from lectern_runtime.embed.parsers import grid
from lectern_runtime.embed.parsers.archive import OLE_MAGIC
from lectern_runtime.embed.parsers.composer import Composer
from lectern_runtime.embed.parsers.faults import corrupt, encrypted, fault

_WHAT = "the Excel workbook"
_FILE_PASS = 0x2F
_RECORDS_LOOKED_AT = 64
_MAX_SHEETS = 1000


def parse(data: bytes) -> ParsedDocument:
    """The workbook; a block's page is the number of its sheet."""
    if not data.startswith(OLE_MAGIC):
        raise fault("NotWhatItSays", f"{_WHAT} is not of the old kind as its type says; name it as what it is")
    if _is_encrypted(data):
        raise encrypted(_WHAT)
    try:
        workbook = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        names = workbook.sheet_names
    except python_calamine.PasswordError as error:
        raise encrypted(_WHAT) from error
    except (python_calamine.CalamineError, OSError) as error:
        raise corrupt(_WHAT, "its sheets cannot be found") from error
    if len(names) > _MAX_SHEETS:
        raise fault("TooLarge", f"it has {len(names)} sheets, the limit is {_MAX_SHEETS}")
    composer = Composer()
    budget = grid.CellBudget()
    for number, name in enumerate(names, 1):
        composer.page(number)
        composer.heading(1, name)
        try:
            sheet = workbook.get_sheet_by_name(name)
        except (python_calamine.CalamineError, OSError) as error:
            raise corrupt(_WHAT, "one of its sheets cannot be read") from error
        grid.write(_rows(sheet, budget), composer)
    return composer.finish()


def _rows(sheet: python_calamine.CalamineSheet, budget: grid.CellBudget) -> Iterator[grid.Row]:
    for number, row in enumerate(sheet.iter_rows()):
        cells = {column: text for column, value in enumerate(row) if (text := _text(value))}
        budget.spend(len(cells))
        if cells:
            yield number, cells


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return format(value, ".15g")
    if isinstance(value, (datetime, date, time, timedelta)):
        return str(value)
    return str(value).strip()


def _is_encrypted(data: bytes) -> bool:
    """Whether a record near the beginning of the workbook says so; the container itself is never encrypted."""
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            name = next((each for each in ("Workbook", "Book") if container.exists(each)), None)
            if name is None:
                return bool(container.exists("EncryptedPackage"))
            stream = container.openstream(name)
            for _ in range(_RECORDS_LOOKED_AT):
                head = stream.read(4)
                if len(head) < 4:
                    return False
                if int.from_bytes(head[:2], "little") == _FILE_PASS:
                    return True
                stream.read(int.from_bytes(head[2:], "little"))
    except (OSError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise corrupt(_WHAT, "its container cannot be read") from error
    return False
