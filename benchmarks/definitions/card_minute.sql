CREATE MATERIALIZED VIEW card_minute AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, MAX(amount) AS largest
FROM TUMBLE(payments, ts, INTERVAL '1 minute')
WHERE status = 'approved'
GROUP BY card, window_start;
