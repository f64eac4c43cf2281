"""Texts with credentials in all shapes, and texts that only look as if they had some."""

from __future__ import annotations

CANARY = "cAnary7Xq9Zw3"
LONG = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6"
SHAPES = {
    # URLs
    f"postgres://bob:{CANARY}@db.example:5432/shop": "postgres://bob:***@db.example:5432/shop",
    f"redis://:{CANARY}@cache:6379/0": "redis://:***@cache:6379/0",
    f"postgres://bob:{CANARY}/x@db/shop": "postgres://bob:***@db/shop",
    f"postgres://bob:a@{CANARY}@db/shop": "postgres://bob:***@db/shop",
    f"https://{CANARY}@sentry.example/4": "https://***@sentry.example/4",
    f"https://{CANARY}:@api.stripe.example/v1": "https://***:***@api.stripe.example/v1",
    f"GET https://h.example/p?a=1&token={CANARY}&b=2": "GET https://h.example/p?a=1&token=***&b=2",
    f"https://h/p?api_key={CANARY}#x": "https://h/p?api_key=***",
    f"https://h/p?sig={CANARY}&x=1": "https://h/p?sig=***&x=1",
    f"https://h/p?access_token={CANARY}": "https://h/p?access_token=***",
    f"https://s3/x?X-Amz-Signature={CANARY}&e=1": "https://s3/x?X-Amz-Signature=***&e=1",
    f"next=https%3A%2F%2Fh%2F%3Ftoken%3D{CANARY}%26x%3D1": "next=https%3A%2F%2Fh%2F%3Ftoken%3D***%26x%3D1",
    f"https://api.telegram.org/bot123456:{CANARY}/sendMessage": "https://api.telegram.org/bot***/sendMessage",
    f"tgram://123456:{CANARY}/99": "tgram://***",
    f"https://hooks.slack.com/services/T1/B2/{CANARY}": "https://hooks.slack.com/services/***",
    f"https://discord.com/api/webhooks/123/{CANARY}": "https://discord.com/api/webhooks/123/***",
    # headers
    f"Authorization: Bearer {CANARY}\nHost: h": "Authorization: Bearer ***\nHost: h",
    f"Authorization: Basic {CANARY}==": "Authorization: Basic ***",
    f"Proxy-Authorization: Basic {CANARY}": "Proxy-Authorization: Basic ***",
    f"Cookie: a={CANARY}; b={CANARY}\nHost: h": "Cookie: ***\nHost: h",
    f"{{'Authorization': 'Bearer {CANARY}', 'Host': 'h'}}": "{'Authorization': 'Bearer ***', 'Host': 'h'}",
    f"{{'Set-Cookie': 'sid={CANARY}; Path=/'}}": "{'Set-Cookie': '***'}",
    f"[(b'x-api-key', b'{CANARY}'), (b'host', b'h')]": "[(b'x-api-key', b'***'), (b'host', b'h')]",
    f"curl -H 'X-Api-Key: {CANARY}' https://h": "curl -H 'X-Api-Key: ***' https://h",
    # names
    f"password={CANARY}": "password=***",
    f"Connection(host='h', password='{CANARY}', port=1)": "Connection(host='h', password='***', port=1)",
    f"Connection(host='h', password={CANARY})": "Connection(host='h', password=***)",
    f"Server=h;Password={CANARY};User=bob": "Server=h;Password=***;User=bob",
    f'{{"client_secret": "{CANARY}", "host": "h"}}': '{"client_secret": "***", "host": "h"}',
    f'"{{\\"password\\": \\"{CANARY}\\"}}"': '"{\\"password\\": \\"***\\"}"',
    f"AWS_SECRET_ACCESS_KEY={CANARY}": "AWS_SECRET_ACCESS_KEY=***",
    f"os.environ['DB_PASSWORD'] = '{CANARY}'": "os.environ['DB_PASSWORD'] = '***'",
    f"run --token {CANARY} --verbose": "run --token *** --verbose",
    f"['run', '--api-key', '{CANARY}']": "['run', '--api-key', '***']",
    f"db: password: {CANARY}": "db: password: ***",
    f"<password>{CANARY}</password>": "<password>***</password>",
    # tokens
    f"ghp_{LONG}": "ghp_***",
    f"github_pat_{LONG}": "github_pat_***",
    f"glpat-{LONG}": "glpat-***",
    f"bad key sk-proj-{LONG}.": "bad key sk-proj-***.",
    f"sk-ant-{LONG}": "sk-ant-***",
    f"xoxb-1234-{LONG}": "xoxb-***",
    f"sk_live_{LONG}": "sk_live_***",
    f"AIza{LONG}xyz": "AIza***",
    f"npm_{LONG}": "npm_***",
    f"pypi-{LONG}": "pypi-***",
    "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "AKIA*** ***",
    f"123456789:AAF{LONG}": "123456789:***",
    f"eyJhbGciOiJI.{LONG}.{LONG}": "eyJ***",
    f"-----BEGIN RSA PRIVATE KEY-----\n{LONG}\n{LONG}\n-----END RSA PRIVATE KEY-----": (
        "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----"
    ),
}


ORDINARY = [
    "ValueError: order 17 has no amount",
    "unexpected token: foo",
    "max_tokens=4096, token_count: 5",
    "KeyError: 'token'",
    "def charge(token: str, password: str = None) -> None:",
    "Basic authentication required",
    "http://host:8080/~bob@example",
    "PWD=/home/bob password=None",
    "key=order-17 sort_key=created_at",
    "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "git@github.com:someone/something.git",
    "2026-11-23T10:00:00 a:b@c",
    "postgres://bob@db/shop refused",
    'File "/srv/app/secrets.py", line 3, in load_token',
]
