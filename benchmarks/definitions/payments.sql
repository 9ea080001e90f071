CREATE TABLE payments (
  event_id TEXT NOT NULL,
  ts       TIMESTAMP NOT NULL,
  card     TEXT NOT NULL,
  merchant TEXT,
  country  TEXT,
  amount   DECIMAL(12,2),
  status   TEXT
) WITH (event_time = 'ts', partitions = 4, partition_by = 'card', lateness = '10 seconds');
