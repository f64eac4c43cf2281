"""Credentials taken out of texts and nested values; `Secret`."""
