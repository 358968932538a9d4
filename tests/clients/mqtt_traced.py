"""A traced device by `paho-mqtt`, MQTT 5: python mqtt_traced.py HOST PORT NAME [TRACEPARENT...].

Publishes one coordX at QoS 1 for each argument, 1, 2 and so on, with it as the user property `traceparent`; an argument `-` sends none.
"""

import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, name, *parents = sys.argv[1:]
TIMEOUT_S = 30

client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"{name}-traced", protocol=mqtt.MQTTv5)
client.connect(host, int(port))
client.loop_start()
for number, parent in enumerate(parents, 1):
    properties = Properties(PacketTypes.PUBLISH)
    if parent != "-":
        properties.UserProperty = ("traceparent", parent)
    published = client.publish(f"devices/{name}/coordX", str(number), qos=1, properties=properties)
    published.wait_for_publish(TIMEOUT_S)
    assert published.is_published(), parent
client.disconnect()
client.loop_stop()
