"""A device by `paho-mqtt`: python mqtt_paho.py HOST PORT VERSION NAME PART. VERSION is 3.1.1 or 5.

Writes a JSON object a line for what it has reached, and reads a line where it has to wait for the test. PART is `life` (the test ends it by
killing it, so that its will is published) or `acknowledged` (the test kills the broker). Any surprise ends it with a traceback.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, version, name, part = sys.argv[1:]
IS_5 = version == "5"
TIMEOUT_S = 30
SESSION_S = 300
X, Y = f"devices/{name}/coordX", f"devices/{name}/coordY"


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def turn(event, **more):
    say(event, **more)
    if not sys.stdin.readline():
        raise SystemExit(f"the test ended at {event}")


class Client:
    """One connection, from CONNACK on."""

    def __init__(self, suffix, clean=True, will=None):
        self.messages, connected, self.subscribed = queue.Queue(), queue.Queue(), queue.Queue()
        kept = {} if IS_5 else {"clean_session": clean}
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{name}-{suffix}",
            protocol=mqtt.MQTTv5 if IS_5 else mqtt.MQTTv311,
            **kept,
        )
        if will:
            self.client.will_set(X, will, qos=1)
        self.client.on_connect = lambda _client, _data, flags, reason, _properties: connected.put((flags, reason))
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.on_subscribe = lambda _client, _data, _id, reasons, _properties: self.subscribed.put(reasons)
        started = {}
        if IS_5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else SESSION_S
            started = {"clean_start": clean, "properties": properties}
        self.client.connect(host, int(port), **started)
        self.client.loop_start()
        flags, reason = connected.get(timeout=TIMEOUT_S)
        assert not reason.is_failure, reason
        self.session_present = flags.session_present

    def publish(self, topic, payload, qos, retain=False):
        self.client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(TIMEOUT_S)

    def subscribe(self, topic):
        self.client.subscribe(topic, qos=1)
        (reason,) = self.subscribed.get(timeout=TIMEOUT_S)
        assert not reason.is_failure, reason

    def message(self):
        return self.messages.get(timeout=TIMEOUT_S)

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


def life():
    device = Client("device", will="1000")
    device.publish(X, "1", qos=0)
    device.publish(Y, "1", qos=0)
    turn("begun")
    device.publish(X, "2", qos=1)
    device.publish(X, "3", qos=2)
    device.publish(X, "4", qos=1, retain=True)
    turn("published")
    reader = Client("reader")
    reader.subscribe(X)
    message = reader.message()
    reader.end()
    turn("retained", payload=message.payload.decode(), retain=bool(message.retain))
    keeper = Client("keeper", clean=False)
    first = keeper.session_present
    keeper.subscribe(Y)
    keeper.end()
    device.publish(Y, "5", qos=1)
    keeper = Client("keeper", clean=False)
    again, kept = keeper.session_present, keeper.message().payload.decode()
    keeper.end()
    keeper = Client("keeper", clean=True)
    cleaned = keeper.session_present
    keeper.end()
    turn("sessions", first=first, again=again, kept=kept, cleaned=cleaned)


def acknowledged():
    device = Client("device")
    device.publish(Y, "6", qos=1)
    device.publish(X, "6", qos=2)
    device.publish(X, "7", qos=1)
    turn("acknowledged")


{"life": life, "acknowledged": acknowledged}[part]()
