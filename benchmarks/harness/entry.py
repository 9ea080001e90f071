"""One line of the table."""

from dataclasses import asdict, dataclass, field


@dataclass
class Entry:
    work: str
    """What was done."""
    ours: str
    """Our figure, with its unit."""
    against: str
    """Whose figure it is compared with, with the version."""
    theirs: str = ""
    ratio: float | None = None
    """What the aim is about."""
    aim: str = ""
    met: bool | None = None
    memory: str = ""
    """Peak memory, ours / theirs."""
    note: str = ""
    chart: dict = field(default_factory=dict)
    """Bars of the picture: name → events per second."""
    raw: dict = field(default_factory=dict)

    def json(self) -> dict:
        return asdict(self)


def at_least(ratio: float, aim: float) -> dict:
    return {"ratio": ratio, "aim": f"≥ {aim:g} ×", "met": ratio >= aim}


def at_most(ratio: float, aim: float) -> dict:
    return {"ratio": ratio, "aim": f"≤ {aim:g} ×", "met": ratio <= aim}


def rate(count: float, seconds: float) -> str:
    per_second = count / seconds
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if per_second >= factor:
            return f"{per_second / factor:.2f} {unit}/s"
    return f"{per_second:.0f} /s"


def size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def left_out(work: str, against: str, reason) -> Entry:
    return Entry(work=work, ours="–", against=against, note=f"left out: {' '.join(str(reason).split())[:200]}")
