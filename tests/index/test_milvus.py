import subprocess
import sys

PROGRAM = """
import logging, sys
from unimr.index.milvus import import_pymilvus

class Handler(logging.Handler):
    def flush(self): print("flushed", file=sys.stderr)
    def close(self): print("closed", file=sys.stderr)

logging.getLogger("program").addHandler(Handler())
import_pymilvus()
from pymilvus import MilvusClient
import_pymilvus()
import logging.config
assert logging.config.dictConfig.__module__ == "logging.config"
print("imported", file=sys.stderr)
logging.getLogger("program").handlers.clear()
"""


def test_the_import_neither_flushes_nor_closes_the_handlers_of_the_program():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stderr.split("imported")[0] == ""
