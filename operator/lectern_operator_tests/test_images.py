"""What the environment of the operator says of every child: images, pull secrets, who may look in."""

from __future__ import annotations

import pytest

from lectern_contract.errors import ConfigurationError, ResourceInvalid
from lectern_contract.resources.common import COMPUTE_CAPABILITIES, Accelerator
from lectern_operator.desired import images
from lectern_operator.desired.images import Images
from lectern_operator_tests import worlds

TEI = Images(text_embeddings="tei")


def test_an_empty_environment_leaves_the_defaults() -> None:
    assert images.from_environment({"LECTERN_IMAGE_WORKER": "", "LECTERN_IMAGE_PULL_SECRETS": " , "}) == Images()


def test_the_environment_names_every_image_and_what_surrounds_the_pods() -> None:
    environment = {
        "LECTERN_IMAGE_CONNECTOR": "ingest:1",
        "LECTERN_IMAGE_PULL_SECRETS": "registry, other.registry",
        "LECTERN_IMAGE_QUERY": "query:1",
        "LECTERN_IMAGE_TEXT_EMBEDDINGS": "tei",
        "LECTERN_IMAGE_VLLM": "vllm:1",
        "LECTERN_IMAGE_VLLM_CPU": "vllm-cpu:1",
        "LECTERN_IMAGE_WORKER": "worker:1",
        "LECTERN_MONITORING_NAMESPACE": "monitoring",
        "LECTERN_MONITOR_LABELS": "team=a,example.com/release=prometheus",
        "POD_NAMESPACE": "operators",
    }
    assert images.from_environment(environment) == Images(
        worker="worker:1",
        connector="ingest:1",
        query="query:1",
        text_embeddings="tei",
        vllm="vllm:1",
        vllm_cpu="vllm-cpu:1",
        pull_secrets=("registry", "other.registry"),
        operator_namespace="operators",
        monitoring_namespace="monitoring",
        monitor_labels=(("example.com/release", "prometheus"), ("team", "a")),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LECTERN_IMAGE_PULL_SECRETS", "good,Not Good"),
        ("LECTERN_MONITORING_NAMESPACE", "Monitoring"),
        ("LECTERN_MONITOR_LABELS", "release"),
        ("LECTERN_MONITOR_LABELS", "=prometheus"),
        ("LECTERN_MONITOR_LABELS", "release=" + "x" * 64),
        ("POD_NAMESPACE", "x" * 254),
    ],
)
def test_what_cannot_be_a_name_is_refused_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\${name}"):
        images.from_environment({name: value})


@pytest.mark.parametrize(
    ("capability", "image"),
    [
        ("7.5", "tei:turing-1.9"),
        ("8.0", "tei:1.9"),
        ("8.6", "tei:86-1.9"),
        ("8.9", "tei:89-1.9"),
        ("9.0", "tei:hopper-1.9"),
        ("10.0", "tei:100-1.9"),
        ("12.0", "tei:120-1.9"),
        ("12.1", "tei:121-1.9"),
        (None, "tei:cuda-1.9"),
    ],
)
def test_the_compute_capability_chooses_the_image(capability: str | None, image: str) -> None:
    assert TEI.text_embeddings_for(Accelerator(compute_capability=capability)) == image


@pytest.mark.parametrize("capability", COMPUTE_CAPABILITIES)
def test_every_compute_capability_that_a_spec_may_name_has_an_image(capability: str) -> None:
    assert TEI.text_embeddings_for(Accelerator(compute_capability=capability)).startswith("tei:")


def test_a_volta_is_refused_with_a_sentence() -> None:
    with pytest.raises(ResourceInvalid, match=r"Volta, 7\.0, and older devices are too old"):
        worlds.knowledge_base(embedding__server__managed__accelerator={"computeCapability": "7.0"})


def test_without_an_accelerator_the_images_are_those_for_cpus() -> None:
    assert TEI.text_embeddings_for(None) == "tei:cpu-1.9"
    assert (worlds.IMAGES.vllm_server(accelerated=False), worlds.IMAGES.vllm_server(accelerated=True)) == (
        "vllm-cpu:test",
        "vllm-openai:test",
    )
