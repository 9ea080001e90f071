"""Results on disk: one file per row as it is measured; a table and a picture of all."""

import json
import time
from pathlib import Path

from harness import machine
from harness.picture import picture


def keep(out: Path, name: str, entries: list):
    kept = {
        "row": name,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine.describe(),
        "entries": [entry.json() for entry in entries],
    }
    (out / f"{name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def write(out: Path, order: list):
    rows = [json.loads((out / f"{name}.json").read_text()) for name in order if (out / f"{name}.json").exists()]
    (out / "results.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    (out / "results.md").write_text(table(rows))
    (out / "results.svg").write_text(picture(rows))


def table(rows: list) -> str:
    at = rows[-1]["machine"]
    lines = [
        f"{at['cores']} cores ({at['cpu']}), {at['memory_gb']} GB, Linux {at['kernel']}, {at['rust']}, Python {at['python']}.",
        "",
        "| work | Watershed | against | theirs | ours ÷ theirs | aim | met | peak memory | note |",
        "| --- | ---: | --- | ---: | ---: | --- | --- | --- | --- |",
    ]
    for row in rows:
        for entry in row["entries"]:
            ratio = "" if entry["ratio"] is None else f"{entry['ratio']:.2f}" if entry["ratio"] >= 0.1 else f"{entry['ratio']:.2g}"
            met = {True: "yes", False: "**no**", None: ""}[entry["met"]]
            cells = [entry["work"], entry["ours"], entry["against"], entry["theirs"], ratio, entry["aim"], met]
            lines.append("| " + " | ".join([*cells, entry["memory"], entry["note"]]) + " |")
    return "\n".join(lines) + "\n"
