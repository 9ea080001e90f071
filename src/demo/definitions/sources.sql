-- Three logs of facts about New York's airports. Times are UTC; a delay is in minutes, negative when early.

-- Every scheduled departure, once it has happened or is known not to.
CREATE TABLE departures (
  scheduled TIMESTAMP NOT NULL,
  carrier   TEXT NOT NULL,
  flight    INT NOT NULL,
  tailnum   TEXT,
  origin    TEXT NOT NULL,
  dest      TEXT NOT NULL,
  distance  INT,
  cancelled BOOLEAN NOT NULL,
  departed  TIMESTAMP,
  delay     INT
) WITH (
  event_time = 'scheduled',
  partitions = 2,
  partition_by = 'origin',
  lateness = '1 hour',     -- a departure delayed by more is late data: counted, and counted in
  max_ahead = '1 hour'     -- some leave early
);

-- Every arrival, hours after the departure that it belongs to. Its event time is the scheduled departure.
CREATE TABLE arrivals (
  scheduled TIMESTAMP NOT NULL,
  carrier   TEXT NOT NULL,
  flight    INT NOT NULL,
  tailnum   TEXT,
  origin    TEXT NOT NULL,
  dest      TEXT NOT NULL,
  distance  INT,
  arrived   TIMESTAMP NOT NULL,
  delay     INT,           -- NULL: diverted, and came later
  air_time  INT
) WITH (event_time = 'scheduled', partitions = 2, partition_by = 'dest', lateness = '6 hours', max_ahead = '1 hour');

-- One reading per airport and hour: °F, miles per hour, inches in the hour, millibars, miles.
CREATE TABLE weather (
  observed   TIMESTAMP NOT NULL,
  origin     TEXT NOT NULL,
  temp       DOUBLE,
  humid      DOUBLE,
  wind_speed DOUBLE,
  wind_gust  DOUBLE,
  precip     DECIMAL(6,2),
  pressure   DOUBLE,
  visib      DOUBLE
) WITH (event_time = 'observed', lateness = '1 hour');
