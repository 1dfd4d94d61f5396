"""The `lectern` command: its sub-commands and their options; `border` turns errors into exit statuses.

Exit status 0: done. 1: done, and the result is not what it should be. 2: something that the user wrote, or
this machine, does not allow it; the sentence on standard error names thing, cause and next step.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lectern_cli import rewind_command, sources_command
from lectern_cli.border import DEFAULT_URL, URL, refuse, run, with_client
from lectern_contract.errors import LecternError

app = typer.Typer(
    name="lectern",
    help="Retrieval-augmented generation as Kubernetes resources, and in one process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(sources_command.app, name="sources")
app.command()(rewind_command.rewind)

FILES = typer.Option("-f", "--file", help="File or directory with resources.")
MOUNT = typer.Option("--mount", help="CLAIM=DIR: where a PersistentVolumeClaim lies on this machine.")
ENDPOINT = typer.Option("--endpoint", help="RagEndpoint to serve, when there are several.")


@app.command()
def up(
    file: Annotated[Path, FILES],
    mount: Annotated[list[str] | None, MOUNT] = None,
    data_dir: Annotated[Path, typer.Option(help="Where the state is kept.")] = Path(".lectern/data"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 takes a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    endpoint: Annotated[str | None, ENDPOINT] = None,
    sync_seconds: Annotated[float, typer.Option(min=1, max=86400, help="Time between looks at the sources.")] = 15,
    api_keys: Annotated[Path | None, typer.Option(help="Directory of API keys, to push and to ask.")] = None,
) -> None:
    """Ingest the sources of the resources in one process and keep serving the query API."""
    from rich.console import Console

    from lectern_cli import serve

    run(
        lambda: serve.up(
            serve.Options(
                file=file,
                mounts=mount or [],
                data_directory=data_dir,
                host=host,
                port=port,
                endpoint=endpoint,
                sync_seconds=sync_seconds,
                api_keys=api_keys,
            ),
            Console(stderr=True),
        )
    )


@app.command()
def demo(
    file: Annotated[Path, FILES],
    questions: Annotated[Path, typer.Option(help="Questions with the documents that answer them.")],
    mount: Annotated[list[str] | None, MOUNT] = None,
    data_dir: Annotated[Path, typer.Option(help="Where the state is kept.")] = Path(".lectern/demo"),
    endpoint: Annotated[str | None, ENDPOINT] = None,
) -> None:
    """Ingest the sources, ask questions, print the answers; exit status 1 unless all come out as expected."""
    from rich.console import Console

    from lectern_cli import serve

    options = serve.Options(
        file=file,
        mounts=mount or [],
        data_directory=data_dir,
        host="127.0.0.1",
        port=0,
        endpoint=endpoint,
        sync_seconds=86400,
    )
    if not run(lambda: serve.demo(options, questions, Console())):
        raise typer.Exit(1)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    url: Annotated[str, URL] = DEFAULT_URL,
    top_k: Annotated[int | None, typer.Option(min=1, max=100, help="Passages that the answer is made of.")] = None,
) -> None:
    """Ask a running Lectern one question."""
    from rich.console import Console

    from lectern_cli.demo import print_answer

    answer = run(lambda: with_client(url, lambda client: client.ask(question, top_k=top_k)))
    print_answer(Console(), question, answer)


@app.command()
def status(
    url: Annotated[str, URL] = DEFAULT_URL,
    output: Annotated[str, typer.Option("-o", "--output", help="table, wide or json.")] = "table",
) -> None:
    """Print the resources of a running embedded Lectern as `kubectl get` would."""
    import json

    from lectern_cli import table

    if output not in ("table", "wide", "json"):
        raise typer.BadParameter(f"{output!r} is none of table, wide, json", param_hint="--output")
    resources = run(lambda: with_client(url, lambda client: client.resources()))
    if output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": resources}, indent=2))
    else:
        print(table.render(resources, now=datetime.now(UTC), wide=output == "wide"))


@app.command()
def dlq(
    act: Annotated[str, typer.Argument(help="list, show, replay or drop.")],
    file: Annotated[Path, FILES],
    knowledge_base: Annotated[str | None, typer.Option(help="Whose letters, when there are several.")] = None,
    source: Annotated[str | None, typer.Option(help="Letters of this IngestionSource.")] = None,
    reason: Annotated[str | None, typer.Option(help="Letters of this reason, for instance Encrypted.")] = None,
    uri: Annotated[str | None, typer.Option(help="Letters whose uri fits this shell pattern.")] = None,
    since: Annotated[str | None, typer.Option(help="Letters from this moment on, RFC 3339.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Where the state is kept.")] = Path(".lectern/data"),
) -> None:
    """Look at the documents that were given up, say them again, or say that they are gone (while `up` is stopped)."""
    from lectern_cli import dead_letters
    from lectern_runtime.maintain import __main__ as maintain

    if act not in maintain.ACTS:
        raise typer.BadParameter(f"{act!r} is none of {', '.join(maintain.ACTS)}", param_hint="ACT")

    async def acted() -> str:
        wanted = maintain.filter_of(act, source, reason, uri, since)
        return await dead_letters.act(
            act, wanted, file=file, data_dir=data_dir, knowledge_base=knowledge_base, as_json=as_json
        )

    print(run(acted), end="")


@app.command()
def doctor(
    data_dir: Annotated[Path, typer.Option(help="Data directory to look at.")] = Path(".lectern/data"),
) -> None:
    """Say what is missing on this machine and how to get it."""
    from lectern_cli import doctor as examination

    findings = examination.examine(data_dir)
    width = max(len(finding.thing) for finding in findings)
    for finding in findings:
        line = f"{finding.state:<8}  {finding.thing:<{width}}  {finding.seen}"
        print(f"{line}\n{'':<{width + 12}}→ {finding.next_step}" if finding.next_step else line)
    missing = [finding.thing for finding in findings if finding.state == "missing"]
    print(f"doctor: {len(missing)} missing" + (f": {', '.join(missing)}" if missing else ""))
    if missing:
        raise typer.Exit(1)


@app.command()
def finalize(
    kind: Annotated[str | None, typer.Argument(help="kb, isrc or rag; left out with --all.")] = None,
    name: Annotated[str | None, typer.Argument(help="Name of the object.")] = None,
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", help="Its namespace.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All objects of the namespace, or of all.")] = False,
    including_live: Annotated[bool, typer.Option(help="Also objects that nobody has deleted.")] = False,
) -> None:
    """Let objects go whose operator is gone: take Lectern's finalizer from them."""
    from lectern_cli import finalize as finalizing

    if everything == (name is not None):
        raise typer.BadParameter("name one object (kb NAME -n NAMESPACE), or say --all")
    chosen = finalizing.Chosen(namespace if everything else namespace or "default", kind, name, including_live)

    async def free() -> None:
        for line in finalizing.on_cluster(chosen):
            print(line)

    run(free)


