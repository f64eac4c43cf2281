"""A script that lets 200 secrets go through its run in every way there is, and what a test finds of them."""

from __future__ import annotations

SCRIPT = '''
import logging, os, sys
import perdure
from perdure import Retry, step, workflow
from perdure.core.redaction.secret import Secret

log = logging.getLogger("shop")
if os.environ.get("PLAIN_LOG"):
    logging.basicConfig(level=logging.INFO, filename=os.environ["PLAIN_LOG"])
ONCE = Retry(attempts=2, delay=0.001, jitter=0)


class Refused(Exception):
    def __init__(self, message, **more):
        super().__init__(message)
        self.__dict__.update(more)


class Local(Exception):
    """Prints as what it was made of."""


def canary(kind, n):
    return f"cnry{kind}{n:02d}Zx9Qw7"  # as nobody would write anywhere else


def shapes(n, secret):
    """A text that holds a secret in the way number n."""
    return [
        f"GET https://h.example/p?token={secret}&page=2 failed",
        f"postgres://bob:{secret}@db.example:5432/shop refused",
        f"Authorization: Bearer {secret}",
        f"{{'Cookie': 'sid={secret}; theme=dark', 'Accept': '*/*'}}",
        f'{{"password": "{secret}", "user": "bob"}}',
        f"connect(host='h', api_key='{secret}', port=1)",
        f"https://api.telegram.org/bot1234567:{secret}/sendMessage",
        f"tool --secret {secret} --quiet",
        f"https://hooks.slack.com/services/T1/B2/{secret}",
        f"AWS_SECRET_ACCESS_KEY={secret}",
        f"tgram://77:{secret}/9",
        f"X-Api-Key: {secret}",
        f"upload to https://s3.example/x?X-Amz-Signature={secret}&e=1",
        f"<password>{secret}</password>",
        f"could not log in with password: {secret}",
        f"https://{secret}@sentry.example/4",
    ][n % 16]


@step(retry=ONCE)
def in_message(n):
    raise Refused(shapes(n, canary("msg", n)))


@step(retry=ONCE)
def in_args(n):
    raise Refused("refused", url=shapes(n, canary("att", n)), headers={"Authorization": canary("hdr", n)},
                  body=shapes(4, canary("bod", n)).encode(), token=canary("tok", n))


@step(retry=ONCE)
def in_cause(n):
    try:
        raise ValueError(shapes(n, canary("cau", n)))
    except ValueError as error:
        fault = Refused("while signing in")
        fault.add_note(shapes(n + 1, canary("not", n)))
        if n % 2:
            raise fault from error
        raise fault  # as context


@step(retry=ONCE)
def in_reprs(n):
    class Odd:
        def __repr__(self):
            return f"<session {shapes(n, canary('rep', n))}>"
    raise Local("odd", Odd())


@step(retry=ONCE)
def from_environment(n):
    value = os.environ[f"CANARY_{n}_TOKEN"]
    raise Refused(f"the server said: {value}; {value!r}", seen=[value], raw=value.encode())


@step(retry=ONCE)
def from_secret(n, secret):
    log.warning("using %s", secret.reveal())
    raise Refused(f"the server did not like {secret.reveal()}", args_were=(secret, secret.reveal()))


@step(retry=ONCE)
def from_argument(n, url):
    log.error("calling %s", url)
    raise Refused(f"cannot reach {url}")


@step(on_failure="raise")
def stored(n):
    return {"n": n, "value": canary("res", n)}


@workflow
def job():
    for n in range(20):
        stored(n)
    parked = [
        in_message.map(range(32)), in_args.map(range(20)), in_cause.map(range(20)), in_reprs.map(range(20)),
        from_environment.map(range(20)),
    ]
    for n in range(8):
        try:
            from_secret(n, Secret("plain words " + canary("sec", n)))
        except Refused:
            pass
        try:
            from_argument(n, shapes(n, canary("arg", n)))
        except Refused:
            pass
    log.info("%d dead", sum(len(batch.dead) for batch in parked))
    raise Refused("at the end: " + shapes(2, canary("end", 0)), password=canary("end", 1))


if __name__ == "__main__":
    job()
'''

HIDDEN = {"msg": 32, "att": 20, "hdr": 20, "bod": 20, "tok": 20, "cau": 20, "not": 20, "rep": 20, "sec": 8, "end": 2}
ENVIRONMENT = 20
ARGUMENTS = 8
RESULTS = 20


def canary(kind: str, n: int) -> str:
    """The one of that number among those that go one way."""
    return f"cnry{kind}{n:02d}Zx9Qw7"


NEVER = [canary(kind, n) for kind, count in HIDDEN.items() for n in range(count)]
FROM_ENVIRONMENT = [canary("env", n) for n in range(ENVIRONMENT)]
IN_ARGUMENTS = [canary("arg", n) for n in range(ARGUMENTS)]
IN_RESULTS = [canary("res", n) for n in range(RESULTS)]
ALL = NEVER + FROM_ENVIRONMENT


def found(text: str | bytes, canaries: list[str]) -> list[str]:
    """Those that are in a text."""
    data = text.encode() if isinstance(text, str) else text
    return [each for each in canaries if each.encode() in data]
