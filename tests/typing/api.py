"""What type checkers see. Never run: `mypy --strict` and `pyright` check it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, assert_type
from uuid import UUID

import perdure
from perdure import (
    Batch,
    BoundStep,
    Breaker,
    DeadLetter,
    Handle,
    HeldLock,
    Rate,
    Retry,
    Step,
    Workflow,
    deterministic_id,
    register_codec,
    retry,
    step,
    workflow,
)


@dataclass
class Order:
    id: str


@step
def bare(order: Order, n: int = 1) -> str:
    return order.id * n


@step(retry=Retry(attempts=5, on=(OSError,)), timeout="20s", name="named", isolate=False)
def with_options(order: Order, *, fast: bool = False) -> list[str]:
    return [order.id] if fast else []


@step(retry=None, timeout=timedelta(seconds=3), key=lambda order: order.id)
async def asynchronous(order: Order) -> int:
    return len(order.id)


@step(key=lambda order: order.id)
def with_key(order: Order) -> str:
    return order.id


class Client:
    @step
    def method(self, order: Order) -> bytes:
        return order.id.encode()

    @step
    async def amethod(self, order: Order) -> bytes:
        return order.id.encode()


def plain(n: int) -> float:
    return n / 2


wrapped = step(plain, name="plain", timeout=1.5)

breaker = Breaker("svc", ratio=0.5, window="1m", cooldown=timedelta(seconds=3), when_open="fail")
rate = Rate("10/s", name="api")


@step(breaker=breaker, rate=rate)
def guarded(order: Order) -> str:
    return order.id


@step(breaker="svc", rate="10/s")
async def aguarded(order: Order) -> str:
    return order.id


@breaker
def broken(order: Order, n: int = 1) -> str:
    return order.id * n


@rate
async def limited(order: Order) -> int:
    return len(order.id)


Breaker("svc", when_open="hope")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

order = Order("o")
assert_type(guarded(order), str)
assert_type(guarded.map([order]), Batch[str])
assert_type(broken(order, n=2), str)
assert_type(breaker.call(broken, order), str)
assert_type(rate.call(len, "abc"), int)
assert_type(breaker.state, Literal["closed", "open", "half-open", "isolated"])
broken("o")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
with breaker, rate:
    pass
assert_type(bare(order), str)
assert_type(bare(order, n=2), str)
assert_type(with_options(order, fast=True), list[str])
assert_type(wrapped(1), float)
assert_type(Client().method(order), bytes)
bare("o")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
bare(order, m=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Client().method(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

assert_type(bare.map([order]), Batch[str])
assert_type(wrapped.map(range(3), concurrency=4, on_failure="raise", key=str), Batch[float])
assert_type(Client().method.map([order]), Batch[bytes])
assert_type(bare.map([order]).dead[0], DeadLetter)
assert_type(list(bare.map([order]).results), list[str])


async def in_async_code() -> None:
    assert_type(await limited(order), int)
    assert_type(await breaker.call(limited, order), int)
    assert_type(await aguarded(order), str)
    async with breaker, rate:
        pass
    assert_type(await asynchronous(order), int)
    assert_type(await Client().amethod(order), bytes)
    assert_type(await asynchronous.map([order], concurrency=2), Batch[int])
    assert_type(await asynchronous.map(orders()), Batch[int])
    assert_type(await Client().amethod.map([order]), Batch[bytes])
    assert_type(await anightly("d"), int)
    assert_type(await anightly.with_options(id="x")("d"), int)
    assert_type(await anightly.start("d"), int)
    assert_type(await nightly.start("d"), str)
    assert_type(await (await perdure.aio.enqueue(anightly, "d")), int)
    assert_type(await (await perdure.aio.enqueue(nightly.with_options(id="x"), "d", count=1)), str)


async def orders() -> AsyncIterator[Order]:
    yield order


@workflow
def nightly(day: str, count: int = 1) -> str:
    return day * count


@workflow(name="anightly")
async def anightly(day: str) -> int:
    return len(day)


assert_type(nightly("d", count=2), str)
assert_type(nightly.with_options(id="x")("d"), str)
assert_type(nightly.start("d").result(), str)
assert_type(nightly.start("d").result(timeout=3.0), str)
assert_type(anightly.start("d").result(), int)
assert_type(nightly.start("d").id, str)
assert_type(nightly.enqueue("d", count=2).result(), str)
assert_type(anightly.with_options(queue="mail", delay="1m").enqueue("d").result(), int)
assert_type(nightly.enqueue_many([("d",), {"day": "e"}])[0].result(), str)
assert_type(perdure.runs(status="queued"), list[perdure.RunInfo])
nightly.enqueue(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
nightly(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

assert_type(perdure.now(), datetime)
assert_type(perdure.uuid(), UUID)
assert_type(perdure.random(), float)
assert_type(perdure.idempotency_key(), str)
assert_type(perdure.attempt(), int)


@retry
def retried(order: Order, n: int = 1) -> str:
    return order.id * n


@retry(attempts=5, delay="1s", jitter="full", on=(OSError,))
async def aretried(order: Order) -> int:
    return len(order.id)


class Retried:
    @retry(Retry(attempts=2))
    def method(self, n: int) -> bytes:
        return bytes(n)

    @classmethod
    @retry
    def made(cls, n: int) -> int:
        return n

    @staticmethod
    @retry(cap="5s")
    def static(n: int) -> int:
        return n


async def awaited() -> None:
    assert_type(await aretried(order), int)


assert_type(retried(order, n=2), str)
assert_type(Retried().method(1), bytes)
assert_type(Retried.made(1), int)
assert_type(Retried.static(1), int)
assert_type(retry(attempts=2)(plain)(1), float)
retried("o")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Retried().method("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
retry(attempt=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
assert_type(deterministic_id("order", 4711), UUID)


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def money(stored: int) -> Money:
    return Money(stored)


register_codec(Money, lambda value: value.cents, money, name="money/2")
register_codec(Money, None, money, name="money/1")
assert_type(bare.map([order], concurrency="auto"), Batch[str])
bare.map([order], concurrency="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


# What decorators and calls return can be named in annotations.
def run_with(work: Step[[Order], str], flow: Workflow[..., str]) -> Handle[str]:
    assert_type(work.map([order]), Batch[str])
    return flow.start(work(order))


def run_bound(work: BoundStep[[Order], bytes]) -> Batch[bytes]:
    return work.map([order])


def write_with(held: HeldLock) -> int:
    held.confirm()
    return held.fence


def summarise(batch: Batch[str], letters: Sequence[DeadLetter]) -> list[str]:
    return [*batch.results, *(letter.error for letter in letters)]


assert_type(run_with(with_key, nightly).result(), str)
run_bound(Client().method)
run_with(asynchronous, nightly)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
summarise(Batch(["a"], []), [])
with perdure.lock("nightly", if_locked="wait", timeout="5s") as held:
    write_with(held)
keyed: Step[[Order], str] = with_key
bound: BoundStep[[Order], bytes] = Client().method
found: perdure.errors.PerdureError = perdure.errors.Drift("what", "hint")
assert_type(found.hint, str)


@step
def programs() -> str:
    try:
        assert_type(perdure.sh(["ls", "-l"], timeout="5s"), str)
    except perdure.CommandFailed as error:
        assert_type(error.returncode, int)
    perdure.sh(3)  # type: ignore[arg-type]
    return perdure.sh("ls | wc", shell=True, env={"A": "b"}, input="text")


@step
async def aprograms() -> str:
    return await perdure.aio.sh(["ls"], timeout=3)


@workflow
def ends() -> None:
    perdure.defer_every_end(bare, Order("a"), n=2)
    perdure.defer_every_end(bare, 3)  # type: ignore[arg-type]
