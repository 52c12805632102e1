// The shape of the class: what WebIDL's JavaScript binding makes of the
// interface definition in section 3.1.

import { once } from 'node:events';
import { inspect } from 'node:util';
import {
  WebSocket,
  assert,
  closed,
  connecting,
  pair,
  serve,
  test,
} from './helpers.mjs';

const CONSTANTS = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 };
const READ_ONLY = [
  'url',
  'readyState',
  'bufferedAmount',
  'extensions',
  'protocol',
];
const WRITABLE = ['onopen', 'onerror', 'onclose', 'onmessage', 'binaryType'];
const ATTRIBUTES = [...READ_ONLY, ...WRITABLE];
const OPERATIONS = { close: 0, send: 1 };

const descriptor = Object.getOwnPropertyDescriptor;

// Objects that are no WebSocket, however much some of them look like one.
async function strangers(t) {
  const { ws } = await connecting(t);
  return [
    undefined,
    null,
    1,
    'x',
    {},
    () => {},
    new EventTarget(),
    WebSocket,
    WebSocket.prototype,
    Object.create(WebSocket.prototype),
    Object.create(ws),
    new Proxy(ws, {}),
  ];
}

test('WebIDL, interface object: name, length, prototype', () => {
  assert.equal(typeof WebSocket, 'function');
  assert.deepEqual(descriptor(WebSocket, 'name'), {
    value: 'WebSocket',
    writable: false,
    enumerable: false,
    configurable: true,
  });
  // protocols is optional.
  assert.deepEqual(descriptor(WebSocket, 'length'), {
    value: 1,
    writable: false,
    enumerable: false,
    configurable: true,
  });
  const { writable, enumerable, configurable } =
    descriptor(WebSocket, 'prototype');
  assert.deepEqual(
    { writable, enumerable, configurable },
    { writable: false, enumerable: false, configurable: false },
  );
});

test('3.1 interface definition: WebSocket inherits from EventTarget', () => {
  assert.equal(Object.getPrototypeOf(WebSocket), EventTarget);
  assert.equal(
    Object.getPrototypeOf(WebSocket.prototype),
    EventTarget.prototype,
  );
});

test('WebIDL, interface prototype object: constructor', () => {
  assert.deepEqual(descriptor(WebSocket.prototype, 'constructor'), {
    value: WebSocket,
    writable: true,
    enumerable: false,
    configurable: true,
  });
});

test('WebIDL, interface prototype object: toStringTag', async (t) => {
  assert.deepEqual(descriptor(WebSocket.prototype, Symbol.toStringTag), {
    value: 'WebSocket',
    writable: false,
    enumerable: false,
    configurable: true,
  });
  const { ws } = await connecting(t);
  assert.equal(Object.prototype.toString.call(ws), '[object WebSocket]');
  assert.equal(String(ws), '[object WebSocket]');
});

for (const [name, value] of Object.entries(CONSTANTS))
  test(`WebIDL, constants: ${name} on the class and its prototype`, () => {
    for (const object of [WebSocket, WebSocket.prototype])
      assert.deepEqual(descriptor(object, name), {
        value,
        writable: false,
        enumerable: true,
        configurable: false,
      });
  });

test('WebIDL, constants: of an instance, not writable', async (t) => {
  const { ws } = await connecting(t);
  for (const [name, value] of Object.entries(CONSTANTS)) {
    assert.equal(ws[name], value);
    assert.throws(() => {
      ws[name] = 9;
    }, TypeError);
    assert.throws(() => {
      WebSocket[name] = 9;
    }, TypeError);
    assert.throws(() => {
      delete WebSocket[name];
    }, TypeError);
    assert.equal(WebSocket[name], value);
  }
});

for (const name of ATTRIBUTES)
  test(`WebIDL, attributes: ${name} is an accessor of the prototype`, () => {
    const found = descriptor(WebSocket.prototype, name);
    assert.equal(found.enumerable, true);
    assert.equal(found.configurable, true);
    assert.equal(found.get.name, `get ${name}`);
    assert.equal(found.get.length, 0);
    assert.equal(Object.hasOwn(found.get, 'prototype'), false);
    if (READ_ONLY.includes(name)) {
      assert.equal(found.set, undefined);
    } else {
      assert.equal(found.set.name, `set ${name}`);
      assert.equal(found.set.length, 1);
      assert.equal(Object.hasOwn(found.set, 'prototype'), false);
    }
  });

