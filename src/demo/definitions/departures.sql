-- Delays and cancellations by airport and hour.
CREATE MATERIALIZED VIEW airport_hours AS
SELECT
  origin,
  window_start,
  COUNT(*) AS flights,
  COUNT(*) FILTER (WHERE cancelled) AS cancelled,
  SUM(delay) AS delay_minutes,
  AVG(delay) AS mean_delay,
  MAX(delay) AS worst_delay,
  APPROX_PERCENTILE(delay, 0.9) AS p90_delay
FROM TUMBLE(departures, scheduled, INTERVAL '1 hour')
GROUP BY origin, window_start;

-- By airline and day in New York: how many, how late, with how many aircraft.
CREATE MATERIALIZED VIEW carrier_days AS
SELECT
  carrier,
  window_start,
  COUNT(*) AS flights,
  COUNT(*) FILTER (WHERE cancelled) AS cancelled,
  COUNT(DISTINCT tailnum) AS aircraft,
  APPROX_COUNT_DISTINCT(dest) AS destinations,
  AVG(delay) AS mean_delay,
  STDDEV_SAMP(delay) AS spread,
  APPROX_PERCENTILE(delay, 0.5) AS median_delay,
  LAST(tailnum) AS last_aircraft
FROM TUMBLE(departures, scheduled, INTERVAL '1 day', 'America/New_York')
GROUP BY carrier, window_start;

-- How punctual the last three hours were, hour by hour. The rate is worked out when asked, from counts that both layers keep.
CREATE MATERIALIZED VIEW punctuality AS
SELECT
  origin,
  window_start,
  window_end,
  COUNT(*) AS flights,
  COUNT(*) FILTER (WHERE delay < 15) AS on_time,
  100.0 * COUNT(*) FILTER (WHERE delay < 15) / COUNT(*) AS on_time_percent
FROM HOP(departures, scheduled, INTERVAL '1 hour', INTERVAL '3 hours')
GROUP BY origin, window_start, window_end;
