"""A cold build. Takes a quarter of an hour: only when asked for."""

import os
import shutil
import subprocess
import time

from harness.context import REPOSITORY
from harness.entry import Entry, size


def build(context):
    target = context.fresh("cold-target")
    begun = time.monotonic()
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "0"}
    subprocess.run(["cargo", "build"], cwd=REPOSITORY, env=environment, check=True)
    minutes = (time.monotonic() - begun) / 60
    binary = target / "debug/watershed"
    stripped = context.fresh("stripped")
    subprocess.run(["strip", "-o", stripped, binary], check=True)
    sizes = f"{size(binary.stat().st_size)}, stripped {size(stripped.stat().st_size)}"
    shutil.rmtree(target)
    return [Entry(work="cold `cargo build`", ours=f"{minutes:.1f} min", against="–", note=f"binary {sizes}")]
