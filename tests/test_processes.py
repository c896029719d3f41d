from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")

MIDDLE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
time.sleep(60)
"""
LEAF = """
import time
from unimr.processes import die_with_parent
die_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
THREADS = """
import subprocess, sys, threading, time
for _ in range(8):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
subprocess.Popen([sys.executable, "-c", sys.argv[1]])
time.sleep(60)
"""
COUNTING = """
import signal, time
from unimr.processes import end_after_parent
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
end_after_parent()
end_after_parent()
print("ready", flush=True)
end = time.monotonic() + 30
while time.monotonic() < end:
    time.sleep(0.0005)
    if told:
        end = min(end, time.monotonic() + 0.3)
print(len(told), flush=True)
"""
ADOPTING = """
import os, subprocess, sys
from unimr.processes import adopt_orphans
adopt_orphans()
leaf = "import os, time; time.sleep(1); print(os.getppid(), flush=True)"
middle = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])"
done = subprocess.run([sys.executable, "-c", middle, leaf], stdout=subprocess.PIPE, text=True)
print(done.stdout.strip() == str(os.getpid()))
"""
BURYING = """
import os, psutil, subprocess, sys, time
from unimr.processes import adopt_orphans, bury_orphans
bury_orphans(set())
adopt_orphans()
middle = "import subprocess; print(subprocess.Popen(['sleep', '0.5']).pid)"
orphan = int(subprocess.run([sys.executable, "-c", middle], stdout=subprocess.PIPE, text=True).stdout)
while psutil.Process(orphan).status() != psutil.STATUS_ZOMBIE:
    time.sleep(0.05)
before = psutil.pid_exists(orphan)
bury_orphans(set())
after = psutil.pid_exists(orphan)
own = subprocess.Popen(["false"])
time.sleep(0.3)
bury_orphans({own.pid})
print(before, after, own.wait())
"""


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@linux
def test_a_process_whose_parent_is_killed_ends_too():
    with subprocess.Popen([sys.executable, "-c", MIDDLE, LEAF], stdout=subprocess.PIPE, text=True) as middle:
        lines = sorted([middle.stdout.readline().strip(), middle.stdout.readline().strip()])
        assert lines[1] == "ready"
        middle.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while not is_gone(int(lines[0])) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert is_gone(int(lines[0]))


@linux
def test_a_process_whose_parent_of_many_threads_is_killed_is_told_once():
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", THREADS, COUNTING], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout.readline() == "ready\n"
            parent.send_signal(signal.SIGKILL)
            assert parent.stdout.readline() == "1\n"


@linux
def test_orphans_become_children_of_the_process_that_asked():
    done = subprocess.run([sys.executable, "-c", ADOPTING], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@linux
def test_an_orphan_that_has_ended_does_not_look_alive_and_own_children_can_be_waited_for():
    done = subprocess.run([sys.executable, "-c", BURYING], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False 1"
