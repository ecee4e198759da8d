#!/usr/bin/env python3
"""Deletes a topic, where it exists: delete_topic.py HOST:PORT TOPIC"""
import sys
import time

from confluent_kafka.admin import AdminClient

broker, topic = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": broker})
if topic in admin.list_topics(timeout=10).topics:
    admin.delete_topics([topic], operation_timeout=10)[topic].result()
    # Kafka forgets a name a moment after it has answered; making it anew before that fails.
    deadline = time.monotonic() + 10
    while topic in admin.list_topics(timeout=10).topics and time.monotonic() < deadline:
        time.sleep(0.1)
