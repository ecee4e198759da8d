-- One table an interval, made by `klined init` with its name in place of {table}: trade_kline_1m, trade_kline_5m, …,
-- trade_kline_1mo for 1M. One row a candle: the summary of all its trades, as absolute values.
--
-- Names of pairs and tokens compare byte by byte (ascii_bin): base58 is case-sensitive.
CREATE TABLE IF NOT EXISTS {table} (
  chain_id INT NOT NULL,                    -- 1 ETH, 56 BSC, 8453 Base, 100000 Solana
  pair_address VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  candle_time BIGINT NOT NULL,              -- where the bucket begins, unix s
  open_at BIGINT NOT NULL,                  -- the first trade, unix s
  close_at BIGINT NOT NULL,                 -- the last trade, unix s
  o DOUBLE NOT NULL,                        -- open, high, low, close in USD
  h DOUBLE NOT NULL,
  l DOUBLE NOT NULL,
  c DOUBLE NOT NULL,
  v DECIMAL(38,12) NOT NULL,                -- amount in USD
  t DECIMAL(38,12) NOT NULL,                -- volume in tokens
  a DOUBLE NOT NULL,                        -- average price: v / t
  `count` BIGINT NOT NULL,                  -- trades; only grows
  buy_count BIGINT NOT NULL,
  sell_count BIGINT NOT NULL,
  mcap_o DOUBLE NOT NULL,                   -- open, high, low, close of the market cap in USD
  mcap_h DOUBLE NOT NULL,
  mcap_l DOUBLE NOT NULL,
  mcap_c DOUBLE NOT NULL,
  mkt_cap DOUBLE NOT NULL,                  -- of the last trade
  pump_point DOUBLE NOT NULL,               -- of the last trade
  token_addr VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- What makes a candle loadable exactly, so that further trades merge into it. A position is
  -- block_time:slot:transaction_index:log_index:topic_id:partition:offset:index.
  open_pos VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,   -- of the trade that set o
  close_pos VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- of the trade that set c
  last_pos VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,   -- of the last trade; '' where it is close_pos
  only_clamped TINYINT NOT NULL,            -- 1: all trades are part of sandwich attacks, so they set the prices
  updated_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  PRIMARY KEY (chain_id, pair_address, candle_time),
  KEY candle_time (candle_time)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
