// 6, the CloseEvent interface, and HTML's MessageEvent, by WebIDL.

import { CloseEvent, MessageEvent, assert, test } from './helpers.mjs';

const descriptor = Object.getOwnPropertyDescriptor;

const CLASSES = [
  {
    Class: CloseEvent,
    name: 'CloseEvent',
    attributes: ['wasClean', 'code', 'reason'],
    operations: {},
    // WebIDL: the members of a dictionary in the order of their names, those of
    // the dictionary it inherits from before.
    members: [
      'bubbles',
      'cancelable',
      'composed',
      'code',
      'reason',
      'wasClean',
    ],
    defaults: { wasClean: false, code: 0, reason: '' },
  },
  {
    Class: MessageEvent,
    name: 'MessageEvent',
    attributes: ['data', 'origin', 'lastEventId', 'source', 'ports'],
    operations: { initMessageEvent: 1 },
    members: [
      'bubbles',
      'cancelable',
      'composed',
      'data',
      'lastEventId',
      'origin',
      'ports',
      'source',
    ],
    defaults: {
      data: null,
      origin: '',
      lastEventId: '',
      source: null,
      ports: [],
    },
  },
];

for (const { Class, name, ...rest } of CLASSES) {
  test(`WebIDL: ${name}: the interface object`, () => {
    assert.equal(Object.getPrototypeOf(Class), Event);
    assert.equal(Object.getPrototypeOf(Class.prototype), Event.prototype);
    assert.equal(Class.name, name);
    assert.equal(Class.length, 1);
    assert.equal(Class.prototype.constructor, Class);
    assert.equal(descriptor(Class, 'prototype').writable, false);
    assert.deepEqual(descriptor(Class.prototype, Symbol.toStringTag), {
      value: name,
      writable: false,
      enumerable: false,
      configurable: true,
    });
    assert.equal(String(new Class('x')), `[object ${name}]`);
    assert.equal(Class.AT_TARGET, 2);
  });

  test(`WebIDL: ${name}: new is needed, and a type`, () => {
    assert.throws(() => Class('x'), TypeError);
    assert.throws(() => Reflect.apply(Class, {}, ['x']), TypeError);
    assert.throws(() => new Class(), TypeError);
  });

  for (const attribute of rest.attributes)
    test(`WebIDL: ${name}: ${attribute}`, () => {
      const { get, set, enumerable, configurable } =
        descriptor(Class.prototype, attribute);
      assert.equal(set, undefined);
      assert.equal(enumerable, true);
      assert.equal(configurable, true);
      assert.equal(get.name, `get ${attribute}`);
      assert.equal(get.length, 0);
      for (const other of [
        undefined,
        null,
        {},
        new Event('x'),
        Class.prototype,
        Object.create(Class.prototype),
        Object.create(new Class('x')),
      ])
        assert.throws(() => get.call(other), TypeError);
      const event = new Class('x');
      assert.equal(Object.hasOwn(event, attribute), false);
      assert.throws(() => {
        event[attribute] = 1;
      }, TypeError);
    });

  for (const [operation, length] of Object.entries(rest.operations))
    test(`WebIDL: ${name}: ${operation}`, () => {
      const { value, ...flags } = descriptor(Class.prototype, operation);
      assert.deepEqual(flags, {
        writable: true,
        enumerable: true,
        configurable: true,
      });
      assert.equal(value.name, operation);
      assert.equal(value.length, length);
      assert.throws(() => new value('x'), TypeError);
      assert.throws(() => value.call({}, 'x'), TypeError);
      assert.throws(() => value.call(new Event('x'), 'x'), TypeError);
      assert.throws(() => value.call(new Class('x')), TypeError);
    });

  test(`WebIDL: ${name}: what is enumerable`, () => {
    assert.deepEqual(
      Object.keys(Class.prototype).sort(),
      [...rest.attributes, ...Object.keys(rest.operations)].sort(),
    );
  });

  for (const args of [[], [undefined], [null], [{}], [() => {}]])
    test(`WebIDL: ${name}: defaults for ${String(args[0] ?? args)}`, () => {
      const event = new Class('type', ...args);
      for (const [key, value] of Object.entries(rest.defaults))
        assert.deepEqual(event[key], value);
      assert.equal(event.type, 'type');
      assert.equal(event.bubbles, false);
      assert.equal(event.cancelable, false);
      assert.equal(event.composed, false);
      assert.equal(event.isTrusted, false);
      assert.equal(event.target, null);
      assert.equal(event.eventPhase, 0);
    });

  test(`WebIDL: ${name}: members that are undefined`, () => {
    const init = Object.fromEntries(rest.members.map((m) => [m, undefined]));
    const event = new Class('x', init);
    for (const [key, value] of Object.entries(rest.defaults))
      assert.deepEqual(event[key], value);
    assert.equal(event.bubbles, false);
  });

  test(`WebIDL: ${name}: the members of EventInit`, () => {
    const init = { bubbles: true, cancelable: 1, composed: 'x' };
    const event = new Class('x', init);
    assert.equal(event.bubbles, true);
    assert.equal(event.cancelable, true);
    assert.equal(event.composed, true);
    event.preventDefault();
    assert.equal(event.defaultPrevented, true);
    const none = { bubbles: 0, cancelable: '', composed: null };
    const other = new Class('x', none);
    assert.equal(other.bubbles, false);
    assert.equal(other.cancelable, false);
    assert.equal(other.composed, false);
  });

  test(`WebIDL: ${name}: a dictionary is an object: TypeError`, () => {
    for (const value of [1, 'x', true, Symbol('x'), 1n])
      assert.throws(() => new Class('x', value), TypeError);
  });

  test(`WebIDL: ${name}: type is a DOMString`, () => {
    assert.equal(new Class(undefined).type, 'undefined');
    assert.equal(new Class(null).type, 'null');
    assert.equal(new Class({ toString: () => 'x' }).type, 'x');
    // No USVString: a lone surrogate stays.
    assert.equal(new Class('\ud800').type, '\ud800');
    assert.throws(() => new Class(Symbol('x')), TypeError);
  });

  test(`WebIDL: ${name}: the order of the conversions`, () => {
    const order = [];
    const type = {
      toString() {
        order.push('type');
        return 'x';
      },
    };
    const init = {};
    for (const member of rest.members.slice().reverse())
      Object.defineProperty(init, member, {
        get() {
          order.push(member);
          return undefined;
        },
      });
    assert.equal(new Class(type, init).type, 'x');
    assert.deepEqual(order, ['type', ...rest.members]);
  });

  test(`WebIDL: ${name}: each member is read, then converted`, () => {
    const order = [];
    const init = {};
    const member = (key, value) =>
      Object.defineProperty(init, key, {
        get() {
          order.push(key);
          return value;
        },
      });
    const converted = (key, value) => ({
      valueOf() {
        order.push(`${key} converted`);
        return value;
      },
      toString() {
        order.push(`${key} converted`);
        return value;
      },
    });
    for (const key of ['code', 'reason', 'lastEventId', 'origin'])
      member(key, converted(key, '1'));
    member('ports', [].values());
    new Class('x', init);
    assert.deepEqual(
      order,
      rest.members.slice(3).flatMap((key) => {
        if (!Object.hasOwn(init, key)) return [];
        return key === 'ports' ? [key] : [key, `${key} converted`];
      }),
    );
  });

  test(`WebIDL: ${name}: members are inherited, too`, () => {
    const init = Object.create({ bubbles: true, code: 7, origin: 'x' });
    const event = new Class('x', init);
    assert.equal(event.bubbles, true);
    if (Class === CloseEvent) assert.equal(event.code, 7);
    else assert.equal(event.origin, 'x');
  });

  test(`WebIDL: ${name}: a subclass`, () => {
    class Own extends Class {
      get more() {
        return 1;
      }
    }
    const event = new Own('x', { code: 5, data: 5 });
    assert.ok(event instanceof Class);
    assert.ok(event instanceof Event);
    assert.equal(event.more, 1);
    assert.equal(event.code ?? event.data, 5);
  });

  test(`DOM: ${name}: it can be dispatched, once at a time`, () => {
    const target = new EventTarget();
    const event = new Class('x');
    let seen;
    target.addEventListener('x', (got) => {
      seen = got;
      assert.throws(() => target.dispatchEvent(got));
    });
    target.dispatchEvent(event);
    assert.equal(seen, event);
    assert.equal(event.target, target);
  });
}

