// A device by MQTT.js (`mqtt` of npm): node mqtt_js.mjs FOLDER HOST PORT VERSION NAME PART. FOLDER has node_modules, VERSION is 3.1.1 or 5.
//
// Says and does what mqtt_paho.py does.

import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [folder, host, port, version, name, part] = process.argv.slice(2);
const mqtt = createRequire(`${folder}/`)('mqtt');
const IS_5 = version === '5';
const TIMEOUT_MS = 30_000;
const SESSION_S = 300;
const [X, Y] = ['coordX', 'coordY'].map((axis) => `devices/${name}/${axis}`);

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const turn = async (event, more = {}) => {
  console.log(JSON.stringify({ event, ...more }));
  if ((await input.next()).done) throw new Error(`the test ended at ${event}`);
};
const within = () => ({ signal: AbortSignal.timeout(TIMEOUT_MS) });

/** One connection, from CONNACK on. */
class Client {
  static async open(suffix, { clean = true, will } = {}) {
    const opened = new Client();
    const properties = IS_5 ? { sessionExpiryInterval: clean ? 0 : SESSION_S } : undefined;
    opened.client = mqtt.connect(`mqtt://${host}:${port}`, {
      protocolVersion: IS_5 ? 5 : 4,
      clientId: `${name}-${suffix}`,
      clean,
      properties,
      will: will && { topic: X, payload: Buffer.from(will), qos: 1, retain: false },
      reconnectPeriod: 0,
    });
    opened.messages = [];
    opened.client.on('message', (_topic, payload, { retain }) => {
      opened.messages.push({ payload: payload.toString(), retain });
      opened.client.emit('kept');
    });
    const [connack] = await once(opened.client, 'connect', within());
    opened.sessionPresent = connack.sessionPresent;
    return opened;
  }

  publish(topic, payload, qos, retain = false) {
    return this.client.publishAsync(topic, payload, { qos, retain });
  }

  subscribe(topic) {
    return this.client.subscribeAsync(topic, { qos: 1 });
  }

  async message() {
    while (this.messages.length === 0) await once(this.client, 'kept', within());
    return this.messages.shift();
  }

  end() {
    return this.client.endAsync();
  }
}

async function life() {
  const device = await Client.open('device', { will: '1000' });
  await device.publish(X, '1', 0);
  await device.publish(Y, '1', 0);
  await turn('begun');
  await device.publish(X, '2', 1);
  await device.publish(X, '3', 2);
  await device.publish(X, '4', 1, true);
  await turn('published');
  const reader = await Client.open('reader');
  await reader.subscribe(X);
  const retained = await reader.message();
  await reader.end();
  await turn('retained', retained);
  let keeper = await Client.open('keeper', { clean: false });
  const first = keeper.sessionPresent;
  await keeper.subscribe(Y);
  await keeper.end();
  await device.publish(Y, '5', 1);
  keeper = await Client.open('keeper', { clean: false });
  const [again, kept] = [keeper.sessionPresent, (await keeper.message()).payload];
  await keeper.end();
  keeper = await Client.open('keeper');
  const cleaned = keeper.sessionPresent;
  await keeper.end();
  await turn('sessions', { first, again, kept, cleaned });
}

async function acknowledged() {
  const device = await Client.open('device');
  await device.publish(Y, '6', 1);
  await device.publish(X, '6', 2);
  await device.publish(X, '7', 1);
  await turn('acknowledged');
}

await { life, acknowledged }[part]();
process.exit();
