-- Every aggregate and window, over one source with a column of every type.
CREATE TABLE samples (
  at     TIMESTAMP NOT NULL,
  key    TEXT,
  small  INT,
  big    BIGINT,
  real   DOUBLE,
  money  DECIMAL(12,2),
  flag   BOOLEAN,
  day    DATE,
  number TEXT
) WITH (event_time = 'at', partitions = 3, partition_by = 'key', lateness = '10 minutes', max_ahead = '1 hour');

CREATE MATERIALIZED VIEW exact AS
SELECT
  key,
  window_start,
  COUNT(*) AS n,
  COUNT(small) AS n_small,
  SUM(small) AS sum_small,
  SUM(big) AS sum_big,
  SUM(money) AS sum_money,
  SUM(real) AS sum_real,
  AVG(small) AS avg_small,
  AVG(money) AS avg_money,
  AVG(real) AS avg_real,
  VAR_POP(real) AS var_pop,
  VAR_SAMP(small) AS var_samp,
  STDDEV_POP(money) AS stddev_pop,
  STDDEV_SAMP(real) AS stddev_samp,
  MIN(key) AS min_key, MAX(key) AS max_key,
  MIN(real) AS min_real, MAX(real) AS max_real,
  MIN(money) AS min_money, MAX(big) AS max_big,
  MIN(day) AS min_day, MAX(at) AS max_at,
  BOOL_AND(flag) AS every_flag,
  BOOL_OR(flag) AS any_flag,
  SUM(big) FILTER (WHERE flag) AS sum_flagged
FROM TUMBLE(samples, at, INTERVAL '1 minute')
GROUP BY key, window_start;

CREATE MATERIALIZED VIEW hops AS
SELECT key, window_start, window_end, COUNT(*) AS n, SUM(real) AS total, MIN(big) AS least, COUNT(DISTINCT small) AS smalls
FROM HOP(samples, at, INTERVAL '2 minutes', INTERVAL '5 minutes')
WHERE small IS NOT NULL
GROUP BY key, window_start, window_end;

CREATE MATERIALIZED VIEW new_york_days AS
SELECT window_start, window_end, COUNT(*) AS n, SUM(money) AS total, FIRST(key) AS first_key, LAST(real) AS last_real
FROM TUMBLE(samples, at, INTERVAL '1 day', 'America/New_York')
GROUP BY window_start, window_end;

CREATE MATERIALIZED VIEW months AS
SELECT flag, window_start, COUNT(*) AS n, AVG(real) AS mean
FROM TUMBLE(samples, at, INTERVAL '1 month')
GROUP BY flag, window_start;

CREATE MATERIALIZED VIEW distinct_values AS
SELECT flag, COUNT(DISTINCT key) AS keys, COUNT(DISTINCT real) AS reals, COUNT(DISTINCT money) AS moneys,
       COUNT(DISTINCT small) FILTER (WHERE small > 0) AS positives
FROM samples
GROUP BY flag;

CREATE MATERIALIZED VIEW estimates AS
SELECT flag, APPROX_COUNT_DISTINCT(key) AS keys, APPROX_PERCENTILE(real, 0.5) AS median,
       APPROX_PERCENTILE(money, 0.99) AS p99
FROM samples
GROUP BY flag;

CREATE MATERIALIZED VIEW everything AS
SELECT COUNT(*) AS n, SUM(real) AS total, FIRST(number) AS first_number, LAST(key) AS last_key, MAX(at) AS latest
FROM samples;

-- Records whose text is no number are rejected: from this view, and only from it.
CREATE MATERIALIZED VIEW numbers AS
SELECT key, SUM(CAST(number AS DOUBLE)) AS total, AVG(CAST(number AS DOUBLE)) AS mean,
       MIN(CAST(number AS DOUBLE)) AS least, MAX(CAST(number AS DOUBLE)) AS most, COUNT(*) AS n
FROM samples
WHERE number IS NOT NULL
GROUP BY key;

-- Overflows and divisions by zero reject, too.
CREATE MATERIALIZED VIEW fragile AS
SELECT DATE_TRUNC('hour', at) AS hour, MAX(small * 2) AS doubled, SUM(big / small) AS ratio, SUM(money * 100) AS cents
FROM samples
GROUP BY DATE_TRUNC('hour', at);

-- A view of rows.
CREATE MATERIALIZED VIEW flagged AS
SELECT at, key, UPPER(key) AS shout, real, COALESCE(money, 0) AS money, _offset AS place
FROM samples
WHERE flag;

CREATE VIEW ranked AS
SELECT key, n, total, ROW_NUMBER() OVER (ORDER BY n DESC) AS place
FROM (SELECT key, SUM(n) AS n, SUM(sum_real) AS total FROM exact GROUP BY key) AS per_key;

CREATE VIEW beside AS
SELECT e.key, e.window_start, e.n, h.n AS hop_n, h.smalls
FROM exact AS e LEFT JOIN hops AS h ON e.key = h.key AND e.window_start = h.window_start
WHERE e.n >= 1;
