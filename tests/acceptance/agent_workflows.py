"""Five workflows as an agent writes them at the first try, with their faults, and the same five as they should be."""

from __future__ import annotations

HEAD = """
import csv, json, os, random, smtplib, sqlite3, urllib.request
from datetime import datetime
from email.message import EmailMessage
import perdure
from perdure import step, workflow

URL = "http://127.0.0.1:{port}"
MAIL = ("127.0.0.1", {mail})

def call(method, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")

def send(to, text, **headers):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.com", to, "News"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    with smtplib.SMTP(*MAIL, timeout=30) as server:
        server.send_message(message)
"""

NAIVE: dict[str, tuple[set[tuple[str, str]], str]] = {
    "billing": (
        {("unsafe", "charge"), ("non-deterministic", "")},
        """
@step
def customers() -> list[dict]:
    return call("GET", "/customers")
@step
def charge(customer: dict, at: str) -> dict:
    return call("POST", "/charge", {"customer": customer, "at": at})
@workflow
def nightly_billing() -> int:
    at = datetime.now().strftime("%Y-%m-%d")
    return len([charge(customer, at) for customer in customers()])
""",
    ),
    "prices": (
        {("unsafe", "store_price")},
        """
SHOPS = {"north.example", "south.example", "east.example", "west.example", "middle.example"}
@step
def fetch_price(shop: str) -> int:
    return call("GET", f"/price/{shop}")["price"]
@step
def store_price(shop: str, price: int) -> None:
    with open("prices.csv", "a") as file:
        csv.writer(file).writerow([shop, price])
@workflow
def collect_prices() -> int:
    for shop in SHOPS:
        store_price(shop, fetch_price(shop))
    return len(SHOPS)
""",
    ),
    "agent": (
        {("unsafe", "ask_model"), ("other-end", "run_tool")},
        """
history = []
@step
def ask_model(turn: int) -> str:
    return call("POST", "/model", {"turn": turn, "history": history})["text"]
@step
def run_tool(text: str) -> None:
    history.append(f"tool result of {text}")
@workflow
def research() -> list[str]:
    for turn in range(3):
        run_tool(ask_model(turn))
    return history
""",
    ),
    "import": (
        {("other-files", "insert_order")},
        """
@step
def load_orders() -> list[dict]:
    return call("GET", "/orders")
@step
def insert_order(order: dict) -> None:
    with sqlite3.connect("orders.db") as database:
        database.execute("create table if not exists orders (id, amount)")
        database.execute("insert into orders values (?, ?)", (order["id"], order["amount"]))
@workflow
def import_orders() -> int:
    orders = load_orders()
    for order in orders:
        insert_order(order)
    return len(orders)
""",
    ),
    "newsletter": (
        {("unsafe", "send_all"), ("other-end", "send_all")},
        """
sent = 0
@step
def recipients() -> list[str]:
    return [f"reader-{number}@example.com" for number in range(3)]
@step
def send_all(addresses: list[str]) -> None:
    global sent
    for address in addresses:
        send(address, "Hello")
        sent += 1
@workflow
def newsletter() -> int:
    send_all(recipients())
    return sent
""",
    ),
}
"""By name: the findings that it has, as kind and step, and the script behind HEAD."""

SOUND: dict[str, str] = {
    "billing": """
@step
def customers() -> list[dict]:
    return call("GET", "/customers")
@step
def charge(customer: dict, at: str) -> dict:
    return call("POST", "/charge", {"customer": customer, "at": at}, Idempotency_Key=perdure.idempotency_key())
@workflow
def nightly_billing() -> int:
    at = perdure.now().isoformat()
    return len([charge(customer, at) for customer in customers()])
""",
    "prices": """
SHOPS = {"north.example", "south.example", "east.example", "west.example", "middle.example"}
@step
def fetch_price(shop: str) -> int:
    return call("GET", f"/price/{shop}")["price"]
@step
def store(prices: dict[str, int]) -> None:
    with open("prices.tmp", "w") as file:
        csv.writer(file).writerows(prices.items())
    os.replace("prices.tmp", "prices.csv")
@workflow
def collect_prices() -> int:
    store({shop: fetch_price(shop) for shop in sorted(SHOPS)})
    return len(SHOPS)
""",
    "agent": """
@step
def ask_model(turn: int, history: list[str]) -> str:
    # perdure: repeatable a second answer costs a cent, and changes nothing
    return call("POST", "/model", {"turn": turn, "history": history})["text"]
@step(max_repeats=3)
def run_tool(text: str) -> str:
    return f"tool result of {text}"
@workflow
def research() -> list[str]:
    history: list[str] = []
    with perdure.budget(calls=20):
        for turn in range(3):
            history.append(run_tool(ask_model(turn, history)))
    return history
""",
    "import": """
@step
def load_orders() -> list[dict]:
    return call("GET", "/orders")
@step
def put_order(order: dict) -> None:
    with sqlite3.connect("orders.db") as database:
        database.execute("create table if not exists orders (id primary key, amount)")
        database.execute("insert or replace into orders values (?, ?)", (order["id"], order["amount"]))
@workflow
def import_orders() -> int:
    orders = load_orders()
    put_order.map(orders).raise_if_dead()
    return len(orders)
""",
    "newsletter": """
@step
def recipients() -> list[str]:
    return [f"reader-{number}@example.com" for number in range(3)]
@step
def send_one(address: str) -> str:
    send(address, "Hello", Message_ID=f"<{perdure.idempotency_key()}@example.com>")
    return address
@workflow
def newsletter() -> int:
    return len([send_one(address) for address in recipients()])
""",
}
"""By name: the script behind HEAD."""
