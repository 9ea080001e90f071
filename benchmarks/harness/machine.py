"""What was measured on."""

import os
import platform
import subprocess
from pathlib import Path


def describe() -> dict:
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    return {
        "cpu": cpu.split(":")[-1].strip(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "rust": said(["rustc", "--version"]),
        "java": said(["java", "-version"]),
        "commit": said(["git", "rev-parse", "--short", "HEAD"]),
        "load_before": os.getloadavg()[0],
    }


def said(command) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
        return (done.stdout or done.stderr).splitlines()[0]
    except (OSError, IndexError):
        return "none"
