"""A living Secret in what a workflow says, is enqueued with, or is given on a command line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import perdure
from conftest import Machine
from perdure import Secret, aio, workflow
from perdure.cli.workflow_arguments import NOTE, parse_arguments
from perdure.errors import NotStorable, Suspended

VALUE = "tulip-garden-walk-99"


@workflow(name="texts.says")
def says(password: Secret[str]) -> None:
    perdure.set_progress(1, 2, f"with {password.reveal()}")
    perdure.approval(f"use {password.reveal()}?", details=f"it is {password.reveal()}")


@workflow(name="texts.asays")
async def asays(password: Secret[str]) -> None:
    perdure.set_progress(1, 2, f"with {password.reveal()}")
    await aio.approval(f"use {password.reveal()}?", details=f"it is {password.reveal()}")


@workflow(name="texts.waits")
def waits(password: Secret[str]) -> None:
    perdure.wait_for("paid", key=password.reveal())


@pytest.mark.parametrize("flow", [says, asays])
def test_notes_and_questions_are_stored_and_shown_without_it(machine: Machine, flow: Any, capsys: Any) -> None:
    """The value is in no file of the state; the title is asked once, since it goes by what is stored."""
    password = Secret(VALUE)
    for _ in range(2):
        with pytest.raises(Suspended):
            asyncio.run(flow(password)) if flow is asays else flow(password)
    assert "waits for an approval: use ***?" in capsys.readouterr().err
    assert len(machine.steps()) == 1
    machine.boot()
    files = [file.read_bytes() for file in Path(machine.folder).rglob("*") if file.is_file()]
    assert any(b"use ***?" in data and b"it is ***" in data and b"with ***" in data for data in files)
    assert not any(VALUE.encode() in data for data in files)


def test_the_key_of_a_wait_is_shown_without_it(machine: Machine, capsys: Any) -> None:
    """It is stored, since the sender has to name it; what is printed hides it, and names no command that has it."""
    with pytest.raises(Suspended):
        waits(Secret(VALUE))
    said = capsys.readouterr().err
    assert "paid (***)" in said
    assert "perdure signal" not in said
    assert VALUE not in said


def test_a_worker_is_never_to_call_with_it(machine: Machine) -> None:
    """Where it lies: as an argument, in a list, by name. Nothing is enqueued, and no schedule is declared."""
    for refused in (
        lambda: says.enqueue(Secret(VALUE)),
        lambda: says.enqueue_many([(Secret(VALUE),)]),
        lambda: waits.enqueue(password=[{"a": Secret(VALUE)}]),  # type: ignore[arg-type]
        lambda: perdure.schedule(says, "every 1h", name="texts", args=[Secret(VALUE)]),
    ):
        with pytest.raises(NotStorable, match="a Secret is never stored, so a worker cannot be given it"):
            refused()
    assert machine.runs() == []


def test_a_command_line_gives_it_as_text(capsys: Any) -> None:
    """By place or name; what only holds one is refused. The help says that others see it, and nothing of typing."""

    @workflow(name="texts.typed")
    def typed(one: Secret[str], two: Secret[bytes] | None = None) -> None: ...

    @workflow(name="texts.nested")
    def nested(many: list[Secret[str]]) -> None: ...

    assert parse_arguments(typed._spec, "run", ["a", "--two", "b"]) == ((Secret("a"), Secret(b"b")), {}, {})
    with pytest.raises(Exception, match="holds a Secret beside other things"):
        parse_arguments(nested._spec, "run", ["a"])
    assert parse_arguments(typed._spec, "run", ["--help"]) is None
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert NOTE in shown
    assert "paramspec" not in shown
