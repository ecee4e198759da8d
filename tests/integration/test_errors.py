#!/usr/bin/env python3
"""What klined cannot do right it refuses: exit status 2, and one message that says what is wrong and how to mend it."""

import socket
import struct
import unittest

from harness import Site, main, say
from inputs import Trader

DELETE_RECORDS = 21  # Kafka's number of the request


def delete_records(kafka, topic, partition, before):
    """Trims a partition's log. The request by hand: the Python client of Debian 12 does not know it."""
    def text(value):
        return struct.pack(">h", len(value)) + value.encode()

    body = (struct.pack(">hhi", DELETE_RECORDS, 1, 1) + text("klined-test") + struct.pack(">i", 1) + text(topic) +
            struct.pack(">iiqi", 1, partition, before, 30_000))
    host, _, port = kafka.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">i", len(body)) + body)
        answer = answers.read(struct.unpack(">i", answers.read(4))[0])
    error = struct.unpack(">h", answer[-2:])[0]
    if error != 0:
        raise AssertionError(f"Kafka did not delete the records of {topic}/{partition}: error {error}")


class Errors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.site = cls.enterClassContext(Site())
        cls.site.init()

    def refused(self, needles, command="run", environment=None, config=None, site=None, **changes):
        """The command must end with 2, and its last message must hold all the needles."""
        site = site or self.site
        config = config or site.write_config("refused", **changes)
        done = site.command(command, "--config", config, seconds=60, environment=environment)
        lines = [line for line in done.stderr.splitlines() if line.startswith("klined: ")]
        self.assertEqual(done.returncode, 2, f"{done.stdout}{done.stderr}")
        self.assertEqual(len(lines), 1, f"not one message: {done.stderr}")
        for needle in needles:
            self.assertIn(needle, lines[0])
        say(lines[0])

    # -- config

    def test_config_unknown_key(self):
        self.refused(["flush_intervall", "did you mean flush_interval"], mysql={"flush_intervall": "1s"})

    def test_config_bad_value(self):
        self.refused(["engine.lanes", "0", "1 to 256"], engine={"lanes": 0})

    def test_config_missing_key(self):
        self.refused(["input.topics", "is needed"], input={"topics": None})

    def test_config_no_yaml(self):
        self.refused(["this is no YAML"], config=self.site.write_config("broken", text="kafka: [brokers"))

    def test_config_missing_file(self):
        self.refused(["cannot read the config", "/nowhere/klined.yaml"], config="/nowhere/klined.yaml")

    def test_config_missing_variable(self):
        self.refused(["mysql.password", "NO_SUCH_VARIABLE"], mysql={"password": "${NO_SUCH_VARIABLE}"})

    def test_config_that_breaks_a_guarantee(self):
        self.refused(["enable.auto.commit"], kafka={"consumer": {"enable.auto.commit": "true"}})

    def test_config_partitioned_by_nothing_known(self):
        self.refused(["partitioned_by", "any", "pair"], input={"partitioned_by": "slot"})

    # -- MySQL

    def test_wrong_password(self):
        self.refused([self.site.stack.mysql_user, "mysql.password"], mysql={"password": "wrong"})

    def test_missing_database(self):
        self.refused(["klined_test_none", "klined init"], mysql={"database": "klined_test_none"})

    def test_missing_tables(self):
        with Site(topic=self.site.topic) as site:
            self.refused([site.database, "trade_kline_1m", "klined init"], site=site)

    def test_missing_table_of_an_added_interval(self):
        self.refused(["trade_kline_3m", "klined init"], intervals=["1m", "3m"])

    def test_wrong_column_type(self):
        with Site(topic=self.site.topic) as site:
            site.init()
            site.rows("ALTER TABLE trade_kline_5m MODIFY COLUMN v DOUBLE NOT NULL")
            self.refused(["trade_kline_5m.v", "double", "decimal(38,12)", "ALTER TABLE"], site=site)

    def test_missing_column(self):
        with Site(topic=self.site.topic) as site:
            site.init()
            site.rows("ALTER TABLE trade_kline_1h DROP COLUMN mcap_h")
            self.refused(["trade_kline_1h", "mcap_h", "ALTER TABLE"], site=site)

    # -- Kafka

    def test_missing_input_topic(self):
        self.refused(["no-such-topic", "klined init --input-topics"], input={"topics": ["no-such-topic"]})

    def test_missing_output_topics(self):
        env = f"none-{self.site.id}"
        self.refused([f"klines-100000-{env}", "klined init"], env=env)

    # -- the rest

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.refused([f"127.0.0.1:{port}", "in use", "metrics.listen"], metrics={"listen": f"127.0.0.1:{port}"})

    def test_wrong_usage(self):
        for arguments in (["run", "--no-such-option"], ["no-such-command"], [], ["candles"], ["aggregate"]):
            with self.subTest(arguments=arguments):
                done = self.site.command(*arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertTrue(done.stderr.strip())


class StoredOffsets(unittest.TestCase):
    """What is stored and what the log holds no longer fit together."""

    refused = Errors.refused

    def streamed(self, site):
        """A job that has taken in some trades, and has stopped."""
        site.init()
        trader = Trader()
        site.send([trader.batch(1_740_000_000 + number) for number in range(30)])
        job = site.start()
        site.await_drained(job)
        job.stop()
        return trader

    def test_other_group(self):
        with Site() as site:
            self.streamed(site)
            self.refused([site.group, "other-group", "klined reset"], site=site, group="other-group")

    def test_other_settings(self):
        with Site() as site:
            self.streamed(site)
            self.refused(["dedupe_window", "klined reset"], site=site, input={"dedupe_window": "5m"})

    def test_log_trimmed_below_the_stored_offset(self):
        with Site() as site:
            trader = self.streamed(site)
            stored = site.stored_offsets()
            site.send([trader.batch(1_740_000_100 + number) for number in range(60)])
            ends = site.ends()
            partition = next(number for number, offset in stored.items() if ends[number] > offset + 1)
            delete_records(site.stack.kafka, site.topic, partition, ends[partition] - 1)
            self.refused([f"{site.topic} partition {partition}", f"offset {ends[partition] - 1}",
                          str(stored[partition]), "klined reset"], site=site)

    def test_log_trimmed_inside_the_dedupe_window(self):
        with Site() as site:
            trader = self.streamed(site)
            stored = site.stored_offsets()
            partition = max(stored, key=stored.get)
            delete_records(site.stack.kafka, site.topic, partition, stored[partition])
            self.refused([f"{site.topic} partition {partition}", "dedupe window", "allow_dedupe_gap"], site=site)

            # The remedy that the message names.
            site.send([trader.batch(1_740_003_000)])
            job = site.start("with-gap", input={"allow_dedupe_gap": True})
            site.await_drained(job)
            job.stop()

    def test_topic_made_anew(self):
        with Site() as site:
            self.streamed(site)
            site.delete_topics([site.topic])
            site.make_topic()
            self.refused([site.topic, "ends at offset 0", "made anew", "klined reset"], site=site)

    def test_start_latest(self):
        """Partitions without stored offsets begin where `start` says, and only those."""
        with Site() as site:
            site.init()
            trader = Trader()
            site.send([trader.batch(1_740_000_000 + number) for number in range(10)])
            job = site.start("latest", input={"start": "latest"}).await_active()
            begin = site.ends()
            site.send([trader.batch(1_740_000_060 + number) for number in range(10)])
            site.await_drained(job)
            after = sum(site.ends().values()) - sum(begin.values())
            self.assertEqual(sum(job.await_counted(2 * after).values()), 2 * after)
            job.stop()
            again = site.start("earliest", input={"start": "earliest"}).await_active()
            site.send([trader.batch(1_740_000_120)])
            site.await_drained(again)
            self.assertEqual(sum(again.await_counted(2).values()), 2, "stored offsets must win over `start`")
            again.stop()


if __name__ == "__main__":
    main()
