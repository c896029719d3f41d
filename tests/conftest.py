"""Settings that must be made before any test imports torch."""

from __future__ import annotations

import os

# As the command line does: threads that spin while they wait starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
