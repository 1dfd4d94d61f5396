"""Unpacks Debian's Redis servers, old and new, into the cache; nothing is installed and no root is needed.

A recipe in `pieces` calls `unpack`. The packages come by the machine's own apt (its mirror, its proxy) from an archive
that Debian's key has signed, into directories of their own. `packages.txt` pins versions and digests. Debian keeps one
version of a package in a suite: where a point release has replaced a pinned one, the signed successor is taken, said,
and written into `taken.txt` beside the programs.
"""

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from e2e.testbed.errors import ComponentError
from e2e.testbed.gobuild import Workshop

FILES = ("packages.txt",)
PROGRAM = "usr/bin/redis-check-rdb"
"""The server, by the name under which its package has the file; as `redis-server` it serves."""
SUITES = {"8": "trixie", "7": "bookworm"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEXT_STEP = "set REDIS_URL to a Redis 8 that you have (then nothing of it is built)"
_SOURCE = re.compile(r"'(\S+?)/dists/([^/']+)/InRelease'")
_DEBIAN_SUITES = frozenset(
    {"bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable"}
)


@dataclass(frozen=True)
class Pin:
    """One line of `packages.txt`."""

    suite: str
    architecture: str
    package: str
    version: str
    sha256: str


def find(environment: Mapping[str, str]) -> Path:
    """Return `apt-get`; raise ComponentError where the machine lacks what unpacking needs."""
    path = environment.get("PATH")
    programs = {name: shutil.which(name, path=path) for name in ("apt-get", "apt-config", "dpkg-deb", "gpgv")}
    absent = sorted(name for name, found in programs.items() if found is None)
    if not KEYRING.is_file():
        absent.append(f"{KEYRING} (package debian-archive-keyring)")
    if absent:
        raise ComponentError(f"Redis comes from Debian's packages, and there is no {', '.join(absent)}: {NEXT_STEP}.")
    return Path(str(programs["apt-get"]))


def unpack(workshop: Workshop) -> None:
    """Unpack each server with its libraries into `8/` and `7/` and start it once to see that it runs."""
    lines = (workshop.source / "packages.txt").read_text().splitlines()
    pins = [Pin(*line.split()) for line in lines if line and not line.startswith("#")]
    apt = replace(workshop, environment={**workshop.environment, "LC_ALL": "C"})
    native = _output(apt, ["--print-architecture"], "ask for the architecture", program="dpkg")
    if native not in {pin.architecture for pin in pins}:
        raise ComponentError(f"packages.txt pins no package for {native}: {NEXT_STEP}.")
    mirror = _mirror(apt)
    apt = replace(apt, environment={**apt.environment, "APT_CONFIG": str(_settings(workshop.source, mirror, native))})
    _apt(apt, ["-q", "update"], "read Debian's signed lists of packages")
    taken: list[str] = []
    for version, suite in SUITES.items():
        wanted = [pin for pin in pins if (pin.suite, pin.architecture) == (suite, native)]
        taken += _unpack_suite(apt, workshop.target / version, wanted)
        _output(apt, command(workshop.target / version, "--version"), f"start Redis {version}", program=None)
    (workshop.target / "taken.txt").write_text("".join(f"{line}\n" for line in taken))


def command(root: Path, *arguments: str | Path) -> list[str]:
    """Return the command of the server below `root`: its own loader and libraries, none of the machine's."""
    loaders = sorted([*root.glob("lib/*/ld-linux*.so.*"), *root.glob("usr/lib/*/ld-linux*.so.*")])
    if not loaders:
        raise ComponentError(f"{root} holds no loader; remove that directory and build again.")
    libraries = ":".join(str(each) for each in (*root.glob("lib/*-linux-gnu"), *root.glob("usr/lib/*-linux-gnu")))
    loader = [str(loaders[0]), "--library-path", libraries, "--argv0", "redis-server"]
    return [*loader, str(root / PROGRAM), *map(str, arguments)]


def _mirror(apt: Workshop) -> str:
    """Return the address of the Debian archive that the machine's apt uses; it is never printed."""
    listed = _output(apt, ["update", "--print-uris"], "read the machine's apt sources")
    for address, suite in _SOURCE.findall(listed):
        if suite in _DEBIAN_SUITES:
            return str(address)
    raise ComponentError(f"The machine's apt sources name no Debian archive: {NEXT_STEP}, or add one to them.")


def _settings(home: Path, mirror: str, architecture: str) -> Path:
    """Write the settings of an apt of our own, which knows Debian's suites only and touches nothing of the system."""
    for folder in ("lists/partial", "archives/partial"):
        (home / "apt" / folder).mkdir(parents=True)
    (home / "apt" / "status").touch()
    sources = home / "apt" / "sources.list"
    sources.touch(mode=0o600)  # an address may carry a password
    sources.write_text("".join(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for suite in SUITES.values()))
    settings = {
        "APT::Architecture": architecture,
        "APT::Sandbox::User": "",  # the directory is ours alone, so no other user could read it
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Acquire::http::Timeout": "30",
        "Acquire::https::Timeout": "30",
        "Dir::Cache": str(home / "apt"),
        "Dir::Cache::pkgcache": "pkgcache.bin",  # images of containers turn it off, and each call would take seconds
        "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
        "Dir::Etc::sourcelist": str(sources),
        "Dir::Etc::sourceparts": "-",
        "Dir::State": str(home / "apt"),
        "Dir::State::lists": str(home / "apt" / "lists"),
        "Dir::State::status": str(home / "apt" / "status"),
    }
    path = home / "apt" / "apt.conf"
    path.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    return path


def _unpack_suite(apt: Workshop, target: Path, pins: list[Pin]) -> list[str]:
    """Download and unpack the packages of one suite and return a line for each that says what was taken."""
    here = apt.source / f"packages-{target.name}"
    here.mkdir()
    names = [f"{pin.package}/{pin.suite}" for pin in pins]
    _apt(replace(apt, source=here), ["-q", "download", *names], f"download the packages of Redis {target.name}")
    taken = []
    for pin in pins:
        (file,) = here.glob(f"{pin.package}_*.deb")
        taken.append(_checked(apt, file, pin))
        _output(apt, ["-x", str(file), str(target)], f"unpack {pin.package}", program="dpkg-deb")
    return taken


def _checked(apt: Workshop, file: Path, pin: Pin) -> str:
    """Return the line for a package; raise ComponentError where the pinned version has another digest."""
    version = file.name.split("_")[1].replace("%3a", ":")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if version == pin.version and digest != pin.sha256:
        raise ComponentError(
            f"{pin.package} {version} has not the digest of packages.txt: restore that file from version control; if "
            "it is unchanged, the archive that your apt sources name serves another package under this version."
        )
    if version != pin.version:
        apt.say(f"  {pin.suite} has replaced {pin.package} {pin.version} by {version} (signed by Debian): taken")
    return f"{pin.suite} {pin.architecture} {pin.package} {version} {digest}"


def _apt(apt: Workshop, arguments: list[str], what: str) -> None:
    apt.run(arguments, what, apt.environment, _cause, lambda _: "")


def _output(apt: Workshop, arguments: list[str], what: str, *, program: str | None = "apt-get") -> str:
    """Run a short command without a word of progress; `program` None takes the first argument."""
    name, *rest = arguments if program is None else [program, *arguments]
    found = shutil.which(name, path=apt.environment.get("PATH")) or name
    quiet = replace(apt, tool=Path(found), say=lambda _: None)
    return quiet.run(rest, what, apt.environment, _cause, lambda _: "").strip()


def _cause(output: str, status: int) -> str:
    lowered = output.lower()
    if "no space left on device" in lowered:
        return "the disk is full; Redis needs 300 MB while it is unpacked."
    if any(word in lowered for word in ("could not resolve", "connection failed", "unable to connect", "timed out")):
        return f"Debian's archive was not reached; check the network and apt's proxy, or {NEXT_STEP}."
    if "no_pubkey" in lowered or "not signed" in lowered or "invalid signature" in lowered:
        return f"the archive is not signed by a key of {KEYRING}; update the package debian-archive-keyring."
    return f"it ended with status {status}; the lines below tell the cause."
