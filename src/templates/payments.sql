-- Where records come from. Each line that is appended to "payments" is one JSON object with these fields; a line that does
-- not fit (no JSON, wrong type, a NOT NULL field missing) is kept as a dead letter: `watershed dead-letters payments`.
CREATE TABLE payments (
  event_id TEXT NOT NULL,
  ts       TIMESTAMP NOT NULL,
  card     TEXT NOT NULL,
  merchant TEXT,
  country  TEXT,
  amount   DECIMAL(12,2),
  status   TEXT
) WITH (event_time = 'ts', partitions = 4, partition_by = 'card', lateness = '10 seconds');
