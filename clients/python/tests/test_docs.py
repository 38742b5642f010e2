"""The code in the documentation runs as it stands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import Database

ROOT = Path(__file__).resolve().parents[3]
PAGES = (ROOT / "docs/python.md", ROOT / "clients/python/README.md")


def blocks(page: Path) -> list[str]:
    """The blocks of Python that use this package, for the database of the test."""
    found = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [block for block in found if re.search(r"^from pgflow import", block, re.MULTILINE)]


CASES = [(page, number) for page in PAGES for number in range(len(blocks(page)))]


@pytest.mark.parametrize(("page", "number"), CASES, ids=[f"{page.name}-{number + 1}" for page, number in CASES])
def test_block(page: Path, number: int, database: Database, tmp_path: Path) -> None:
    first = blocks(PAGES[0])[0]
    (tmp_path / "greeting.py").write_text(first[: first.index("with Client()")], encoding="utf-8")
    code = blocks(page)[number].replace("postgresql://localhost/app", database.conninfo)
    host, port, user, name = (part.partition("=")[2] for part in database.conninfo.split())
    environment = {**os.environ, "PGHOST": host, "PGPORT": port, "PGUSER": user, "PGDATABASE": name}
    # What the page has set up before.
    subprocess.run(
        [sys.executable, "-c", "from pgflow import Client; from greeting import flow; Client().define(flow)"],
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    worker = f"from pgflow import Worker; from greeting import flow; Worker({database.conninfo!r}, [flow]).run()"
    programs = [code]
    if "from greeting import" in code and "Worker" not in code:
        programs.append(worker)  # which the page has started above
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for program in programs
    ]
    try:
        if ".run()\n" in code:  # a worker works until it is told to stop
            time.sleep(1.5)
            assert running[0].poll() is None
            running[0].send_signal(signal.SIGTERM)
        output, _ = running[0].communicate(timeout=20)
        assert running[0].returncode == 0
        if "print(" in code and "RunFailed" not in code:
            assert "hello ann" in output
    finally:
        for program in running:
            program.terminate()
            program.communicate(timeout=20)