for (const name of READ_ONLY)
  test(`WebIDL, attributes: ${name} is read only`, async (t) => {
    const { ws } = await connecting(t);
    const value = ws[name];
    assert.throws(() => {
      ws[name] = 'other';
    }, TypeError);
    // Code that is not strict does not notice.
    new Function('ws', `ws[${JSON.stringify(name)}] = 'other'`)(ws);
    assert.equal(ws[name], value);
  });

for (const [name, length] of Object.entries(OPERATIONS))
  test(`WebIDL, operations: ${name} is a method of the prototype`, () => {
    const { value, ...flags } = descriptor(WebSocket.prototype, name);
    assert.deepEqual(flags, {
      writable: true,
      enumerable: true,
      configurable: true,
    });
    assert.equal(typeof value, 'function');
    assert.equal(value.name, name);
    assert.equal(value.length, length);
    assert.equal(Object.hasOwn(value, 'prototype'), false);
    assert.throws(() => new value(), TypeError);
  });

test('WebIDL: what is enumerable is what the interface defines', () => {
  // The package's own additions (ref, unref, terminate) are not.
  assert.deepEqual(
    Object.keys(WebSocket).sort(),
    Object.keys(CONSTANTS).sort(),
  );
  assert.deepEqual(
    Object.keys(WebSocket.prototype).sort(),
    [
      ...Object.keys(CONSTANTS),
      ...ATTRIBUTES,
      ...Object.keys(OPERATIONS),
    ].sort(),
  );
});

test('WebIDL: a socket has no properties of its own', async (t) => {
  const { ws } = await connecting(t);
  assert.deepEqual(Object.getOwnPropertyNames(ws), []);
  assert.deepEqual(Object.keys(ws), []);
  ws.onopen = () => {};
  ws.binaryType = 'arraybuffer';
  assert.deepEqual(Object.getOwnPropertyNames(ws), []);
});

test('WebIDL: for-in goes over what is enumerable', async (t) => {
  const { ws } = await connecting(t);
  const names = [];
  for (const name in ws) names.push(name);
  for (const name of [...ATTRIBUTES, 'close', 'send', 'CLOSED'])
    assert.ok(names.includes(name), name);
});

for (const name of ATTRIBUTES)
  test(`WebIDL, attribute getter: ${name} of a stranger`, async (t) => {
    const { get } = descriptor(WebSocket.prototype, name);
    for (const other of await strangers(t))
      assert.throws(() => get.call(other), TypeError);
    assert.throws(() => WebSocket.prototype[name], TypeError);
  });

for (const name of WRITABLE)
  test(`WebIDL, attribute setter: ${name} of a stranger`, async (t) => {
    const { set } = descriptor(WebSocket.prototype, name);
    for (const other of await strangers(t))
      for (const value of [null, 'blob', () => {}])
        assert.throws(() => set.call(other, value), TypeError);
  });

test('WebIDL, attribute setter: no argument is undefined', async (t) => {
  const { ws } = await connecting(t);
  for (const name of WRITABLE) {
    const { get, set } = descriptor(WebSocket.prototype, name);
    set.call(ws, name === 'binaryType' ? 'arraybuffer' : () => {});
    assert.equal(set.call(ws), undefined);
    assert.equal(get.call(ws), name === 'binaryType' ? 'arraybuffer' : null);
  }
});

test('WebIDL, operations: of a stranger: TypeError', async (t) => {
  for (const other of await strangers(t)) {
    assert.throws(() => WebSocket.prototype.close.call(other), TypeError);
    assert.throws(() => WebSocket.prototype.send.call(other, 'x'), TypeError);
  }
});

test('WebIDL, operations: the object is checked before the arguments', () => {
  // An argument's conversion would throw something else.
  const argument = {
    valueOf() {
      throw new RangeError('converted');
    },
    toString() {
      throw new RangeError('converted');
    },
  };
  assert.throws(() => WebSocket.prototype.close.call({}, argument), TypeError);
  assert.throws(() => WebSocket.prototype.send.call({}, argument), TypeError);
  const { set } = descriptor(WebSocket.prototype, 'binaryType');
  assert.throws(() => set.call({}, argument), TypeError);
});

