-- The MySQL users of klined, with no more rights than they need. Run it as an administrator, with your own database,
-- host and passwords in place of klined, '%' and the texts in <>.

CREATE DATABASE IF NOT EXISTS klined CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- `klined run`, `klined candles`, `klined pairs`, `klined dlq retry`: reads and writes rows. Taking turns (GET_LOCK) needs no right.
CREATE USER IF NOT EXISTS 'klined'@'%' IDENTIFIED BY '<password>';
GRANT SELECT, INSERT, UPDATE, DELETE ON klined.* TO 'klined'@'%';

-- `klined init`: makes the tables as well. May be the same user as above, with CREATE and INDEX granted for as long as it
-- takes.
CREATE USER IF NOT EXISTS 'klined_init'@'%' IDENTIFIED BY '<another password>';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX ON klined.* TO 'klined_init'@'%';

-- `klined rebuild`: fills a second set of tables in a schema of its own, swaps them with those in use (RENAME), and drops
-- the old ones. May be the user of `klined run`, with these granted for as long as it takes.
CREATE USER IF NOT EXISTS 'klined_rebuild'@'%' IDENTIFIED BY '<a password more>';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP ON klined.* TO 'klined_rebuild'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX, ALTER, DROP ON `klined\_rebuild`.* TO 'klined_rebuild'@'%';

-- `klined reset` works with the rights of klined; with DROP besides, it empties large tables at once
-- (TRUNCATE) where it has to delete their rows otherwise.

-- Whoever only reads candles.
-- CREATE USER IF NOT EXISTS 'reader'@'%' IDENTIFIED BY '<a third password>';
-- GRANT SELECT ON klined.* TO 'reader'@'%';
