-- How a route does, over all time.
CREATE MATERIALIZED VIEW routes AS
SELECT
  origin,
  dest,
  COUNT(*) AS arrivals,
  COUNT(*) FILTER (WHERE delay > 60) AS over_an_hour_late,
  AVG(delay) AS mean_delay,
  MAX(delay) AS worst_delay,
  MIN(air_time) AS fastest,
  SUM(distance) AS miles
FROM arrivals
GROUP BY origin, dest;

-- The routes that one should not take, among those flown often.
CREATE VIEW worst_routes AS
SELECT origin, dest, arrivals, mean_delay, RANK() OVER (ORDER BY mean_delay DESC) AS place
FROM routes
WHERE arrivals >= 50;

-- Arrivals more than five hours late, one row each.
CREATE MATERIALIZED VIEW ordeals AS
SELECT scheduled, carrier, flight, origin, dest, delay
FROM arrivals
WHERE delay > 300;
