"""Where errors of the sub-commands become exit statuses, and what several sub-commands share.

Exit status 2: something that the user wrote, or this machine, does not allow it; the sentence on standard error names
thing, cause and next step.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import typer

from lectern_contract.errors import LecternError

DEFAULT_URL = "http://127.0.0.1:8080"
URL = typer.Option("--url", envvar="LECTERN_URL", help="A running Lectern.")


async def with_client(url: str, call: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Give `call` a client of the Lectern at `url`, and return what it returns."""
    import httpx

    from lectern_cli.client import Client

    async with httpx.AsyncClient(trust_env=False) as http:
        return await call(Client(url.rstrip("/"), http))


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine; a LecternError becomes a sentence on standard error and exit status 2."""
    try:
        return asyncio.run(main())
    except LecternError as error:
        refuse(error)
    except ExceptionGroup as group:  # tasks of the embedded mode end together
        ours, others = group.split(LecternError)
        if ours is None or others is not None:
            raise
        refuse(_first(ours))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def refuse(error: BaseException) -> NoReturn:
    """Say an error on standard error and leave with exit status 2."""
    print(f"lectern: {error}", file=sys.stderr)
    raise typer.Exit(2) from error


def _first(group: BaseExceptionGroup[LecternError]) -> BaseException:
    """The first error of a group, however deep."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