test('6: CloseEvent: what it was initialised to', () => {
  const init = { wasClean: true, code: 3000, reason: 'é€😀' };
  const event = new CloseEvent('close', init);
  assert.equal(event.wasClean, true);
  assert.equal(event.code, 3000);
  assert.equal(event.reason, 'é€😀');
  init.code = 1;
  assert.equal(event.code, 3000);
});

test('WebIDL: CloseEvent: code is an unsigned short', () => {
  for (const [value, code] of [
    [0, 0],
    [65535, 65535],
    [65536, 0],
    [65536 + 1000, 1000],
    [-1, 65535],
    [-65536, 0],
    [1.9, 1],
    [-1.9, 65535],
    [-0.5, 0],
    [NaN, 0],
    [Infinity, 0],
    [-Infinity, 0],
    [2 ** 32 + 5, 5],
    [2 ** 53 + 2, 2],
    [1e300, 0],
    [null, 0],
    [true, 1],
    ['1000', 1000],
    ['x', 0],
    [[7], 7],
    [{ valueOf: () => 8 }, 8],
  ])
    assert.equal(new CloseEvent('x', { code: value }).code, code);
  assert.ok(Object.is(new CloseEvent('x', { code: -0 }).code, 0));
  for (const value of [1n, Symbol('x'), Object.create(null)])
    assert.throws(() => new CloseEvent('x', { code: value }), TypeError);
});

