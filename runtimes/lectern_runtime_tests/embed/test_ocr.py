"""Reading of pictures of text: with Tesseract's data where they are installed, and a clear error where they are not."""

from __future__ import annotations

import pypdfium2
import pytest

from lectern_contract.errors import ConfigurationError
from lectern_runtime.embed.parsers import ocr
from lectern_runtime.embed.sandbox import Limits, ParserSandbox
from lectern_runtime_tests.embed import made_files as made

LIMITS = Limits(seconds=60, document_bytes=8 << 20)
FOLDER = ocr.data_folder()
installed = pytest.mark.skipif(
    FOLDER is None or not (FOLDER / "eng.traineddata").is_file(), reason="needs the package tesseract-ocr-eng"
)


def scan(words: bytes) -> bytes:
    """A PDF of one page that is nothing but a picture of the words."""
    with pypdfium2.PdfDocument(made.pdf_page(b"BT /F 32 Tf 40 600 Td (%s) Tj ET" % words)) as written:
        bitmap = written[0].render(scale=2, grayscale=True)
        pixels = b"".join(bytes(bitmap.buffer)[line * bitmap.stride :][: bitmap.width] for line in range(bitmap.height))
        size = b"/Width %d /Height %d" % (bitmap.width, bitmap.height)
    picture = made.stream(pixels, b"/Type /XObject /Subtype /Image /ColorSpace /DeviceGray /BitsPerComponent 8 " + size)
    page = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources <</XObject <</I 5 0 R>>>>>>"
    pages = b"<</Type /Pages /Count 1 /Kids [3 0 R]>>"
    return made.pdf(b"<</Type /Catalog /Pages 2 0 R>>", pages, page, made.stream(b"600 0 0 800 0 0 cm /I Do"), picture)


@installed
@pytest.mark.slow
async def test_a_scan_is_read_inside_the_sandbox() -> None:
    async with ParserSandbox(LIMITS, processes=1, ocr_languages=("eng",)) as parser:
        parsed = await parser.parse(scan(b"Ducks swim in the harbour"), made.PDF)
    assert (parsed.text, [block.page for block in parsed.blocks]) == ("Ducks swim in the harbour", [1])


async def test_a_language_that_is_not_installed_stops_the_worker_with_the_name_of_its_package() -> None:
    async with ParserSandbox(LIMITS, processes=1, ocr_languages=("qaa_x",)) as parser:
        with pytest.raises(ConfigurationError, match=r"spec\.parsing\.ocr names qaa_x.*install tesseract-ocr-qaa-x"):
            await parser.parse(b"any", made.MARKDOWN)
        assert parser.pids == ()
