"""Payments sent through a socket on a schedule, and the changes of `card_minute` that come back through another.

Each line that comes back is a changed row, `[card, minute, n, total, largest]`. Its count says which payments it covers, since
those of a card come in order. What comes is stamped as it is read, and looked into only when nothing comes any more.
"""

import json
import select
import socket
import statistics
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from harness.peers import LeftOut

TICK = 0.001
# When nothing came for so long, it is time to look.
QUIET = 0.5
TIMEOUT = 90.0


@dataclass
class Run:
    """One run of the schedule."""

    rate: int
    scheduled: list = field(default_factory=list)
    """When each tick was due."""
    late: list = field(default_factory=list)
    """How long after that it was sent."""
    visible: dict = field(default_factory=dict)
    """Tick → when all its payments had been seen; not there if none of them is in the view."""

    def figures(self) -> dict:
        latencies = [seen - self.scheduled[tick] for tick, seen in sorted(self.visible.items())]
        half, last = statistics.median(latencies[: len(latencies) // 2]), statistics.median(latencies[-len(latencies) // 4 :])
        # A backlog that grows from the beginning to the end makes the last quarter 3.5 times as late as the first half.
        sustained = (last < 2 * half or last < 0.1) and self.late[-1] < 1
        return {"rate": self.rate, **quantiles(latencies), "sustained": sustained, "sender_late": quantiles(self.late)}


def quantiles(seconds: list) -> dict:
    ordered = sorted(seconds)
    millis = lambda quantile: ordered[min(int(quantile * len(ordered)), len(ordered) - 1)] * 1e3
    return {"p50_ms": millis(0.5), "p99_ms": millis(0.99), "p999_ms": millis(0.999), "max_ms": millis(1)}


class OpenLoop:
    """A peer connects to the port `input` and reads; to `output`, as often as it likes, and writes."""

    def __init__(self, payments):
        self.lines = payments.read_bytes().splitlines(keepends=True)
        self.keys = [key_of(json.loads(line)) for line in self.lines]
        self.input_server, self.output_server = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.ports = {"input": self.input_server.getsockname()[1], "output": self.output_server.getsockname()[1]}
        self.sent = 0
        self.unseen = 0
        self.payments = defaultdict(list)
        """Key → its payments in order: cents, run, tick."""
        self.seen, self.answer = Counter(), {}
        self.chunks, self.torn = [], defaultdict(bytes)
        self.came = time.monotonic()
        threading.Thread(target=self.read, daemon=True).start()

    def accept(self):
        """Waits for the peer to read."""
        self.input_server.settimeout(TIMEOUT)
        try:
            self.input, _ = self.input_server.accept()
        except TimeoutError:
            raise LeftOut(f"it did not connect within {TIMEOUT:.0f} s") from None

    def read(self):
        connections = [self.output_server]
        while connections:
            for ready in select.select(connections, [], [])[0]:
                if ready is self.output_server:
                    connections.append(ready.accept()[0])
                elif chunk := ready.recv(1 << 20):
                    self.came = time.monotonic()
                    self.chunks.append((self.came, ready, chunk))
                else:
                    connections.remove(ready)

    def run(self, rate: int, seconds: float) -> Run:
        """Sends, and waits until all of it was seen."""
        run = Run(rate)
        first, begun = self.sent, time.monotonic()
        for tick in range(int(seconds / TICK)):
            due = begun + tick * TICK
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            run.scheduled.append(due)
            run.late.append(time.monotonic() - due)
            upto = first + int(rate * (tick + 1) * TICK)
            try:
                self.input.sendall(b"".join(self.lines[number % len(self.lines)] for number in range(self.sent, upto)))
            except OSError as error:
                raise LeftOut(f"it hung up: {error}") from None
            self.sent = upto
        for tick in range(len(run.scheduled)):
            for number in range(first + int(rate * tick * TICK), first + int(rate * (tick + 1) * TICK)):
                key, cents = self.keys[number % len(self.keys)]
                if key:
                    self.payments[key].append((cents, run, tick))
                    self.unseen += 1
        self.wait()
        return run

    def wait(self):
        deadline = time.monotonic() + TIMEOUT
        while self.unseen:
            if time.monotonic() > deadline:
                raise LeftOut(f"{self.unseen} payments were not in the answer after {TIMEOUT:.0f} s")
            while (quiet := time.monotonic() - self.came) < QUIET:
                time.sleep(QUIET - quiet)
            self.look()

    def look(self):
        chunks, self.chunks = self.chunks, []
        for stamp, connection, chunk in chunks:
            *lines, self.torn[connection] = (self.torn[connection] + chunk).split(b"\n")
            for line in lines:
                card, minute, n, total, largest = line.decode().rstrip("]").rpartition("[")[2].split(", ")
                key, n = (card, minute), int(n)
                self.answer[key] = (n, cents_of(total), cents_of(largest))
                for _, run, tick in self.payments[key][self.seen[key] : n]:
                    run.visible[tick] = stamp
                    self.unseen -= 1
                self.seen[key] = n

    def check(self) -> str:
        """Compares the last answer with what was sent."""
        for key, payments in self.payments.items():
            cents = [cents for cents, _, _ in payments]
            sent = (len(cents), sum(cents), max(cents))
            if self.answer.get(key) != sent:
                raise RuntimeError(f"{key} is {self.answer.get(key)} instead of {sent}")
        return f"{len(self.answer):,} rows equal"


def key_of(payment: dict):
    """The key of a payment in the view, if it is there, and its cents."""
    key = (payment["card"], payment["ts"][:16]) if payment["status"] == "approved" else None
    return key, cents_of(f"{payment['amount']:.2f}")


def cents_of(amount: str) -> int:
    return int(amount.replace(".", ""))
