"""Makes the references of the agent skill from pages of docs/: python tests/unit/skill_references.py writes them.

A page becomes a section. Links to other pages become their text, since the skill is read without the repository; the
name of a script stands in its first line.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SKILL = ROOT / "src" / "perdure" / "skill" / "perdure"

SOURCES: dict[str, list[str]] = {
    "patterns": [
        f"how-to/{name}.md"
        for name in (
            "checkpoint",
            "backoff",
            "circuit-breaker",
            "dead-letters",
            "idempotent-operations",
            "clean-up",
            "instance-lock",
            "alerting",
            "checklist",
        )
    ],
    "agents": [
        "how-to/llm-agent.md",
        "how-to/pydantic-ai.md",
        "how-to/openai-agents.md",
        "how-to/langgraph.md",
        "guards.md",
        "large-values.md#Data in files of its own: `perdure.artifact`",
    ],
    "waiting": [
        f"how-to/{name}.md" for name in ("sleep-and-wait", "approval", "webhook", "schedule", "queue", "worker")
    ],
    "testing": ["testing.md#Your own tests", "crashtest.md"],
    "failures": ["failures.md", "errors.md"],
    "operations": ["how-to/operations.md"],
}
"""By reference, the pages or sections of pages that are in it."""

FILE = re.compile(r"<!-- file: (\S+) -->\n+```(\w+)\n")
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")
NEEDS = re.compile(r"^<!-- needs: .*\n\n", re.MULTILINE)
MORE = re.compile(r"^More: .*\n", re.MULTILINE)


def page(source: str) -> str:
    """A page, or the section of a page behind `#`, as it stands in a reference."""
    name, _, section = source.partition("#")
    text = (DOCS / name).read_text(encoding="utf-8")
    if section:
        found = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
        assert found, f"{name} has no section {section!r}"
        text = f"# {section}\n{found[1]}"
    text = FILE.sub(lambda match: f"```{match[2]}\n# {match[1]}\n", MORE.sub("", NEEDS.sub("", text)))
    return demoted(LINK.sub(r"\1", text)).strip() + "\n"


def demoted(text: str) -> str:
    """The same with each heading one level lower; what is in a block of code stays."""
    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else re.sub(r"^#", "##", part, flags=re.MULTILINE) for part in parts)


def reference(name: str) -> str:
    """What a reference has to hold."""
    pages = [page(source) for source in SOURCES[name]]
    contents = [re.sub(r"^#+ ", "", text.partition("\n")[0]) for text in pages]
    head = f"# {name.capitalize()}\n\n"
    if len(pages) > 1:
        head += "Read the section that you need:\n\n" + "".join(f"- {title}\n" for title in contents) + "\n"
    return head + "\n".join(pages)


def main() -> None:
    """Write all of them."""
    for name in SOURCES:
        path = SKILL / "references" / f"{name}.md"
        path.write_text(reference(name), encoding="utf-8")
        print(path.relative_to(ROOT), len(reference(name).splitlines()), "lines")


if __name__ == "__main__":
    main()
