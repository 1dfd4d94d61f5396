"""What the settings of several runtimes have in common: their base, and a Redis server."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SettingsModel(BaseModel):
    """Base of every part of a settings file: frozen, and no field that this release does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RedisSettings(SettingsModel):
    """A Redis server; files that are given hold its user and password."""

    url: str
    username_file: str | None
    password_file: str | None
    ca_file: str | None


class TracingSettings(SettingsModel):
    """Where spans go, and which share of new traces is recorded; `endpoint` takes OTLP over HTTP at `/v1/traces`."""

    endpoint: str
    sample_ratio: float
