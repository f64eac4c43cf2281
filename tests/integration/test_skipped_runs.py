"""A run that another process executes is an exception for who asks for it, and for nobody else."""

from __future__ import annotations

from conftest import Scripts


def test_a_skipped_run_leaves_the_results_of_its_siblings(scripts: Scripts) -> None:
    """Of runs that are gathered, or started in threads, one is under way in another process: the others give theirs."""
    script = scripts.write(
        """
        import asyncio, subprocess, sys, threading
        from perdure import step, workflow

        @step
        async def work(n, hold):
            if hold:
                print("held", flush=True)
                sys.stdin.readline()
            return n

        @workflow
        async def job(n):
            return await work(n, n == 0)

        async def main():
            found = await asyncio.gather(*(job(n) for n in range(3)), return_exceptions=True)
            print(*(one if isinstance(one, int) else type(one).__name__ for one in found))
            siblings = [asyncio.ensure_future(job.with_options(id=f"again-{n}")(n)) for n in (1, 2)]
            try:
                await asyncio.gather(job(0), *siblings)
            except Exception as error:
                print(type(error).__name__, *await asyncio.gather(*siblings))

        if "hold" in sys.argv:
            asyncio.run(job(0))
        else:
            holder = subprocess.Popen([sys.executable, __file__, "hold"], stdin=-1, stdout=-1)
            holder.stdout.readline()
            asyncio.run(main())
            caught = []
            def in_thread():
                try:
                    asyncio.run(job(0))
                except Exception as error:
                    caught.append(type(error).__name__)
            thread = threading.Thread(target=in_thread)
            thread.start()
            thread.join()
            print(*caught)
            holder.communicate(b"go\\n")
        """
    )
    done = scripts.run(script)
    expected = ["Skipped 1 2", "Skipped 1 2", "Skipped"]
    assert (done.returncode, done.stdout.splitlines()) == (0, expected), done.stderr