test('WebIDL: CloseEvent: reason is a USVString', () => {
  for (const [value, reason] of [
    [null, 'null'],
    [1, '1'],
    [{}, '[object Object]'],
    ['\ud800', '\ufffd'],
    ['a\udc00b', 'a\ufffdb'],
    ['\ud83d\ude00', '😀'],
    ['\ufeff\0', '\ufeff\0'],
    ['x'.repeat(1000), 'x'.repeat(1000)],
  ])
    assert.equal(new CloseEvent('x', { reason: value }).reason, reason);
  assert.throws(() => new CloseEvent('x', { reason: Symbol('x') }), TypeError);
});

test('WebIDL: CloseEvent: wasClean is a boolean', () => {
  for (const [value, wasClean] of [
    [null, false],
    [0, false],
    ['', false],
    [NaN, false],
    [0n, false],
    [1, true],
    ['false', true],
    [{}, true],
    [Symbol('x'), true],
  ])
    assert.equal(new CloseEvent('x', { wasClean: value }).wasClean, wasClean);
});

test('HTML: MessageEvent: data is any value', () => {
  for (const data of [null, 0, '', 'x', NaN, 1n, Symbol('x'), {}, () => {}])
    assert.ok(Object.is(new MessageEvent('x', { data }).data, data));
});

test('WebIDL: MessageEvent: origin is a USVString', () => {
  for (const [value, origin] of [
    [null, 'null'],
    [1, '1'],
    ['\ud800', '\ufffd'],
    ['no origin', 'no origin'],
  ])
    assert.equal(new MessageEvent('x', { origin: value }).origin, origin);
  assert.throws(
    () => new MessageEvent('x', { origin: Symbol('x') }),
    TypeError,
  );
});