@app.command()
def crds() -> None:
    """Print the custom resource definitions, for kubectl apply --server-side -f -."""
    from lectern_operator import crd

    print("---\n".join(crd.files().values()), end="")


@app.command("api-key")
def api_key(
    key_id: Annotated[str, typer.Option("--id", help="Name of the key, and of its file in the Secret.")],
    tenant: Annotated[str, typer.Option(help="Whose documents its holder may reach.")],
    access_level: Annotated[list[str], typer.Option(help="One of the access levels; may be repeated.")],
    scope: Annotated[list[str] | None, typer.Option(help="What it is for; default: push. May be repeated.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="When it ends, as in 2027-01-31T00:00:00Z.")] = None,
) -> None:
    """Make an API key: print it once, and the JSON for the Secret that lets its holder in."""
    from lectern_cli import api_key as making

    wanted = making.Wanted(key_id, tenant, tuple(access_level), tuple(scope or ("push",)), expires_at)
    try:
        made = making.make(wanted)
    except LecternError as error:
        refuse(error)
    print(making.explained(wanted), file=sys.stderr)
    print(made.key)
    print(made.file)


@app.command("serve-embeddings")
def serve_embeddings(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 takes a free one.")] = 8081,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    max_concurrent_requests: Annotated[int, typer.Option(min=1, help="Inputs at once; beyond it answers 429.")] = 512,
    max_client_batch_size: Annotated[int, typer.Option(min=1, max=1024, help="Inputs of one request.")] = 32,
    max_batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens that are worked on together.")] = 4096,
    payload_limit: Annotated[int, typer.Option(min=1, help="Bytes of one request.")] = 2_000_000,
    auto_truncate: Annotated[bool, typer.Option(help="Cut long inputs when a request does not say.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: one for each processor.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of the model; default: the installed package.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with the key that clients must show.")] = None,
) -> None:
    """Serve the MiniLM of the embedded mode over the HTTP API of Text Embeddings Inference."""
    from lectern_cli import serve_embeddings as serving
    from lectern_runtime.embedding_server.engine import Limits
    from lectern_runtime.telemetry import logging as log_lines

    log_lines.configure("INFO")
    limits = Limits(max_concurrent_requests, max_client_batch_size, max_batch_tokens, payload_limit, auto_truncate)
    options = serving.Options(host, port, limits, threads, weights, api_key_file)
    run(lambda: serving.serve(options))


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
