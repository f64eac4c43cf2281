"""The long proofs: `python3 dev.py proof` measures the figures of docs/reliability.md, in parts, as long as it takes.

A figure is a module in figures/ that exports `PROOF`, a `form.Proof`:

    PROOF = Proof(
        name="R1",                      # what the command line and the table call it
        claim="SIGKILL ...: nothing",   # what is promised, in one sentence
        unit="kills",                   # what is counted
        size=10_000,                    # how many of them in full
        part=500,                       # about how many in one part: a part takes seconds to a minute, no longer
        run=run,                        # run(part, seed, cases) -> Figures
        control=control,                # control(seed) -> Figures: the same with the promise broken; has to fail
        controlled="synchronous=OFF",   # what the control breaks, for the table
        short="tests/crash/test_kills.py",  # what runs of it in CI
    )

`run` does part number `part` (from 0) of about `cases` cases; what it does follows from the part and the seed. It
leaves nothing behind, so that it can be killed at any moment and the part done anew. It runs in a process of its own,
two parts at a time unless the proof says `alone`. A proof that comes to an end says how many `parts` differ: none is
done twice. What it found is in `Figures`: `cases` (how many were done), `counts` (anything else that is to be added
up), `measured` (lists of numbers, for percentiles), `failures` (a line for each broken promise, with what runs it
again), and `seen` (names of which only the different ones count). `says` makes the table's text of the sum, and `judge`
finds what is wrong with the sum as a whole, such as a percentile above its bound. A module imports from `tests.crash`,
`tests.proof` and so on: the command runs at the root of the repository.

The runner writes a line of JSON a part into `.proof/R1.jsonl`; what is there is not done again. A figure that was not
reached in full stands in the table with the number that was.
"""
