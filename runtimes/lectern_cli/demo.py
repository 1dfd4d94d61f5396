"""Questions with their expected documents against a running Lectern: the last part of `lectern demo`.

Each question is asked over HTTP, as any client would. An answer counts when its first citation is from
the expected document; a question that the documents do not answer counts when it is refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from rich.console import Console
from rich.table import Table

from lectern_cli import manifests
from lectern_cli.client import Client
from lectern_contract.errors import ConfigurationError

KEY = "questions.yaml"


class Question(BaseModel):
    """A question and what a right answer rests on: a document, or a refusal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(min_length=1)
    document: str | None = None
    refused: bool = False

    @model_validator(mode="after")
    def _one_expectation(self) -> Question:
        if (self.document is None) != self.refused:
            raise ValueError("say either the document that answers it or refused: true")
        return self


_QUESTIONS = TypeAdapter(list[Question])


@dataclass(frozen=True)
class Outcome:
    """A question, what came back, and whether it is what was expected."""

    question: Question
    answer: dict[str, Any]
    milliseconds: float

    @property
    def document(self) -> str | None:
        """Document of the first citation."""
        citations = self.answer["citations"]
        return str(citations[0]["uri"]) if citations else None

    @property
    def right(self) -> bool:
        """Whether the answer came from the expected document, or was refused as expected."""
        if self.question.refused:
            return bool(self.answer["refused"])
        return not self.answer["refused"] and self.document == self.question.document


def read_questions(path: Path) -> list[Question]:
    """Questions of a ConfigMap with the key `questions.yaml`, or of a plain YAML list."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("kind") == "ConfigMap":
            content = yaml.safe_load(content["data"][KEY])
        questions = _QUESTIONS.validate_python(content)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}; name a file with --questions") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {manifests.yaml_fault(error)}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path}: a ConfigMap without the key {KEY}; put the questions there") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "list"
        raise ConfigurationError(f"{path}: question {where}: {fault['msg']}") from error
    if not questions:
        raise ConfigurationError(f"{path}: no question in it; write at least one with the document that answers it")
    return questions


async def ask_all(url: str, questions: Iterable[Question], console: Console) -> list[Outcome]:
    """Ask the Lectern at `url` one after the other and print each answer as it comes."""
    outcomes = []
    async with httpx.AsyncClient(trust_env=False) as http:
        client = Client(url, http)
        for number, question in enumerate(questions, start=1):
            started = time.perf_counter()
            answer = await client.ask(question.question)
            outcome = Outcome(question, answer, (time.perf_counter() - started) * 1000)
            outcomes.append(outcome)
            print_answer(console, question.question, outcome.answer, number=number, right=outcome.right)
    return outcomes


def print_answer(
    console: Console, question: str, answer: dict[str, Any], *, number: int | None = None, right: bool | None = None
) -> None:
    """One answer with its citations and timings, readable at 80 columns."""
    mark = "" if right is None else ("[green]right[/green]  " if right else "[red]WRONG[/red]  ")
    head = f"{number}. " if number is not None else ""
    console.print(f"\n[bold]{head}{_plain(question)}[/bold]")
    console.print(_plain(answer["answer"]), style="yellow" if answer["refused"] else "")
    for place, citation in enumerate(answer["citations"], start=1):
        section = f" > {citation['section']}" if citation.get("section") else ""
        page = f", page {citation['page']}" if citation.get("page") else ""
        where = f"{citation['uri']}{section}{page}, characters {citation['start']}-{citation['end']}"
        console.print(f"  [dim]\\[{place}] {_plain(where)}[/dim]")
    facts = f"confidence {answer['confidence']:.2f}, cache {answer['cache']}, {_times(answer['timings'])}"
    console.print(f"  {mark}[dim]{facts}[/dim]")


def summary(outcomes: list[Outcome]) -> Table:
    """All questions in one table: the document of the answer, its support, the time; what was expected if not that."""
    table = Table(title="questions", title_justify="left", header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("question", overflow="fold")
    table.add_column("answered from", overflow="fold")
    table.add_column("support", justify="right")
    table.add_column("ms", justify="right")
    table.add_column("")
    for number, outcome in enumerate(outcomes, start=1):
        found = "(refused)" if outcome.answer["refused"] else str(outcome.document)
        expected = outcome.question.document or "(refused)"
        table.add_row(
            str(number),
            _plain(outcome.question.question),
            found if outcome.right else f"{found}\n[red]expected {expected}[/red]",
            f"{outcome.answer['confidence']:.2f}",
            f"{outcome.milliseconds:.0f}",
            "[green]✓[/green]" if outcome.right else "[red]✗[/red]",
        )
    return table


def verdict(outcomes: list[Outcome]) -> str:
    """The last line of the demo."""
    right = sum(outcome.right for outcome in outcomes)
    return f"demo: {right}/{len(outcomes)} answered from the expected document"


def _times(timings: dict[str, float]) -> str:
    """The total and the stages that took at least half a millisecond."""
    stages = [f"{name} {value:.0f}" for name, value in timings.items() if name != "total" and value >= 0.5]
    return f"{timings['total']:.0f} ms" + (f" ({', '.join(stages)})" if stages else "")


def _plain(text: str) -> str:
    """Text without control characters, its brackets escaped for the console's markup."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text).replace("[", "\\[")
