#!/usr/bin/env python3
"""The users of sql/user.sql have the rights that their commands need: each command runs as its own user."""

import contextlib
import os
import re
import unittest

import pymysql

from harness import ROOT, Site, main
from inputs import Trader

NOON = 1_767_268_800  # 2026-01-01T12:00:00Z
USERS = ("klined", "klined_init", "klined_rebuild")  # Of sql/user.sql.


class Rights(unittest.TestCase):
    @contextlib.contextmanager
    def users(self, site):
        """sql/user.sql as somebody would adapt it: {its user: ours}, with the site's database and one password."""
        ours = {name: f"{name}_{site.id}" for name in USERS}
        with open(os.path.join(ROOT, "sql", "user.sql"), encoding="utf-8") as file:
            text = re.sub(r"^--.*", "", file.read(), flags=re.M)
        for name, our in ours.items():
            text = text.replace(f"'{name}'@", f"'{our}'@")
        schema = site.database.replace("_", "\\_")
        text = text.replace(r"`klined\_rebuild`.*", f"`{schema}\\_rebuild`.*").replace("klined.*", f"`{schema}`.*")
        text = re.sub(r"'<[^>]*>'", f"'{site.id}'", text)
        statements = [statement.strip() for statement in text.split(";") if statement.strip()]
        self.assertIn("CREATE DATABASE", statements.pop(0))  # The site has one.
        with contextlib.closing(pymysql.connect(user=os.environ["KLINED_STACK_MYSQL_ROOT_USER"],
                                                unix_socket=os.environ["KLINED_STACK_MYSQL_ROOT_SOCKET"])) as root:
            with root.cursor() as cursor:
                try:
                    for statement in statements:
                        cursor.execute(statement)
                    yield ours
                finally:
                    for our in ours.values():
                        cursor.execute(f"DROP USER IF EXISTS '{our}'@'%'")
                    cursor.execute(f"DROP DATABASE IF EXISTS `{site.database}_rebuild`")

    def test_each_command(self):
        with Site(partitions=1, intervals=("1m", "1h")) as site, self.users(site) as users:
            def mysql(user):
                return {"mysql": {"user": users[user], "password": site.id}}
            plain, rebuilding = (site.write_config(user, **mysql(user)) for user in ("klined", "klined_rebuild"))
            refused = site.command("init", "--config", plain)
            self.assertEqual(refused.returncode, 2, "a user without CREATE has made tables")
            self.assertIn("denied", refused.stderr)
            site.init(**mysql("klined_init"))
            trader = Trader()
            site.send([trader.batch(NOON + 20 * i) for i in range(30)])
            job = site.start(**mysql("klined"))
            site.await_drained(job)
            site.judge()
            site.rows("UPDATE trade_kline_1m SET h = h + 1 ORDER BY candle_time LIMIT 1")
            self.assertIn("1 repaired", site.succeed("verify", "-c", plain, "--repair").stderr)
            site.succeed("verify", "-c", plain)
            refused = site.command("rebuild", "-c", plain)
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn("denied", refused.stderr)
            done = site.succeed("rebuild", "-c", rebuilding)
            self.assertIn("the tables are swapped", done.stderr)
            job.await_active(activations=2)
            for command in (("candles", "PairA", "1m"), ("pairs",), ("offsets",)):
                site.succeed(command[0], "-c", plain, *command[1:])
            job.stop()
            site.succeed("reset", "-c", plain, "--to", "earliest", "--yes")
            job = site.start("again", **mysql("klined"))
            site.await_drained(job)
            site.judge()
            job.stop()


if __name__ == "__main__":
    main()
