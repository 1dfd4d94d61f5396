"""The definitions of an older release, as far as can be told today: some of today's fields are not there yet."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Set
from typing import Any

import yaml

from e2e.operator_tests.running import ROOT

Definition = dict[str, Any]


def todays() -> list[Definition]:
    """Return the definitions as they are today."""
    return [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.yaml"))]


def schema(definition: Mapping[str, Any]) -> Definition:
    """Return the schema of the one version of a definition."""
    (version,) = definition["spec"]["versions"]
    found: Definition = version["schema"]["openAPIV3Schema"]
    return found


def newer_fields(definition: Mapping[str, Any], used: Set[str]) -> list[str]:
    """Return the optional fields of the spec that an older release may have lacked: no rule names them.

    Those in `used` were there.
    """
    spec = schema(definition)["properties"]["spec"]
    rules = yaml.safe_dump([each.get("x-kubernetes-validations", ()) for each in (schema(definition), spec)])
    kept = {*spec.get("required", ()), *used}
    return [name for name in spec["properties"] if name not in kept and not re.search(rf"\b{name}\b", rules)]


def older(definition: Definition, used: Set[str]) -> Definition:
    """Return the definition of a release without the newer fields, whose status said less, and a word more."""
    found = copy.deepcopy(definition)
    spec, status = (schema(found)["properties"][name] for name in ("spec", "status"))
    for name in newer_fields(definition, used):
        del spec["properties"][name]
    status["properties"]["phase"] = {"type": "string", "description": "What an older release said instead."}
    condition = status["properties"]["conditions"]["items"]
    del condition["properties"]["observedGeneration"]
    condition["required"].remove("observedGeneration")
    return found