test('WebIDL: MessageEvent: lastEventId is a DOMString', () => {
  for (const [value, id] of [
    [null, 'null'],
    [1, '1'],
    ['\ud800', '\ud800'],
  ])
    assert.equal(new MessageEvent('x', { lastEventId: value }).lastEventId, id);
  assert.throws(
    () => new MessageEvent('x', { lastEventId: Symbol('x') }),
    TypeError,
  );
});

test('WebIDL: MessageEvent: source is a MessagePort or null', () => {
  const { port1, port2 } = new MessageChannel();
  assert.equal(new MessageEvent('x', { source: port1 }).source, port1);
  assert.equal(new MessageEvent('x', { source: null }).source, null);
  for (const source of [1, 'x', {}, new EventTarget(), [], Symbol('x')])
    assert.throws(() => new MessageEvent('x', { source }), TypeError);
  port1.close();
  port2.close();
});

test('WebIDL: MessageEvent: ports is a sequence of MessagePorts', () => {
  const { port1, port2 } = new MessageChannel();
  const given = [port1, port2];
  const event = new MessageEvent('x', { ports: given });
  // FrozenArray: the same one each time, and not the one that was given.
  assert.equal(event.ports, event.ports);
  assert.notEqual(event.ports, given);
  assert.ok(Array.isArray(event.ports));
  assert.ok(Object.isFrozen(event.ports));
  assert.equal(event.ports.length, 2);
  assert.equal(event.ports[0], port1);
  assert.equal(event.ports[1], port2);
  const empty = new MessageEvent('x');
  assert.equal(empty.ports, empty.ports);
  assert.ok(Object.isFrozen(empty.ports));
  const set = new MessageEvent('x', { ports: new Set([port1]) });
  assert.equal(set.ports[0], port1);
  for (const ports of [null, 1, '', 'x', {}, port1, [1], [{}], [null]])
    assert.throws(() => new MessageEvent('x', { ports }), TypeError);
  port1.close();
  port2.close();
});

// Node 18 has no way to give an event another type.
const skip = !('initEvent' in Event.prototype);

test('HTML: MessageEvent: initMessageEvent()', { skip }, () => {
  const { port1, port2 } = new MessageChannel();
  const event = new MessageEvent('x', { data: 1, origin: 'a' });
  assert.equal(
    event.initMessageEvent('y', true, true, 'd', 'o\ud800', 'id', port1, [
      port2,
    ]),
    undefined,
  );
  assert.equal(event.type, 'y');
  assert.equal(event.bubbles, true);
  assert.equal(event.cancelable, true);
  assert.equal(event.data, 'd');
  assert.equal(event.origin, 'o\ufffd');
  assert.equal(event.lastEventId, 'id');
  assert.equal(event.source, port1);
  assert.equal(event.ports.length, 1);
  assert.equal(event.ports[0], port2);
  event.initMessageEvent('z');
  assert.equal(event.type, 'z');
  assert.equal(event.bubbles, false);
  assert.equal(event.cancelable, false);
  assert.equal(event.data, null);
  assert.equal(event.origin, '');
  assert.equal(event.lastEventId, '');
  assert.equal(event.source, null);
  assert.deepEqual(event.ports, []);
  assert.throws(() => event.initMessageEvent('x', 0, 0, 0, Symbol('x')));
  assert.throws(() => event.initMessageEvent('x', 0, 0, 0, '', '', {}));
  assert.equal(event.type, 'z');
  port1.close();
  port2.close();
});

test('HTML: initMessageEvent() while dispatched', { skip }, () => {
  const target = new EventTarget();
  const event = new MessageEvent('x', { data: 1 });
  target.addEventListener('x', (got) => {
    got.initMessageEvent('y', true, true, 2);
  });
  target.dispatchEvent(event);
  assert.equal(event.type, 'x');
  assert.equal(event.data, 1);
  assert.equal(event.bubbles, false);
  event.initMessageEvent('y', false, false, 2);
  assert.equal(event.type, 'y');
  assert.equal(event.data, 2);
});
