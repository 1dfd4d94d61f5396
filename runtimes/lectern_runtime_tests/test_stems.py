"""Stems are part of an index: an upgrade of the library that gives other ones would make stored words unfindable."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from lectern_runtime.stems import ALGORITHMS, Stems

# word:stem. Where this test fails after an upgrade of PyStemmer, indices have to be built anew, or the upgrade to wait.
GOLDEN = {
    "da": """
        bøgerne:bøg undersøgelserne:undersøg virksomhedens:virksom kærlighed:kær arbejdede:arbejded
        universitetet:universitet
    """,
    "de": """
        häuser:haus bücher:buch strassen:strass verfügbarkeiten:verfugbar geschwindigkeit:geschwind
        aufeinanderfolgende:aufeinanderfolg kategorischen:kategor
    """,
    "en": """
        running:run generously:generous universities:universiti connection:connect replicas:replica evening:evening
        skies:sky dying:die organization:organiz queries:queri
    """,
    "es": """
        canciones:cancion rápidamente:rapid ejecutándose:ejecut administraciones:administr torneado:torn
        universidad:univers
    """,
    "fi": """
        taloissammekin:talo kirjastojen:kirjasto rakennuksista:rakennuks edeltäjiään:edeltäjiä
        käyttämättömyys:käyttämättömyys yliopisto:yliopisto
    """,
    "fr": """
        continuellement:continuel majestueusement:majestu universités:univers abandonnées:abandon
        constitutionnel:constitutionnel yeux:yeux
    """,
    "it": """
        abbandonata:abbandon pronunciamento:pronunc università:univers dandogliela:dandogliel velocemente:veloc
        amichevoli:amichevol
    """,
    "nl": """
        boeken:boek lichamelijkheid:lichamelijk opgelegde:opleg universiteiten:univers gekozen:koos brieven:brief
    """,
    "no": """
        bøkene:bøk havnedistriktene:havnedistrikt opprettelsen:opprett vennlighetens:venn arbeidet:arbeid
        universitetene:universitet
    """,
    "pt": """
        canções:cançõ rapidamente:rapid administrações:administr quiséssemos:quiséss universidade:univers
        livros:livr
    """,
    "ru": """
        книгами:книг важнейшими:важн университетов:университет читавшая:чита значительность:значительн своими:сво
    """,
    "sv": """
        böckerna:böck jaktkarlarne:jaktkarl klokhetens:klok undersökningarna:undersökning friskt:frisk
        universiteten:universitet
    """,
}


def golden(language: str) -> tuple[list[str], list[str]]:
    """Words of a language and their stems."""
    pairs = [pair.split(":") for pair in GOLDEN[language].split()]
    return [word for word, _ in pairs], [stem for _, stem in pairs]


def test_every_language_has_golden_stems() -> None:
    assert set(GOLDEN) == set(ALGORITHMS)


@pytest.mark.parametrize("language", GOLDEN)
def test_stems_never_change(language: str) -> None:
    words, stems = golden(language)
    assert Stems(language).all_of(words) == stems


@pytest.mark.parametrize("language", GOLDEN)
def test_a_word_has_the_same_stem_alone_and_among_others(language: str) -> None:
    words, stems = golden(language)
    alone = Stems(language)
    assert [alone.of(word) for word in words] == stems


def test_threads_share_a_stemmer() -> None:
    words, expected = golden("en")
    shared = Stems("en")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shared.of, words * 200)) == expected * 200


def test_a_language_without_a_stemmer_is_an_error() -> None:
    with pytest.raises(KeyError, match="tlh"):
        Stems("tlh")
