"""Brings URLs into one form, so that a page has one name however it was linked to; refuses what is no web address.

Pure. Equivalences are those of RFC 3986, 6.2.2 and 6.2.3 only: two URLs that become one always name the same page.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes, urljoin, urlsplit, urlunsplit

import httpx

MAX_LENGTH = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_STRIPPED = "".join(map(chr, range(33)))
_INSIDE = str.maketrans("", "", "\t\r\n")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class UrlRefused(ValueError):
    """The text names no page of a web server; the message says why, without the text."""


@lru_cache(maxsize=16384)
def canonical(url: str) -> str:
    """The one form of an absolute URL: no fragment, no default port, no dot segments, escapes only where needed.

    Raises `UrlRefused`: another scheme than http and https, a user, an odd host (see `host`), a backslash before the
    path, or more than `MAX_LENGTH` characters.
    """
    cleaned = url.strip(_STRIPPED).translate(_INSIDE)
    if len(cleaned) > MAX_LENGTH:
        raise UrlRefused(f"it has more than {MAX_LENGTH} characters")
    scheme, separator, rest = cleaned.partition("://")
    if not separator or scheme.lower() not in _DEFAULT_PORTS:
        raise UrlRefused("it begins neither with http:// nor with https://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        raise UrlRefused("it carries a user, which is not sent")
    if not authority or "\\" in authority or "%" in authority or not authority.isprintable() or " " in authority:
        raise UrlRefused("its host is none")
    try:
        parsed = httpx.URL(_LONE_PERCENT.sub("%25", cleaned))
        port = parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise UrlRefused("it is no URL") from error
    if port is not None and not 0 < port < 65536:
        raise UrlRefused("its port is none")
    shown = _host(parsed.raw_host.decode("ascii"))
    netloc = shown if port in (None, _DEFAULT_PORTS[parsed.scheme]) else f"{shown}:{port}"
    path, _, query = parsed.raw_path.decode("ascii").partition("?")
    found = urlunsplit((parsed.scheme, netloc, _without_dots(_escaped(path)), _escaped(query), ""))
    if len(found) > MAX_LENGTH:
        raise UrlRefused(f"it has more than {MAX_LENGTH} characters")
    return found


def joined(base: str, reference: str) -> str:
    """The canonical URL that `reference` stands for on the page `base`; raises `UrlRefused`."""
    cleaned = reference.strip(_STRIPPED).translate(_INSIDE)
    try:
        return canonical(urljoin(base, cleaned))
    except UrlRefused:
        raise
    except ValueError as error:
        raise UrlRefused("it is no URL") from error


def host(url: str) -> str:
    """The host of a canonical URL, without brackets and port."""
    return urlsplit(url).hostname or ""


def origin(url: str) -> str:
    """Scheme, host and port of a canonical URL, as its beginning."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def document_path(url: str) -> str:
    """What globs and partition rules are matched against: `host[:port]/folders/page?query`, readable where possible.

    Doubled slashes count as one, as servers take them, so that no spelling of a path escapes a rule for it.
    """
    parts = urlsplit(url)
    folders = [_readable(part) for part in parts.path.split("/") if part]
    end = "/" if parts.path.endswith("/") and folders else ""
    query = "?" + _readable(parts.query) if parts.query else ""
    return "/".join([parts.netloc, *folders]) + (end or ("" if folders else "/")) + query


def _host(raw: str) -> str:
    """The host as it may stand in a URL: an address in its one form, or a name that no resolver takes for one."""
    if ":" in raw:
        try:
            return f"[{ipaddress.IPv6Address(raw)}]" if "%" not in raw else _refuse_host()
        except ValueError:
            return _refuse_host()
    name = raw.lower().removesuffix(".")
    if not _NAME.fullmatch(name) or ".." in name or len(name) > 253:
        return _refuse_host()
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        # Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses; only the plain form is taken as one.
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            return _refuse_host()
    return name


def _refuse_host() -> str:
    raise UrlRefused("its host is neither a name nor an address in its usual form")


def _escaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        byte = int(match[1], 16)
        return chr(byte) if byte in _UNRESERVED else f"%{byte:02X}"

    return _ESCAPE.sub(one, text)


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    kept: list[str] = []
    parts = path.split("/")[1:] or [""]
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _readable(part: str) -> str:
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        return part
    return part if "/" in text or not text.isprintable() else text
