-- What the kept formats hold: every kind of partial, window and partition, few rows of each.
CREATE TABLE samples (
  at     TIMESTAMP NOT NULL,
  key    TEXT,
  small  INT,
  big    BIGINT,
  real   DOUBLE,
  money  DECIMAL(12,2),
  flag   BOOLEAN,
  day    DATE,
  detail JSON
) WITH (event_time = 'at', partitions = 2, partition_by = 'key', lateness = '10 minutes', max_ahead = '1 hour');

CREATE MATERIALIZED VIEW tumbling AS
SELECT key, window_start, COUNT(*) AS n, SUM(small) AS small, SUM(big) AS big, SUM(money) AS money, SUM(real) AS real,
       AVG(real) AS mean, VAR_SAMP(real) AS variance, STDDEV_POP(money) AS deviation, MIN(key) AS least, MAX(day) AS latest,
       BOOL_AND(flag) AS every, BOOL_OR(flag) AS any, SUM(big) FILTER (WHERE flag) AS flagged
FROM TUMBLE(samples, at, INTERVAL '1 hour')
GROUP BY key, window_start;

CREATE MATERIALIZED VIEW hopping AS
SELECT flag, window_start, window_end, COUNT(*) AS n, SUM(real) AS real, MIN(big) AS least, COUNT(DISTINCT small) AS smalls
FROM HOP(samples, at, INTERVAL '2 hours', INTERVAL '5 hours')
GROUP BY flag, window_start, window_end;

CREATE MATERIALIZED VIEW days AS
SELECT window_start, COUNT(*) AS n, FIRST(key) AS first_key, LAST(real) AS last_real
FROM TUMBLE(samples, at, INTERVAL '1 day', 'America/New_York')
GROUP BY window_start;

CREATE MATERIALIZED VIEW sketches WITH (buckets = 2) AS
SELECT flag, APPROX_COUNT_DISTINCT(key) AS keys, APPROX_PERCENTILE(real, 0.5) AS median, COUNT(DISTINCT money) AS moneys
FROM samples
GROUP BY flag;

CREATE MATERIALIZED VIEW ratios WITH (buckets = 1) AS
SELECT SUM(big / small) AS ratio, COUNT(*) AS n, LAST(JSON_VALUE(detail, '$.a')) AS detail FROM samples;

CREATE MATERIALIZED VIEW kept AS
SELECT at, UPPER(key) AS shout, real, COALESCE(money, 0) AS money, detail FROM samples WHERE flag;

CREATE VIEW ranked AS
SELECT key, n, real, ROW_NUMBER() OVER (ORDER BY n DESC) AS place
FROM (SELECT key, SUM(n) AS n, SUM(real) AS real FROM tumbling GROUP BY key) AS per_key;
