CREATE TABLE departures AS SELECT * FROM read_json('$DIRECTORY/records/departures.ndjson',
  format = 'newline_delimited', columns = {_partition: 'INTEGER', _offset: 'BIGINT', scheduled: 'TIMESTAMPTZ', carrier: 'VARCHAR',
  flight: 'INTEGER', tailnum: 'VARCHAR', origin: 'VARCHAR', dest: 'VARCHAR', distance: 'INTEGER', cancelled: 'BOOLEAN',
  departed: 'TIMESTAMPTZ', delay: 'INTEGER'});
CREATE TABLE arrivals AS SELECT * FROM read_json('$DIRECTORY/records/arrivals.ndjson',
  format = 'newline_delimited', columns = {_partition: 'INTEGER', _offset: 'BIGINT', scheduled: 'TIMESTAMPTZ', carrier: 'VARCHAR',
  flight: 'INTEGER', tailnum: 'VARCHAR', origin: 'VARCHAR', dest: 'VARCHAR', distance: 'INTEGER', arrived: 'TIMESTAMPTZ',
  delay: 'INTEGER', air_time: 'INTEGER'});
CREATE TABLE weather AS SELECT * FROM read_json('$DIRECTORY/records/weather.ndjson',
  format = 'newline_delimited', columns = {_partition: 'INTEGER', _offset: 'BIGINT', observed: 'TIMESTAMPTZ', origin: 'VARCHAR',
  temp: 'DOUBLE', humid: 'DOUBLE', wind_speed: 'DOUBLE', wind_gust: 'DOUBLE', precip: 'DECIMAL(6,2)', pressure: 'DOUBLE',
  visib: 'DOUBLE'});
