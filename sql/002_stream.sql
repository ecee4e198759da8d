-- How far the stream is, beside the candles: both change in one transaction, so the candles are always exactly those of
-- the input up to these offsets.

-- One row a consumer group, partition and lane (a lane is a fixed share of the pairs).
CREATE TABLE IF NOT EXISTS stream_offset (
  consumer_group VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  topic VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  partition_id INT NOT NULL,
  lane INT NOT NULL,
  owner BIGINT UNSIGNED NOT NULL,           -- drawn by the process that claimed the row; only it may move the row
  next_offset BIGINT NOT NULL,              -- all messages before it are in the lane's candles
  window_offset BIGINT NOT NULL,            -- where reading begins again, to know which trades were seen already
  window_clocks VARCHAR(4096) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- chain:time,… just before window_offset
  max_block_time BIGINT NOT NULL,           -- the lane's largest applied block time, unix s; -1 for none
  closed_until BIGINT NOT NULL,             -- the lane's candles are published as closed up to here, unix s; -1 for none
  updated_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  PRIMARY KEY (consumer_group, topic, partition_id, lane)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The topics that the candles' positions name by number. A topic keeps its number for ever.
CREATE TABLE IF NOT EXISTS stream_topic (
  topic_id INT NOT NULL,
  topic VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  PRIMARY KEY (topic_id),
  UNIQUE KEY topic (topic)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Where topics are partitioned by pair: the one partition that a pair's trades come from, by whoever wrote its first
-- candle. A process that saw the pair on another one is refused.
CREATE TABLE IF NOT EXISTS stream_pair (
  chain_id INT NOT NULL,
  pair_address VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  topic_id INT NOT NULL,
  partition_id INT NOT NULL,
  PRIMARY KEY (chain_id, pair_address)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- consumer_group: whose candles these are. tables: an id of this set of tables. settings: what they depend on. reset: a reset was begun and is not done.
-- rebuild: a rebuild fills these tables, or has swapped them in and is not done; rebuild_of: for which database,
-- rebuild_in: by way of which schema. rebuilt: when.
CREATE TABLE IF NOT EXISTS stream_meta (
  name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  value VARCHAR(4096) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
