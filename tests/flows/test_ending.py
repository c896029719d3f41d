from __future__ import annotations

import os
import subprocess
import sys

from tests.system.checkout import ROOT

RUN = """
import sys
from pathlib import Path
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
from flows.ending import end_with_worker
setup_logging()
end_with_worker()
sys.stdin.read()
for _ in range(2):
    get_logger("engine").error("Crash detected!")
    print("Crash detected!", flush=True)
Path(sys.argv[1]).write_text("told")
"""


def test_a_run_whose_lines_nobody_reads_any_more_still_tells_how_it_ended(tmp_path):
    reader, writer = os.pipe()
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "told")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    os.close(reader)
    run.communicate(b"the worker has gone", timeout=60)
    assert run.returncode == 0
    assert (tmp_path / "told").read_text() == "told"
