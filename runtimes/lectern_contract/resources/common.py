"""What all resource models share: the base model, rules that hold on both sides, and small parts.

A `Rule` is written once with its CEL expression and its Python predicate side by side, so that the
API server and the model refuse the same documents. `lectern_operator.crd` turns these models into
CustomResourceDefinitions; nothing here knows about that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

GROUP = "lectern.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule over an object: `cel` for the API server, `holds` (or, over time, `kept`) for Python.

    `field` is the path, relative to the object, that the message blames. A transition rule has
    `kept(old, new)` instead of `holds(self)` and a CEL expression that mentions `oldSelf`. A rule with
    `unique_by` has no CEL: the list gets the list type set (no keys) or map (by these keys), which says it.
    `members` are the fields of a union, as documents name them.
    """

    cel: str
    message: str
    field: str = ""
    holds: Callable[[Any], bool] | None = None
    kept: Callable[[Any, Any], bool] | None = None
    members: tuple[str, ...] = ()
    unique_by: tuple[str, ...] | None = None


class SpecModel(BaseModel):
    """Base of every object below `spec`: camelCase outside, strict types, no unknown field, frozen."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True)
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in type(self).rules:
            if rule.holds is not None and not rule.holds(self):
                raise PydanticCustomError("rule", "{message}", {"message": rule.message, "field": rule.field})
        return self


def without_nulls(value: object, annotation: object) -> object:
    """Take null for absent, as the API server does: in fields that the model knows and in maps, not in lists.

    A walk beside the models and not a validator of theirs: one that runs before would hide from pydantic that
    the document is JSON, where a tuple is written as an array.
    """
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and isinstance(value, Mapping):
        fields = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        return {
            key: without_nulls(item, fields[key]) if key in fields else item
            for key, item in value.items()
            if item is not None or key not in fields
        }
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple and isinstance(value, list):
        return [without_nulls(item, arguments[0]) for item in value]
    if origin is dict and isinstance(value, Mapping):
        return {key: without_nulls(item, arguments[1]) for key, item in value.items() if item is not None}
    if origin in (Union, UnionType) and (members := [member for member in arguments if member is not NoneType]):
        return without_nulls(value, members[0])
    return value


def exactly_one(*fields: str, message: str) -> Rule:
    """A rule that exactly one of the optional `fields` (Python names) is set."""
    return _count_rule(fields, "== 1", lambda count: count == 1, message)


def at_most_one(*fields: str, message: str) -> Rule:
    """A rule that no more than one of the optional `fields` (Python names) is set."""
    return _count_rule(fields, "<= 1", lambda count: count <= 1, message)


def _count_rule(fields: tuple[str, ...], cel_test: str, test: Callable[[int], bool], message: str) -> Rule:
    terms = " + ".join(f"(has(self.{to_camel(field)}) ? 1 : 0)" for field in fields)

    def holds(value: Any) -> bool:
        return test(sum(getattr(value, field) is not None for field in fields))

    return Rule(cel=f"{terms} {cel_test}", message=message, holds=holds, members=tuple(map(to_camel, fields)))


def immutable(field: str, *, optional: bool = False) -> Rule:
    """A rule that `field` (Python name) keeps its first value for the life of the resource."""
    name = to_camel(field)
    same = f"self.{name} == oldSelf.{name}"
    cel = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})" if optional else same
    return Rule(
        cel=cel,
        message=f"{name} cannot be changed after creation: delete the resource and create it again",
        field=name,
        kept=lambda old, new: getattr(old, field) == getattr(new, field),
    )


def unique(field: str, *keys: str) -> Rule:
    """A rule that the items of the list `field` differ: in themselves, or in `keys` (Python names)."""
    name, by = to_camel(field), tuple(to_camel(key) for key in keys)

    def holds(value: Any) -> bool:
        items = getattr(value, field)
        seen = [tuple(getattr(item, key) for key in keys) if keys else item for item in items]
        return len(set(seen)) == len(seen)

    what = " and ".join(by) if by else "value"
    return Rule(cel="", message=f"{name} must not have one {what} twice", field=name, holds=holds, unique_by=by)


def not_above(low: str, high: str) -> Rule:
    """A rule that the integer `low` is not above the integer `high` (Python names, both with values)."""
    return Rule(
        cel=f"self.{to_camel(low)} <= self.{to_camel(high)}",
        message=f"{to_camel(low)} must not be greater than {to_camel(high)}",
        field=to_camel(low),
        holds=lambda value: bool(getattr(value, low) <= getattr(value, high)),
    )


# Names of our own things. No "/" and no whitespace: a partition is written tenant/accessLevel.
PARTITION_PART = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
DNS_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
KUBERNETES_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

PartitionPart = Annotated[str, StringConstraints(pattern=PARTITION_PART, max_length=63)]
NAME_LENGTH = 40
"""Characters of a resource's name: names of children (see `names`) and label values have 63."""
ResourceName = Annotated[str, StringConstraints(pattern=DNS_LABEL, max_length=NAME_LENGTH)]
NamespaceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
ObjectName = Annotated[str, StringConstraints(pattern=KUBERNETES_NAME, min_length=1, max_length=253)]
Unit = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$", max_length=8)]
"""A decimal from 0 to 1 written as a string, because resources carry no floating-point numbers."""
# Spelled out in ASCII: what \s and \S mean differs between the API server's expressions and ours.
_AUTHORITY, _PATH = r"[A-Za-z0-9._~%:\[\]-]+", r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*"
HttpUrl = Annotated[str, StringConstraints(pattern=rf"^https?://{_AUTHORITY}(/{_PATH})?$", max_length=2048)]
PageUrl = Annotated[
    str,
    StringConstraints(
        pattern=rf"^https?://{_AUTHORITY}(/{_PATH})?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?$", max_length=2048
    ),
]
"""An HttpUrl that may carry a query."""
RedisUrl = Annotated[str, StringConstraints(pattern=rf"^rediss?://{_AUTHORITY}(/{_PATH})?$", max_length=2048)]
_CRON_FIELD = "[0-9A-Za-z*/,?#-]+"
Cron = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(@(hourly|daily|weekly|monthly|yearly)|{_CRON_FIELD}( {_CRON_FIELD}){{4}})$", max_length=120
    ),
]
Quantity = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]{1,3})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$", max_length=20)
]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", max_length=63)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Argument = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=200)]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class SecretKeyRef(SpecModel):
    """One key of a Secret in the resource's own namespace; it reaches the pod as a file."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] = Field(
        description="Key inside the Secret."
    )


class ConfigMapKeyRef(SpecModel):
    """One key of a ConfigMap in the resource's own namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] = Field(
        description="Key inside the ConfigMap."
    )


