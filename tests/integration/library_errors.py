"""Errors of well-known libraries, as these raise them; run as a script, it saves them, or reads them back and compares.

    python library_errors.py save FILE      every error whose library is installed, as data
    python library_errors.py read FILE      a line for each that does not behave as the one that was saved

Reading is done by another process: first before the libraries are imported, then where no error of theirs was raised.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import library_errors_compiled
import library_errors_of_services
import library_errors_of_tools
from library_error_makers import MAKERS

REGISTERED = (library_errors_compiled, library_errors_of_services, library_errors_of_tools)
"""Modules that register their makers when they are imported."""


def made(name: str) -> Exception | None:
    """The error of that name; None if its library is not installed."""
    module, make = MAKERS[name]
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        return None
    try:
        error = make(loaded)
    except Exception as raised:
        return raised
    assert isinstance(error, Exception), name
    return error


def save(path: str) -> None:
    """Every error as data."""
    from perdure.core.exceptions import capture

    saved = {}
    for name in MAKERS:
        error = made(name)
        if error is not None:
            saved[name] = capture.encode(capture.to_fault(error)).hex()
    with open(path, "w") as file:
        json.dump(saved, file)


def read(path: str) -> list[str]:
    """What of the errors is not as it was."""
    from perdure.core.exceptions import capture

    with open(path) as file:
        saved = {name: capture.decode(bytes.fromhex(data)) for name, data in json.load(file).items()}
    without_classes = {name: capture.restore(fault) for name, fault in saved.items()}
    if "boto3" in (MAKERS[name][0] for name in saved):  # the workflow has the client whose error it names
        made("boto3_dynamic")
    wrong = []
    for name, fault in saved.items():
        importlib.import_module(MAKERS[name][0])
        fresh = made(name)
        wrong += [f"{name}: {what}" for what in differences(capture.restore(fault), fresh)]
        if name != "urllib_status":  # it is a file, too, if its class is there
            wrong += [f"{name}, not imported: {what}" for what in unlike_attributes(without_classes[name], fresh)]
    print(f"{len(saved)} of {len(MAKERS)} errors compared", file=sys.stderr)
    return wrong


PLAIN = (str, int, float, bool, bytes, type(None))


def differences(restored: Any, fresh: Any) -> list[str]:
    """In what a restored error does not behave as a fresh one."""
    wrong = []
    if MAKERS and type(fresh).__module__ != "botocore.errorfactory":
        wrong += [f"is no {cls!r}" for cls in type(fresh).__mro__ if not isinstance(restored, cls)]
    else:
        wrong += [f"is no {cls!r}" for cls in type(fresh).__mro__[1:] if not isinstance(restored, cls)]
    if without_addresses(str(restored)) != without_addresses(str(fresh)):
        wrong.append(f"says {str(restored)!r} and not {str(fresh)!r}")
    if len(restored.args) != len(fresh.args):
        wrong.append(f"args {restored.args!r} and not {fresh.args!r}")
    for place, (one, other) in enumerate(zip(restored.args, fresh.args, strict=False)):
        if type(other) in PLAIN and one != other and without_addresses(str(one)) != without_addresses(str(other)):
            wrong.append(f"args[{place}] is {one!r} and not {other!r}")
    return wrong + unlike_attributes(restored, fresh)


def unlike_attributes(restored: Any, fresh: Any) -> list[str]:
    """What of the public attributes and properties that are plain data differs."""
    wrong = []
    for name in dir(fresh):
        if name.startswith("_") or name in ("characters_written",):
            continue
        try:
            expected = getattr(fresh, name)
        except Exception:
            continue
        if type(expected) not in PLAIN:
            continue
        try:
            got = getattr(restored, name)
        except Exception as error:
            wrong.append(f".{name} fails: {type(error).__name__}: {error}"[:160])
            continue
        if got != expected and without_addresses(str(got)) != without_addresses(str(expected)):
            wrong.append(f".{name} is {got!r} and not {expected!r}")
    return wrong


def without_addresses(text: str) -> str:
    """Without what differs from one run to the next."""
    import re

    return re.sub(r"0x[0-9a-f]+|\d+\.\d+ ?s(econds)?|[\"']?created_?time[\"']?:[^,}]*|[0-9T:.\-+]{19,}", "*", text)


if __name__ == "__main__":
    if sys.argv[1] == "save":
        save(sys.argv[2])
    else:
        print("\n".join(read(sys.argv[2])))
