-- Starting over by hand: the same candles are computed again from the topics. `klined reset` does this, and
-- refuses while a process of the group runs. Here nobody refuses: stop klined first.
--
-- Candles and offsets go together. Deleting only the offsets would count every trade twice, deleting only candles would
-- lose them; klined refuses to start on the first, and can not see the second.

-- The offsets first: a process that was forgotten is refused from here on.
INSERT INTO stream_meta (name, value) VALUES ('reset', 'begun') ON DUPLICATE KEY UPDATE value = 'begun';
DELETE FROM stream_offset;

-- One line for each interval's table that exists.
TRUNCATE TABLE trade_kline_1m;
TRUNCATE TABLE trade_kline_5m;
TRUNCATE TABLE trade_kline_15m;
TRUNCATE TABLE trade_kline_1h;
TRUNCATE TABLE trade_kline_4h;
TRUNCATE TABLE trade_kline_12h;
TRUNCATE TABLE trade_kline_1d;

-- Last of all: until here, klined refuses to start.
DELETE FROM stream_pair;
DELETE FROM stream_topic;
DELETE FROM stream_meta;
