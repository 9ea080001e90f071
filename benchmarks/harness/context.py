"""What every row is given: sizes, binaries, inputs, peers."""

import os
import shutil
import subprocess
from pathlib import Path

from harness import measure, peers
from harness.inputs import Inputs

REPOSITORY = Path(__file__).resolve().parents[2]


class Context:
    def __init__(self, options):
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "watershed"
        self.quick = options.quick
        self.rounds = options.rounds or (1 if options.quick else 5)
        self.close_rounds = 1 if options.quick else 2 * self.rounds + 1
        """Where both sides do nearly the same work, and the machine's noise is larger than what is between them."""
        self.home = options.home or cache / "benchmarks"
        self.out = (options.out or (self.home / "quick" if self.quick else REPOSITORY / "benchmarks/results")).resolve()
        self.work = self.home / "work"
        target = options.target or Path(os.environ.get("CARGO_TARGET_DIR", cache / "target"))
        self.build(target)
        self.watershed = target / "debug/watershed"
        self.measure_program = target / "debug/examples/measure"
        self.out.mkdir(parents=True, exist_ok=True)
        self.work.mkdir(parents=True, exist_ok=True)
        self.inputs = Inputs(self)
        self.open_peers = []

    def build(self, target: Path):
        environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
        command = ["cargo", "build", "--workspace", "--bins", "--examples"]
        subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)

    def say(self, text: str):
        print(f"   {text}", flush=True)

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def peer(self, script: str, environment: str = "main") -> peers.Peer:
        """A running worker; raises `peers.LeftOut` if it cannot be had."""
        peer = peers.Peer(self, script, environment)
        self.open_peers.append(peer)
        return peer

    def close_peers(self):
        for peer in self.open_peers:
            peer.close()
        self.open_peers.clear()

    def ours(self, *arguments) -> measure.Ran:
        """Runs `measure`, which prints JSON."""
        return measure.ran([self.measure_program, *arguments])

    def fresh(self, name: str) -> Path:
        """An empty place of this name."""
        path = self.work / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        return path

    def clean(self):
        shutil.rmtree(self.work, ignore_errors=True)
