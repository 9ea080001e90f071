"""Running a program and timing it; running rivals in turns."""

import json
import multiprocessing
import os
import statistics
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field


@dataclass
class Ran:
    seconds: float
    """Wall time of the whole process."""
    peak_bytes: int
    json: dict
    """The last line of its output."""


def ran(command, **options) -> Ran:
    """Runs a program to its end; an error if it fails."""
    return LAUNCHER.submit(launch, [str(part) for part in command], options).result()


def launch(command, options) -> Ran:
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    output, errors = drain(process)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {errors.strip()[-2000:]}")
    last = output.strip().splitlines()[-1:] or ["{}"]
    parsed = json.loads(last[0]) if last[0].startswith("{") else {}
    return Ran(seconds, usage.ru_maxrss * 1024, parsed)


def drain(process):
    """Both outputs to their ends, without reaping the process: its resource usage is asked for afterwards."""
    import threading

    errors = []
    thread = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    thread.start()
    output = process.stdout.read()
    thread.join()
    return output, errors[0]


@dataclass
class Series:
    """What one contestant took, round by round."""

    seconds: list = field(default_factory=list)
    peak_bytes: int = 0
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def json(self) -> dict:
        return {"seconds": self.median, "rounds": self.seconds, "peak_bytes": self.peak_bytes, "note": self.note}


def in_turns(contestants: dict, rounds: int, say, warm_up: bool = True) -> dict:
    """Each contestant is a function that does the work once and gives (seconds, peak bytes). They take turns, in alternating
    order; the first round is a warm-up and not counted."""
    series = {name: Series() for name in contestants}
    for turn in range(-1 if warm_up else 0, rounds):
        names = list(contestants) if turn % 2 else list(contestants)[::-1]
        for name in names:
            seconds, peak_bytes = contestants[name]()
            series[name].peak_bytes = max(series[name].peak_bytes, peak_bytes)
            if turn >= 0:
                series[name].seconds.append(seconds)
            say(f"{'warm-up' if turn < 0 else f'round {turn + 1}'}: {name} {seconds:.2f} s")
    return series


# A process's peak memory counts from that of the process that started it: this one starts them, and is started itself while
# there is little to inherit.
LAUNCHER = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
LAUNCHER.submit(int).result()
