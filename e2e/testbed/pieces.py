"""What the testbed can build: for each piece its pinned manifest, its outputs and its recipe.

`build` goes through `PIECES`; the context managers ask `path_of` for what has been built. A new piece is one
manifest directory, one recipe and one line in `PIECES`.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.testbed import cache, maven, redis_packages, strimzi
from e2e.testbed.errors import MissingComponent
from e2e.testbed.gobuild import Workshop

HERE = Path(__file__).resolve().parent
BUILD_COMMAND = "python -m e2e.testbed.build"
KUBERNETES_VERSION = "v1.36.3"
KUBERNETES_BINARIES = ("kube-apiserver", "kube-controller-manager", "kubectl")
CONTROL_PLANE_BINARIES = ("etcd", *KUBERNETES_BINARIES)
SCHEDULER_BINARY = "kube-scheduler"
ASSETS = (*CONTROL_PLANE_BINARIES, SCHEDULER_BINARY)
KEDA_MODULE = "github.com/kedacore/keda/v2"
HELM_VERSION = "v4.3.1"
KAFKA_VERSION = "4.1.1"
VERSITYGW_VERSION = "v1.8.0"
PLATFORM_CRDS_IN = {
    "github.com/cert-manager/cert-manager": "deploy/crds",
    "github.com/prometheus-operator/prometheus-operator": "example/prometheus-operator-crd",
    "sigs.k8s.io/gateway-api": "config/crd/standard",
}


@dataclass(frozen=True)
class Piece:
    """One thing to build: `recipe` changes whenever `make` would produce something else from the same manifest."""

    name: str
    manifest: Path
    recipe: str
    outputs: tuple[str, ...]
    purpose: str
    about: str
    free_disk_gigabytes: int
    make: Callable[[Workshop], None]
    files: tuple[str, ...] = cache.GO_FILES

    def place(self, cache_root: Path) -> cache.Place:
        """Say where the piece lies in the cache at `cache_root`."""
        return cache.place(self.name, self.manifest, self.recipe, self.outputs, cache_root, self.files)


def make_control_plane(workshop: Workshop) -> None:
    """Compile the Kubernetes binaries and etcd into `bin/`."""
    binaries = workshop.target / "bin"
    _kubernetes(workshop, binaries, KUBERNETES_BINARIES)
    workshop.go_build("-s -w", str(binaries / "etcd"), "go.etcd.io/etcd/server/v3")


def make_scheduler(workshop: Workshop) -> None:
    """Compile kube-scheduler into `bin/`."""
    _kubernetes(workshop, workshop.target / "bin", (SCHEDULER_BINARY,))


def _kubernetes(workshop: Workshop, binaries: Path, names: tuple[str, ...]) -> None:
    stamps = {"gitVersion": KUBERNETES_VERSION, "gitMajor": "1", "gitMinor": "36", "gitTreeState": "clean"}
    # Without these stamps the server calls itself v0.0.0 and Helm and the clients refuse features by version.
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    link = " ".join(
        ["-s -w", *(f"-X {package}.{key}={value}" for package in packages for key, value in stamps.items())]
    )
    binaries.mkdir()
    workshop.go_build(link, f"{binaries}/", *(f"k8s.io/kubernetes/cmd/{name}" for name in names))


def make_keda_crds(workshop: Workshop) -> None:
    """Copy the CustomResourceDefinitions out of KEDA's module into `crds/`; nothing is compiled."""
    module = workshop.module_directory(KEDA_MODULE)
    shutil.copytree(module / "config" / "crd" / "bases", workshop.target / "crds", copy_function=shutil.copyfile)
    (workshop.target / "crds").chmod(0o755)  # the module cache is read-only


def make_platform_crds(workshop: Workshop) -> None:
    """Copy the CustomResourceDefinitions of what a cluster may have beside Lectern into `crds/`."""
    crds = workshop.target / "crds"
    crds.mkdir()
    for module, folder in PLATFORM_CRDS_IN.items():
        for file in sorted((workshop.module_directory(module) / folder).glob("*.yaml")):
            if "kind: CustomResourceDefinition\n" in file.read_text():  # an admission policy lies beside them
                shutil.copyfile(file, crds / file.name)


def make_helm(workshop: Workshop) -> None:
    """Compile the helm command into `bin/`."""
    binaries = workshop.target / "bin"
    binaries.mkdir()
    # As its own Makefile does; unstamped it would call itself by its minor version only.
    link = f"-s -w -X helm.sh/helm/v4/internal/version.version={HELM_VERSION}"
    workshop.go_build(link, str(binaries / "helm"), "helm.sh/helm/v4/cmd/helm")


def make_s3(workshop: Workshop) -> None:
    """Compile the object store's server into `bin/`."""
    binaries = workshop.target / "bin"
    binaries.mkdir()
    link = f"-s -w -X main.Version={VERSITYGW_VERSION}"
    workshop.go_build(link, str(binaries / "versitygw"), "github.com/versity/versitygw/cmd/versitygw")


def make_kafka(workshop: Workshop) -> None:
    """Copy the broker's jars into `jars/`; nothing is compiled."""
    maven.copy_jars(workshop, workshop.target / "jars")


