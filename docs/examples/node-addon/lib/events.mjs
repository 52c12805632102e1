// HTML, 9.2 and the WebSockets standard, 6: what a socket's events are made of.

import {toUSVString as replaceSurrogates} from 'node:util';

const toUSVString = (value) => replaceSurrogates(`${value}`);

/**
 * WebIDL: a dictionary is an object, or is missing. Its members are read and
 * converted one by one: those of EventInit first, each in alphabetical order.
 */
function readInit(init, name, conversions) {
  if (init !== undefined && init !== null && Object(init) !== init)
    throw new TypeError(`${name}: not an object`);
  const read = (members) => Object.fromEntries(members.map(
      ([member, otherwise, convert]) => {
        const value = init?.[member];
        return [member, value === undefined ? otherwise : convert(value)];
      }));
  return [read(EVENT_INIT), read(conversions)];
}

const EVENT_INIT = ['bubbles', 'cancelable', 'composed'].map(
    (member) => [member, false, Boolean]);

/** WebIDL: unsigned short, modulo 2^16. */
const toUnsignedShort = (value) => {
  const number = Math.trunc(+value);
  return Number.isFinite(number) ? ((number % 65536) + 65536) % 65536 : 0;
};

/** Attributes are enumerable, the interface's name is its tag. */
export function asInterface(Class, name, members) {
  const enumerable = {enumerable: true};
  for (const member of members)
    Object.defineProperty(Class.prototype, member, enumerable);
  Object.defineProperty(Class.prototype, Symbol.toStringTag, {
    value: name, configurable: true,
  });
}

function requireOne(args, name) {
  if (args.length < 1)
    throw new TypeError(`${name}: 1 argument required, but only 0 present`);
}

function toPort(value) {
  if (!(value instanceof MessagePort))
    throw new TypeError('MessageEvent: not a MessagePort');
  return value;
}

const toPorts = (value) => {
  if (Object(value) !== value)
    throw new TypeError('MessageEvent: ports is no sequence');
  return [...value].map(toPort);
};

const MESSAGE_INIT = [
  ['data', null, (value) => value],
  ['lastEventId', '', (value) => `${value}`],
  ['origin', '', toUSVString],
  ['ports', [], toPorts],
  ['source', null, (value) => value === null ? null : toPort(value)],
];

const CLOSE_INIT = [
  ['code', 0, toUnsignedShort],
  ['reason', '', toUSVString],
  ['wasClean', false, Boolean],
];

let fillMessage;
let fillClose;

export class MessageEvent extends Event {
  #data = null;
  #origin = '';
  #lastEventId = '';
  #source = null;
  #ports = null;

  constructor(type, init = undefined) {
    requireOne(arguments, 'MessageEvent');
    if (init === undefined) {
      super(type);
      return;
    }
    type = `${type}`;
    const [event, own] = readInit(init, 'MessageEventInit', MESSAGE_INIT);
    super(type, event);
    this.#set(own);
  }

  #set({data, lastEventId, origin, ports, source}) {
    this.#data = data;
    this.#lastEventId = lastEventId;
    this.#origin = origin;
    this.#ports = Object.freeze([...ports]);
    this.#source = source;
  }

  get data() { return this.#data; }
  get origin() { return this.#origin; }
  get lastEventId() { return this.#lastEventId; }
  get source() { return this.#source; }
  get ports() { return this.#ports ??= Object.freeze([]); }

  initMessageEvent(type, bubbles = false, cancelable = false, data = null,
                   origin = '', lastEventId = '', source = null, ports = []) {
    if (!(#data in this)) throw new TypeError('Illegal invocation');
    requireOne(arguments, 'initMessageEvent');
    type = `${type}`;
    const own = {
      data,
      origin: toUSVString(origin),
      lastEventId: `${lastEventId}`,
      source: source === null ? null : toPort(source),
      ports: toPorts(ports),
    };
    if (this.eventPhase !== Event.NONE) return; /* it is being dispatched */
    this.initEvent?.(type, Boolean(bubbles), Boolean(cancelable));
    this.#set(own);
  }

  static {
    fillMessage = (event, data, origin) => {
      event.#data = data;
      event.#origin = origin;
      return event;
    };
  }
}
asInterface(MessageEvent, 'MessageEvent', [
  'data', 'origin', 'lastEventId', 'source', 'ports', 'initMessageEvent',
]);

export class CloseEvent extends Event {
  #wasClean = false;
  #code = 0;
  #reason = '';

  constructor(type, init = undefined) {
    requireOne(arguments, 'CloseEvent');
    if (init === undefined) {
      super(type);
      return;
    }
    type = `${type}`;
    const [event, own] = readInit(init, 'CloseEventInit', CLOSE_INIT);
    super(type, event);
    this.#code = own.code;
    this.#reason = own.reason;
    this.#wasClean = own.wasClean;
  }

  get wasClean() { return this.#wasClean; }
  get code() { return this.#code; }
  get reason() { return this.#reason; }

  static {
    fillClose = (event, wasClean, code, reason) => {
      event.#wasClean = wasClean;
      event.#code = code;
      event.#reason = reason;
      return event;
    };
  }
}
asInterface(CloseEvent, 'CloseEvent', ['wasClean', 'code', 'reason']);

/** The events of a socket, without conversions. */
export const messageEvent = (data, origin) =>
  fillMessage(new MessageEvent('message'), data, origin);
export const closeEvent = (wasClean, code, reason) =>
  fillClose(new CloseEvent('close'), wasClean, code, reason);
