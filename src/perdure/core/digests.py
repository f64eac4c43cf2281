"""The hash function of keys and checks, without OpenSSL: `hashlib` loads it, 3 ms of every start of a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import blake2b
else:
    try:
        from _blake2 import blake2b  # the same function
    except ImportError:
        from hashlib import blake2b

__all__ = ["blake2b"]
