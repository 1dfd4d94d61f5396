"""The CustomResourceDefinition of Strimzi's KafkaTopic, written by Strimzi's own generator from its released classes.

The recipe of a piece; `platform_crds` gives tests what it made. Strimzi's definitions are in no package registry, its
classes and their generator are.
"""

import shutil
from dataclasses import replace

from e2e.testbed import cache, index_package, java, maven
from e2e.testbed.gobuild import Workshop

GENERATOR = "io.strimzi.crdgenerator.CrdGenerator"
TOPIC = "io.strimzi.api.kafka.model.topic.KafkaTopic"
WHY = "Strimzi's classes are compiled for Java 21"
OUTPUT = "crds/kafka.strimzi.io_kafkatopics.yaml"


def make_crds(workshop: Workshop) -> None:
    """Write the definition into `crds/`; the jars that it is made with are not kept."""
    jars, definition = workshop.target / "jars", workshop.target / OUTPUT
    maven.copy_jars(workshop, jars)
    definition.parent.mkdir()
    program = index_package.ensure(java.PACKAGE, cache.root(workshop.environment), workshop.environment, WHY)
    options = ["--yaml", "--target-kube", "1.30+", "--crd-api-version", "v1", "--api-versions", "v1"]
    replace(workshop, tool=program).run(
        ["-cp", f"{jars}/*", GENERATOR, *options, "--storage-version", "v1", f"{TOPIC}={definition}"],
        "write the definition of KafkaTopic",
        workshop.environment,
        lambda _, status: f"the generator ended with status {status}; the lines below tell the cause.",
        lambda _: "",
    )
    shutil.rmtree(jars)
