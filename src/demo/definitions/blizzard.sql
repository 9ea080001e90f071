-- Derived views: worked out when asked, from the merged rows of the views above.

CREATE VIEW airport_days AS
SELECT
  origin,
  DATE_TRUNC('day', window_start, 'America/New_York') AS day,
  SUM(flights) AS flights,
  SUM(cancelled) AS cancelled,
  100.0 * SUM(cancelled) / SUM(flights) AS cancelled_percent
FROM airport_hours
GROUP BY origin, DATE_TRUNC('day', window_start, 'America/New_York');

-- Cancellations beside the weather. The blizzard of 8 and 9 February 2013 stands out.
CREATE VIEW storms AS
SELECT d.day, d.origin, d.flights, d.cancelled, d.cancelled_percent, w.frozen, w.gust, w.visib
FROM airport_days AS d
JOIN weather_days AS w ON w.origin = d.origin AND w.window_start = d.day
WHERE d.cancelled_percent >= 20;

-- The worst hours of the year so far.
CREATE VIEW worst_hours AS
SELECT * FROM (
  SELECT origin, window_start, flights, cancelled, mean_delay,
         RANK() OVER (ORDER BY cancelled DESC, mean_delay DESC) AS place
  FROM airport_hours
) AS ranked
WHERE place <= 10;
