"""A bar chart of throughputs, as SVG."""

from html import escape

BAR, GAP, LEFT, WIDTH = 18, 6, 250, 720
OURS, THEIRS = "#0b6e99", "#b9c4c9"


def picture(rows: list) -> str:
    charts = [(entry["work"], entry["chart"]) for row in rows for entry in row["entries"] if entry["chart"]]
    y, parts = 10, []
    for title, chart in charts:
        y += 24
        parts.append(f'<text x="10" y="{y}" class="title">{escape(title)}</text>')
        most = max(chart.values())
        for name, rate in chart.items():
            y += GAP
            length = max(1, rate / most * (WIDTH - LEFT - 110))
            colour = OURS if name.startswith("Watershed") else THEIRS
            parts.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 13}">{shown(rate)}</text>')
            y += BAR
        y += 10
    style = "text{font:12px sans-serif;fill:#222}.title{font-weight:bold}"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}">\n<style>{style}</style>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def shown(rate: float) -> str:
    return f"{rate / 1e6:.2f} M/s" if rate >= 1e5 else f"{rate / 1e3:.1f} k/s"
