"""What stands for one call of one run: the idempotency key that a step sends along, and the id of a child run."""

from __future__ import annotations

from perdure.core.digests import blake2b


def idempotency_key(run_id: str, name: str, key: bytes, n: int) -> str:
    """32 hexadecimal digits that stand for one call of one run."""
    digest = blake2b(f"{run_id}\0{name}\0{n}\0".encode() + key, digest_size=16)
    return digest.hexdigest()


def child_id(run_id: str, name: str, key: bytes, n: int) -> str:
    """The id of a child run. It follows from the place in the parent: resumed, that finds the same child again."""
    return f"{run_id}.{name}-{idempotency_key(run_id, name, key, n)[:10]}"


def is_child(id: str, run_id: str) -> bool:
    """Is that the id of a child run of the run, or of one below it?"""
    return id.startswith(f"{run_id}.")