class Resources(SpecModel):
    """Compute resources of one container, as Kubernetes writes them."""

    requests: dict[ShortText, Quantity] = Field(
        default_factory=dict, max_length=16, description="Guaranteed amounts by resource name, as quantities in quotes."
    )
    limits: dict[ShortText, Quantity] = Field(
        default_factory=dict, max_length=16, description="Upper bounds by resource name, as quantities in quotes."
    )


COMPUTE_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0", "12.1")
"""CUDA compute capabilities that model servers have images for."""


class Accelerator(SpecModel):
    """Devices that a model server asks for."""

    resource_name: ShortText = Field(default="nvidia.com/gpu", description="Extended resource name of the device.")
    count: int = Field(default=1, ge=1, le=16, description="Number of devices for one replica.")
    compute_capability: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,2}\.[0-9]$", max_length=4)] | None = Field(
        default=None,
        description="CUDA compute capability of the devices, such as 8.9: chooses the image of Text Embeddings "
        "Inference, and nodes that are labelled with it are preferred. Left out, the image finds out at its start.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.computeCapability) || self.computeCapability in "
            f"[{', '.join(repr(each) for each in COMPUTE_CAPABILITIES)}]",
            message=f"no model server has an image for this computeCapability: it has to be one of "
            f"{', '.join(COMPUTE_CAPABILITIES)} (Volta, 7.0, and older devices are too old)",
            field="computeCapability",
            holds=lambda value: value.compute_capability is None or value.compute_capability in COMPUTE_CAPABILITIES,
        ),
    )


