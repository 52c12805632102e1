// HTML, 9.2 and the WebSockets standard, 6: what a socket's events are made of.

const toUSVString = (value) => Buffer.from(`${value}`).toString();

/** WebIDL: a dictionary is an object, or is missing. */
function toDictionary(value, name) {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' && typeof value !== 'function')
    throw new TypeError(`${name}: not an object`);
  return value;
}

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
    init = toDictionary(init, 'MessageEventInit');
    super(type, init);
    const {
      data = null, lastEventId = '', origin = '', ports = [], source = null,
    } = init;
    this.#data = data;
    this.#lastEventId = `${lastEventId}`;
    this.#origin = toUSVString(origin);
    this.#ports = Object.freeze([...ports].map((port) => {
      if (!(port instanceof MessagePort))
        throw new TypeError('MessageEventInit.ports: not a MessagePort');
      return port;
    }));
    if (source !== null && !(source instanceof MessagePort))
      throw new TypeError('MessageEventInit.source: not a MessagePort');
    this.#source = source;
  }

  get data() { return this.#data; }
  get origin() { return this.#origin; }
  get lastEventId() { return this.#lastEventId; }
  get source() { return this.#source; }
  get ports() { return this.#ports ??= Object.freeze([]); }

  initMessageEvent(type, bubbles = false, cancelable = false, data = null,
                   origin = '', lastEventId = '', source = null, ports = []) {
    requireOne(arguments, 'initMessageEvent');
    const event = new MessageEvent(type, {
      data, origin, lastEventId, source, ports,
    });
    this.initEvent(type, bubbles, cancelable);
    this.#data = event.#data;
    this.#origin = event.#origin;
    this.#lastEventId = event.#lastEventId;
    this.#source = event.#source;
    this.#ports = event.#ports;
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
    init = toDictionary(init, 'CloseEventInit');
    super(type, init);
    const {code = 0, reason = '', wasClean = false} = init;
    this.#code = toUnsignedShort(code);
    this.#reason = toUSVString(reason);
    this.#wasClean = Boolean(wasClean);
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