test('WebIDL, operations: they return undefined', async (t) => {
  const { ws, peer } = await pair(t);
  assert.equal(ws.send('x'), undefined);
  assert.equal(ws.send(new Blob(['x'])), undefined);
  assert.equal(ws.close(), undefined);
  assert.equal(ws.close(), undefined);
  await peer.finish();
});

test('WebIDL, operations: send() alone: TypeError', async (t) => {
  // Whatever the state: the argument count is looked at first.
  const { ws } = await connecting(t);
  assert.throws(() => ws.send(), TypeError);
  const opened = await pair(t);
  assert.throws(() => opened.ws.send(), TypeError);
  assert.equal(opened.ws.bufferedAmount, 0);
  const over = await closed(t);
  assert.throws(() => over.ws.send(), TypeError);
  assert.equal(over.ws.bufferedAmount, 0);
});

test('WebIDL, interface object: without new: TypeError', async (t) => {
  const server = await serve(t);
  assert.throws(() => WebSocket(server.url()), TypeError);
  assert.throws(() => WebSocket.call({}, server.url()), TypeError);
  assert.throws(() => Reflect.apply(WebSocket, {}, [server.url()]), TypeError);
});

test('WebIDL, interface object: without arguments: TypeError', () => {
  assert.throws(() => new WebSocket(), TypeError);
});

test('WebIDL, interface object: a subclass', async (t) => {
  const server = await serve(t);
  class Chat extends WebSocket {
    constructor(port) {
      super(server.url('/chat'), ['chat']);
      this.port = port;
    }

    get url() {
      return `chat: ${super.url}`;
    }
  }
  const ws = new Chat(7);
  const opened = new Promise((resolve) => {
    ws.onopen = resolve;
  });
  assert.ok(ws instanceof Chat);
  assert.ok(ws instanceof WebSocket);
  assert.equal(Object.getPrototypeOf(ws), Chat.prototype);
  assert.equal(ws.url, `chat: ${server.url('/chat')}`);
  assert.equal(Chat.OPEN, 1);
  await server.shaken({ protocol: 'chat' });
  assert.equal((await opened).target, ws);
});

test('WebIDL, interface object: the prototype of new.target', async (t) => {
  const server = await serve(t);
  function Other() {}
  Other.prototype = Object.create(WebSocket.prototype);
  const ws = Reflect.construct(WebSocket, [server.url()], Other);
  assert.equal(Object.getPrototypeOf(ws), Other.prototype);
  assert.equal(ws.readyState, 0);
});

test('WebIDL, interface object: new.target without one', async (t) => {
  // "Internally create a new object implementing the interface": where there is
  // no object under "prototype", the interface's own is taken.
  const server = await serve(t);
  const other = function () {}.bind();
  const ws = Reflect.construct(WebSocket, [server.url()], other);
  assert.equal(Object.getPrototypeOf(ws), WebSocket.prototype);
});

test('DOM: a socket is an EventTarget like others', async (t) => {
  const { ws } = await connecting(t);
  assert.ok(ws instanceof EventTarget);
  const seen = [];
  ws.addEventListener('anything', (event) => seen.push(event));
  const event = new Event('anything');
  assert.equal(ws.dispatchEvent(event), true);
  assert.deepEqual(seen, [event]);
  assert.equal(event.target, ws);
});

test('Node: once(), and inspect()', async (t) => {
  const server = await serve(t);
  const ws = new WebSocket(server.url());
  assert.equal(typeof inspect(ws), 'string');
  assert.equal(typeof inspect(WebSocket), 'string');
  assert.equal(typeof inspect(WebSocket.prototype), 'string');
  const opened = once(ws, 'open');
  const peer = await server.shaken();
  const [event] = await opened;
  assert.equal(event.target, ws);
  assert.equal(typeof inspect(event), 'string');
  const gone = once(ws, 'close');
  await peer.leave(1000);
  assert.equal((await gone)[0].code, 1000);
});