class Toleration(SpecModel):
    """A taint that a pod tolerates, as Kubernetes writes it."""

    key: ShortText | None = Field(default=None, description="Key of the taint; left out means every key.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How the value is compared.")
    value: Annotated[str, StringConstraints(max_length=63)] | None = Field(
        default=None, description="Value of the taint for `Equal`."
    )
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; left out means every effect."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.operator == 'Equal' || !has(self.value)",
            message="value belongs to operator Equal; remove it for Exists",
            field="value",
            holds=lambda value: value.operator == "Equal" or value.value is None,
        ),
        Rule(
            cel="self.operator == 'Exists' || has(self.key)",
            message="operator Equal needs a key; without one, write operator Exists",
            field="key",
            holds=lambda value: value.operator == "Exists" or value.key is not None,
        ),
    )


class ModelCache(SpecModel):
    """Where a model server keeps downloaded weights between restarts."""

    size: Quantity = Field(default="10Gi", description="Size of the volume, as a quantity.")
    storage_class_name: ObjectName | None = Field(
        default=None, description="Storage class of the volume; left out means the cluster's default."
    )
    claim_name: ObjectName | None = Field(
        default=None, description="An existing PersistentVolumeClaim to use instead of making one."
    )
    offline: bool = Field(
        default=False,
        description="Whether the claim holds the weights already, laid out as the hub's client caches them: then "
        "nothing is downloaded, and the server needs no way out of the cluster.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!self.offline || has(self.claimName)",
            message="offline needs claimName: a volume that is made for the server is empty at first",
            field="offline",
            holds=lambda value: not value.offline or value.claim_name is not None,
        ),
    )


class ManagedServer(SpecModel):
    """A model server that the operator runs."""

    image: ShortText | None = Field(
        default=None, description="Container image; left out means the image that fits the accelerator."
    )
    replicas: int = Field(default=1, ge=0, le=64, description="Number of replicas.")
    resources: Resources = Field(default_factory=Resources, description="Compute resources of the server.")
    accelerator: Accelerator | None = Field(default=None, description="Devices; left out means the CPU.")
    model_cache: ModelCache | None = Field(
        default=None, description="Volume for weights; left out means that each pod downloads them anew."
    )
    startup_seconds: int | None = Field(
        default=None,
        ge=60,
        le=86400,
        description="Longest time for download, load and warm-up; left out means 600 and 120 for each GiB that "
        "`modelCache.size` has room for.",
    )
    args: tuple[Argument, ...] = Field(
        default=(), max_length=64, description="Further arguments, passed to the server as they are."
    )
    node_selector: dict[ShortText, Annotated[str, StringConstraints(max_length=63)]] = Field(
        default_factory=dict, max_length=16, description="Labels that a node must carry."
    )
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=16, description="Taints that are tolerated.")
    runtime_class_name: ObjectName | None = Field(default=None, description="RuntimeClass of the pods.")


class NetworkPolicy(SpecModel):
    """Which traffic the pods may have."""

    enabled: bool = Field(
        default=True,
        description="Whether each workload has a NetworkPolicy that lets through what it needs and nothing else. "
        "Policies add up: for a further flow, add one of your own that selects the label `lectern.dev/role`.",
    )


class CredentialsRef(SpecModel):
    """A Secret that holds the credentials of one service; which keys it must have is said by the field."""

    name: ObjectName = Field(description="Name of the Secret.")


class S3Location(SpecModel):
    """A bucket of any S3-compatible object store."""

    endpoint: HttpUrl = Field(description="URL of the object store.")
    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", max_length=63)] = Field(
        description="Name of the bucket."
    )
    prefix: Annotated[str, StringConstraints(max_length=512)] = Field(
        default="", description="Start of every key that is used; empty means the whole bucket."
    )
    region: Annotated[str, StringConstraints(max_length=63)] = Field(
        default="us-east-1", description="Region that requests are signed for."
    )
    credentials_secret_ref: CredentialsRef | None = Field(
        default=None, description="Secret with the keys `accessKeyId` and `secretAccessKey`; left out means anonymous."
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Certificate authority of the server; left out means the system's."
    )


class PersistentVolumeLocation(SpecModel):
    """A directory on a PersistentVolumeClaim."""

    claim_name: ObjectName = Field(description="Name of the PersistentVolumeClaim.")


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """One column of `kubectl get` and of `lectern status`."""

    name: str
    type: Literal["string", "integer", "date", "boolean"]
    json_path: str
    description: str
    priority: int = 0
