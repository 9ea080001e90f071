-- The demo's views once more, in DuckDB's SQL over the same records, written by hand.
-- A column named x__how is a list that compare.py works x out from, exactly: DuckDB sums doubles in no fixed order.

-- view: airport_hours
SELECT origin, epoch_us(date_trunc('hour', scheduled)) AS window_start,
       count(*) AS flights, count(*) FILTER (WHERE cancelled) AS cancelled,
       sum(delay)::BIGINT AS delay_minutes, avg(delay) AS mean_delay, max(delay) AS worst_delay,
       list(delay) AS p90_delay__percentile_90
FROM departures GROUP BY ALL;

-- view: carrier_days
SELECT carrier,
       epoch_us(timezone('America/New_York', date_trunc('day', timezone('America/New_York', scheduled)))) AS window_start,
       count(*) AS flights, count(*) FILTER (WHERE cancelled) AS cancelled,
       count(DISTINCT tailnum) AS aircraft, count(DISTINCT dest) AS destinations__about,
       avg(delay) AS mean_delay, list(delay) AS spread__stddev_samp, list(delay) AS median_delay__percentile_50,
       last(tailnum ORDER BY scheduled, _partition, _offset) FILTER (WHERE tailnum IS NOT NULL) AS last_aircraft
FROM departures GROUP BY ALL;

-- view: punctuality
SELECT origin, epoch_us(start) AS window_start, epoch_us(start + INTERVAL 3 HOUR) AS window_end,
       count(*) AS flights, count(*) FILTER (WHERE delay < 15) AS on_time,
       (100 * count(*) FILTER (WHERE delay < 15))::DOUBLE / count(*)::DOUBLE AS on_time_percent
FROM (SELECT *, unnest([date_trunc('hour', scheduled) - to_hours(h) FOR h IN [0, 1, 2]]) AS start FROM departures)
GROUP BY origin, start;

-- view: routes
SELECT origin, dest, count(*) AS arrivals, count(*) FILTER (WHERE delay > 60) AS over_an_hour_late,
       avg(delay) AS mean_delay, max(delay) AS worst_delay, min(air_time) AS fastest, sum(distance)::BIGINT AS miles
FROM arrivals GROUP BY ALL;

-- view: worst_routes
SELECT origin, dest, arrivals, mean_delay, rank() OVER (ORDER BY mean_delay DESC) AS place
FROM (SELECT origin, dest, count(*) AS arrivals, avg(delay) AS mean_delay FROM arrivals GROUP BY ALL)
WHERE arrivals >= 50;

-- view: ordeals
SELECT epoch_us(scheduled) AS scheduled, carrier, flight, origin, dest, delay FROM arrivals WHERE delay > 300;

-- view: weather_days
SELECT origin,
       epoch_us(timezone('America/New_York', date_trunc('day', timezone('America/New_York', observed)))) AS window_start,
       sum(precip) AS precip, sum(precip) FILTER (WHERE temp <= 35.1) AS frozen, max(wind_gust) AS gust,
       list(wind_speed) AS wind__mean, min(visib) AS visib, min(temp) AS coldest
FROM weather GROUP BY ALL;

-- view: airport_days
SELECT origin,
       epoch_us(timezone('America/New_York', date_trunc('day', timezone('America/New_York', scheduled)))) AS day,
       count(*) AS flights, count(*) FILTER (WHERE cancelled) AS cancelled,
       (100 * count(*) FILTER (WHERE cancelled))::DOUBLE / count(*)::DOUBLE AS cancelled_percent
FROM departures GROUP BY ALL;

-- view: storms
SELECT d.day, d.origin, d.flights, d.cancelled, d.cancelled_percent, w.frozen, w.gust, w.visib
FROM (SELECT origin,
             epoch_us(timezone('America/New_York', date_trunc('day', timezone('America/New_York', scheduled)))) AS day,
             count(*) AS flights, count(*) FILTER (WHERE cancelled) AS cancelled,
             (100 * count(*) FILTER (WHERE cancelled))::DOUBLE / count(*)::DOUBLE AS cancelled_percent
      FROM departures GROUP BY ALL) AS d
JOIN (SELECT origin,
             epoch_us(timezone('America/New_York', date_trunc('day', timezone('America/New_York', observed)))) AS day,
             sum(precip) FILTER (WHERE temp <= 35.1) AS frozen, max(wind_gust) AS gust, min(visib) AS visib
      FROM weather GROUP BY ALL) AS w USING (origin, day)
WHERE d.cancelled_percent >= 20;

-- view: worst_hours
SELECT * FROM (
  SELECT *, rank() OVER (ORDER BY cancelled DESC NULLS FIRST, mean_delay DESC NULLS FIRST) AS place
  FROM (SELECT origin, epoch_us(date_trunc('hour', scheduled)) AS window_start, count(*) AS flights,
               count(*) FILTER (WHERE cancelled) AS cancelled, avg(delay) AS mean_delay
        FROM departures GROUP BY ALL))
WHERE place <= 10;
