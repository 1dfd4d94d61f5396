"""What an installation gives to every child: images, pull secrets, and who may look at the pods from outside.

Read once from the environment in `main`, passed to every builder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lectern_contract.errors import ConfigurationError
from lectern_contract.resources.common import KUBERNETES_NAME, Accelerator

TEI_VERSION = "1.9"
_TEI_VARIANTS = {
    "7.5": "turing-",
    "8.0": "",
    "8.6": "86-",
    "8.9": "89-",
    "9.0": "hopper-",
    "10.0": "100-",
    "12.0": "120-",
    "12.1": "121-",
}
"""Tag prefixes of TEI's images by CUDA compute capability, as its project publishes them."""

_LABEL_VALUE = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
_LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"


@dataclass(frozen=True, slots=True)
class Images:
    """References of the images; `text_embeddings` has no tag, because the accelerator decides it.

    `pull_secrets` are names of Secrets in the namespace of the pods. `operator_namespace` is where the operator runs:
    from there pods are asked which settings they loaded. Pods of `monitoring_namespace` may scrape ours; empty means
    any Prometheus of the Prometheus operator. `monitor_labels` are put on each ServiceMonitor, as key and value.
    """

    worker: str = "lectern-worker"
    connector: str = "lectern-ingest"
    query: str = "lectern-query"
    text_embeddings: str = "ghcr.io/huggingface/text-embeddings-inference"
    vllm: str = "vllm/vllm-openai:v0.33.0"
    vllm_cpu: str = "public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:v0.33.0"
    pull_secrets: tuple[str, ...] = ()
    operator_namespace: str = "lectern-system"
    monitoring_namespace: str = ""
    monitor_labels: tuple[tuple[str, str], ...] = ()

    def text_embeddings_for(self, accelerator: Accelerator | None) -> str:
        """Return TEI's image: that of the compute capability, one that detects it, or the one for CPUs."""
        if accelerator is None:
            variant = "cpu-"
        elif accelerator.compute_capability is None:
            variant = "cuda-"
        else:
            variant = _TEI_VARIANTS[accelerator.compute_capability]
        return f"{self.text_embeddings}:{variant}{TEI_VERSION}"

    def vllm_server(self, *, accelerated: bool) -> str:
        """Return vLLM's image: the one for CUDA devices, or the one for CPUs."""
        return self.vllm if accelerated else self.vllm_cpu


_IMAGES = {
    "LECTERN_IMAGE_CONNECTOR": "connector",
    "LECTERN_IMAGE_QUERY": "query",
    "LECTERN_IMAGE_TEXT_EMBEDDINGS": "text_embeddings",
    "LECTERN_IMAGE_VLLM": "vllm",
    "LECTERN_IMAGE_VLLM_CPU": "vllm_cpu",
    "LECTERN_IMAGE_WORKER": "worker",
}


def from_environment(environment: Mapping[str, str]) -> Images:
    """Return what the environment says; a variable that is empty or not there leaves the default.

    Raises `ConfigurationError` for a name that no object of Kubernetes can have.
    """
    namespaces = {"operator_namespace": "POD_NAMESPACE", "monitoring_namespace": "LECTERN_MONITORING_NAMESPACE"}
    found = {field: environment[name] for name, field in _IMAGES.items() if environment.get(name)}
    found |= {
        field: _name(name, environment[name]) for field, name in sorted(namespaces.items()) if environment.get(name)
    }
    secrets = [_name("LECTERN_IMAGE_PULL_SECRETS", each) for each in _each(environment, "LECTERN_IMAGE_PULL_SECRETS")]
    labels = [_label(each) for each in _each(environment, "LECTERN_MONITOR_LABELS")]
    return Images(**found, pull_secrets=tuple(secrets), monitor_labels=tuple(sorted(labels)))


def _each(environment: Mapping[str, str], name: str) -> list[str]:
    return [each.strip() for each in environment.get(name, "").split(",") if each.strip()]


def _name(variable: str, text: str) -> str:
    if re.match(KUBERNETES_NAME, text) is None or len(text) > 253:
        raise ConfigurationError(f"${variable}: {text!r} is not a name in Kubernetes; correct the variable")
    return text


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if re.match(_LABEL_KEY, key) is None or re.match(_LABEL_VALUE, value) is None:
        raise ConfigurationError(f"$LECTERN_MONITOR_LABELS: {text!r} is no label; write it as key=value, with commas")
    return key, value
