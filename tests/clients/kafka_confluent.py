"""Reads as the consumer of the old chain did, by `confluent-kafka`: python kafka_confluent.py BROKERS KEY TOPIC...

Subscribes in a group of its own, from the beginning, and writes the first record of each topic with that key as a JSON line.
"""

import json
import sys
import time

from confluent_kafka import Consumer, KafkaException

brokers, key, *topics = sys.argv[1:]
TIMEOUT_S = 60

consumer = Consumer(
    {
        "bootstrap.servers": brokers,
        "group.id": f"old-chain-{key}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
)
consumer.subscribe(topics)
wanted = set(topics)
deadline = time.monotonic() + TIMEOUT_S
while wanted:
    if time.monotonic() > deadline:
        sys.exit(f"nothing of {key} in {wanted}")
    message = consumer.poll(1.0)
    if message is None:
        continue
    if message.error():
        raise KafkaException(message.error())
    if message.topic() in wanted and message.key() == key.encode():
        wanted.remove(message.topic())
        # As the old chain read it.
        value = json.loads(message.value())
        headers = {name: text.decode() for name, text in message.headers() or []}
        print(json.dumps({"topic": message.topic(), "value": value, "headers": headers}), flush=True)
consumer.close()
