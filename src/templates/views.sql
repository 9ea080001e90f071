-- Kept by the batch layer and by the speed layer, merged when you ask.
CREATE MATERIALIZED VIEW card_minute AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, MAX(amount) AS largest
FROM TUMBLE(payments, ts, INTERVAL '1 minute')
WHERE status = 'approved'
GROUP BY card, window_start;

-- Derived: computed from the merged rows of card_minute when you ask.
CREATE VIEW hot_cards AS
SELECT * FROM card_minute WHERE n >= 10;
