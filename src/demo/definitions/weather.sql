-- The weather of a day in New York, airport by airport.
CREATE MATERIALIZED VIEW weather_days AS
SELECT
  origin,
  window_start,
  SUM(precip) AS precip,
  SUM(precip) FILTER (WHERE temp <= 35.1) AS frozen,   -- inches of water that fell as snow or sleet
  MAX(wind_gust) AS gust,
  AVG(wind_speed) AS wind,
  MIN(visib) AS visib,
  MIN(temp) AS coldest
FROM TUMBLE(weather, observed, INTERVAL '1 day', 'America/New_York')
GROUP BY origin, window_start;
