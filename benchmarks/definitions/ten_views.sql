-- Nine more views that one would keep beside card_minute.
CREATE MATERIALIZED VIEW card_hour AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total FROM TUMBLE(payments, ts, INTERVAL '1 hour')
WHERE status = 'approved' GROUP BY card, window_start;
CREATE MATERIALIZED VIEW card_total AS
SELECT card, COUNT(*) AS n, SUM(amount) AS total, LAST(merchant) AS last_merchant FROM payments WHERE status = 'approved' GROUP BY card;
CREATE MATERIALIZED VIEW merchant_minute AS
SELECT merchant, window_start, COUNT(*) AS n, SUM(amount) AS total FROM TUMBLE(payments, ts, INTERVAL '1 minute')
WHERE status = 'approved' GROUP BY merchant, window_start;
CREATE MATERIALIZED VIEW merchant_day AS
SELECT merchant, window_start, COUNT(DISTINCT card) AS cards, AVG(amount) AS mean FROM TUMBLE(payments, ts, INTERVAL '1 day')
WHERE status = 'approved' GROUP BY merchant, window_start;
CREATE MATERIALIZED VIEW country_minute AS
SELECT country, window_start, COUNT(*) AS n, MIN(amount) AS least, MAX(amount) AS largest FROM TUMBLE(payments, ts, INTERVAL '1 minute')
GROUP BY country, window_start;
CREATE MATERIALIZED VIEW status_minute AS
SELECT status, window_start, COUNT(*) AS n FROM TUMBLE(payments, ts, INTERVAL '1 minute') GROUP BY status, window_start;
CREATE MATERIALIZED VIEW declined AS
SELECT country, merchant, COUNT(*) FILTER (WHERE status = 'declined') AS declined, COUNT(*) AS n FROM payments GROUP BY country, merchant;
CREATE MATERIALIZED VIEW sliding AS
SELECT country, window_start, SUM(amount) AS total FROM HOP(payments, ts, INTERVAL '1 minute', INTERVAL '10 minutes')
WHERE status = 'approved' GROUP BY country, window_start;
CREATE MATERIALIZED VIEW amounts AS
SELECT merchant, APPROX_PERCENTILE(amount, 0.95) AS p95, STDDEV_POP(amount) AS spread FROM payments GROUP BY merchant;
