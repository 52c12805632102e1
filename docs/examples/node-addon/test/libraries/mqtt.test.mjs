// MQTT.js, with the transport that it has for browsers, and the broker aedes:
// a byte stream over messages, paced by bufferedAmount.

import './page.mjs';
import assert from 'node:assert/strict';
import aedes from 'aedes';
import mqtt from 'mqtt';
import { createWebSocketStream } from 'ws';
import { bulk, Happenings, serve, test } from './page.mjs';

async function serveBroker(t, options) {
  const broker = aedes.createBroker();
  t.after(() => new Promise((resolve) => broker.close(resolve)));
  const peer = await serve(t, options);
  peer.server.on('connection', (socket, request) => {
    const stream = createWebSocketStream(socket);
    stream.on('error', () => {});
    broker.handle(stream, request);
  });
  return Object.assign(peer, { broker });
}

function client(t, url, options = {}) {
  const created = mqtt.connect(url, {
    forceNativeWebSocket: true, reconnectPeriod: 1, ...options,
  });
  t.after(() => created.endAsync(true));
  const heard = {};
  for (const name of ['connect', 'message', 'close', 'error']) {
    heard[name] = new Happenings();
    created.on(name, (...args) => heard[name].push(args));
  }
  return Object.assign(created, { heard });
}

test('publishes and subscribes, with each quality of service', async (t) => {
  const peer = await serveBroker(t);
  const one = client(t, peer.url);
  const two = client(t, `${peer.url}/mqtt`, { clientId: 'zwei' });
  await Promise.all([one.heard.connect.next(), two.heard.connect.next()]);
  assert.ok(one.stream.socket instanceof WebSocket);
  assert.equal(one.stream.socket.protocol, 'mqtt');
  assert.equal(one.stream.socket.binaryType, 'arraybuffer');
  await one.subscribeAsync('a/#', { qos: 2 });
  for (const qos of [0, 1, 2]) {
    await two.publishAsync(`a/${qos}`, `Wert ${qos} °C`, { qos });
    const [topic, payload, packet] = await one.heard.message.next();
    assert.equal(topic, `a/${qos}`);
    assert.equal(String(payload), `Wert ${qos} °C`);
    assert.equal(packet.qos, qos);
  }
});

test('payloads larger than what may be buffered', async (t) => {
  const peer = await serveBroker(t);
  const one = client(t, peer.url, {
    browserBufferSize: 1, browserBufferTimeout: 1,
  });
  await one.heard.connect.next();
  await one.subscribeAsync('bulk', { qos: 1 });
  const sent = [1, 100_000, 1_000_000, 2].map(bulk);
  await Promise.all(sent.map((bytes) =>
    one.publishAsync('bulk', Buffer.from(bytes), { qos: 1 })));
  for (const bytes of sent) {
    const [, payload] = await one.heard.message.next();
    assert.ok(payload.equals(bytes));
  }
});

test('a loss: connects and subscribes again, sends what waited', async (t) => {
  const peer = await serveBroker(t);
  const one = client(t, peer.url);
  await one.heard.connect.next();
  await one.subscribeAsync('topic', { qos: 1 });
  await peer.stop();
  await one.heard.close.next();
  const published = one.publishAsync('waited', 'meanwhile', { qos: 1 });
  await one.heard.close.next(); // one attempt at least, which is refused
  const { broker } = await serveBroker(t, { port: peer.port });
  const waited = new Happenings();
  const subscribed = new Happenings();
  broker.on('publish', (packet) => {
    if (packet.topic === 'waited') waited.push(String(packet.payload));
  });
  broker.on('subscribe', subscribed.push);
  await published;
  assert.equal(await waited.next(), 'meanwhile');
  await subscribed.next();
  await one.publishAsync('topic', 'again', { qos: 1 });
  assert.equal(String((await one.heard.message.next())[1]), 'again');
});

test('a last will where the client goes without a word', async (t) => {
  const peer = await serveBroker(t);
  const one = client(t, peer.url);
  const two = client(t, peer.url, {
    will: { topic: 'will', payload: Buffer.from('gone'), qos: 1 },
    reconnectPeriod: 0,
  });
  await Promise.all([one.heard.connect.next(), two.heard.connect.next()]);
  await one.subscribeAsync('will', { qos: 1 });
  two.stream.destroy();
  assert.equal(String((await one.heard.message.next())[1]), 'gone');
});

test('ends: closes the socket', async (t) => {
  const peer = await serveBroker(t);
  const one = client(t, peer.url);
  await one.heard.connect.next();
  await one.endAsync();
  assert.equal((await peer.ends.next()).code, 1005);
});