CONTROL_PLANE = Piece(
    name="controlplane",
    manifest=HERE / "controlplane",
    recipe="1: trimpath, stripped, no cgo, version stamps",
    outputs=tuple(f"bin/{name}" for name in CONTROL_PLANE_BINARIES),
    purpose=f"kube-apiserver, kube-controller-manager and kubectl {KUBERNETES_VERSION}, etcd v3.6.8: "
    "the integration tests run against a real API server",
    about="8 min on two cores with an empty Go build cache, 15 s with a warm one",
    free_disk_gigabytes=6,
    make=make_control_plane,
)
KEDA_CRDS = Piece(
    name="keda-crds",
    manifest=HERE / "keda_module",
    recipe="1: config/crd/bases",
    outputs=("crds/keda.sh_scaledobjects.yaml", "crds/keda.sh_triggerauthentications.yaml"),
    purpose="KEDA's kinds v2.21.0 (definitions only): ScaledObjects are checked by the real schema",
    about="a few seconds, a download",
    free_disk_gigabytes=1,
    make=make_keda_crds,
)
HELM = Piece(
    name="helm",
    manifest=HERE / "helm_module",
    recipe="1: trimpath, stripped, no cgo, version stamp",
    outputs=("bin/helm",),
    purpose=f"helm {HELM_VERSION}: the chart is rendered, installed and upgraded by the real one",
    about="3 min on two cores with an empty Go build cache",
    free_disk_gigabytes=2,
    make=make_helm,
)
PLATFORM_CRDS = Piece(
    name="platform-crds",
    manifest=HERE / "platform_module",
    recipe="1: definitions only, one folder a module",
    outputs=(
        "crds/cert-manager.io_certificates.yaml",
        "crds/gateway.networking.k8s.io_httproutes.yaml",
        "crds/monitoring.coreos.com_servicemonitors.yaml",
    ),
    purpose="the kinds of Gateway API v1.6.3, Prometheus operator v0.85.0 and cert-manager v1.21.2 (definitions only)",
    about="10 s, a download",
    free_disk_gigabytes=1,
    make=make_platform_crds,
)
KAFKA = Piece(
    name="kafka",
    manifest=HERE / "kafka_broker",
    recipe="1: runtime scope, digests checked",
    outputs=(f"jars/kafka_2.13-{KAFKA_VERSION}.jar",),
    purpose=f"Apache Kafka {KAFKA_VERSION}: topics, credentials and lag are tested on a real broker",
    about="10 s, a download of 43 MB (and 100 MB where there is no Java 17)",
    free_disk_gigabytes=1,
    make=make_kafka,
    files=maven.FILES,
)
REDIS = Piece(
    name="redis",
    manifest=HERE / "redis_root",
    recipe="1: unpacked beside each other, tried once",
    outputs=tuple(f"{version}/{redis_packages.PROGRAM}" for version in redis_packages.SUITES),
    purpose="Redis 8.0 with vector sets and Redis 7.0 without: caches are tested on real servers",
    about="30 s, a download of 35 MB",
    free_disk_gigabytes=1,
    make=redis_packages.unpack,
    files=redis_packages.FILES,
)
S3 = Piece(
    name="s3",
    manifest=HERE / "s3_module",
    recipe="1: trimpath, stripped, no cgo, version stamp",
    outputs=("bin/versitygw",),
    purpose=f"Versity S3 Gateway {VERSITYGW_VERSION}: buckets, signatures and refusals come from a real object store",
    about="3 min on two cores with an empty Go build cache",
    free_disk_gigabytes=2,
    make=make_s3,
)
SCHEDULER = Piece(  # a piece of its own: the control plane, eight minutes of work, stays as it is
    name="scheduler",
    manifest=HERE / "scheduler_module",
    recipe="1: trimpath, stripped, no cgo, version stamps",
    outputs=(f"bin/{SCHEDULER_BINARY}",),
    purpose=f"kube-scheduler {KUBERNETES_VERSION}: a pod gets its node, or the reason why not, from the real one",
    about="2 min on two cores after the control plane's build, 15 s with a warm Go build cache",
    free_disk_gigabytes=2,
    make=make_scheduler,
)
STRIMZI_CRDS = Piece(
    name="strimzi-crds",
    manifest=HERE / "strimzi_kinds",
    recipe="1: KafkaTopic v1, digests checked",
    outputs=(strimzi.OUTPUT,),
    purpose="the kind KafkaTopic of Strimzi 1.2.0 (definition only)",
    about="20 s, a download of 40 MB (and 100 MB where the Java of the testbed is not there yet)",
    free_disk_gigabytes=1,
    make=strimzi.make_crds,
    files=maven.FILES,
)
PIECES = (CONTROL_PLANE, HELM, KAFKA, KEDA_CRDS, PLATFORM_CRDS, REDIS, S3, SCHEDULER, STRIMZI_CRDS)


def binaries(environment: Mapping[str, str]) -> Path:
    """Return the directory with the control plane's binaries: KUBEBUILDER_ASSETS if set, else what was built.

    Raises MissingComponent where a binary is not there.
    """
    given = environment.get("KUBEBUILDER_ASSETS")
    if given:
        absent = [name for name in ASSETS if not (Path(given) / name).is_file()]
        if absent:
            raise MissingComponent(
                f"KUBEBUILDER_ASSETS={given} lacks {', '.join(absent)}; add what is missing there, "
                f"or unset the variable and run `{BUILD_COMMAND}`."
            )
        return Path(given)
    return path_of(CONTROL_PLANE, environment) / "bin"


def scheduler(environment: Mapping[str, str]) -> Path:
    """Return the program kube-scheduler: from KUBEBUILDER_ASSETS if set, else what was built."""
    if environment.get("KUBEBUILDER_ASSETS"):
        return binaries(environment) / SCHEDULER_BINARY
    return path_of(SCHEDULER, environment) / "bin" / SCHEDULER_BINARY


def path_of(piece: Piece, environment: Mapping[str, str]) -> Path:
    """Return the directory of a piece that has been built; raise MissingComponent where it has not."""
    place = piece.place(cache.root(environment))
    if place.missing:
        raise MissingComponent(
            f"The testbed's {piece.name} is not in the cache ({place.directory} lacks {', '.join(place.missing)}); "
            f"run `{BUILD_COMMAND}` ({piece.about})."
        )
    return place.directory
