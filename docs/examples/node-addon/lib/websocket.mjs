// The class of the WebSockets standard, section 3: conversions, exceptions and
// events. All else is the native half's.
import diagnostics from 'node:diagnostics_channel';
import {types} from 'node:util';
import {asInterface, closeEvent, messageEvent} from './events.mjs';
import {
  CLOSE, ERROR, Link, MESSAGE, OPEN, UVWS_ESECURITY, UVWS_ESYNTAX, UVWS_ETLS,
  errorOf, native,
} from './native.mjs';
import {baseURL, bundledTls, connectOptions} from './options.mjs';

export {configure} from './options.mjs';

const failures = diagnostics.channel('uvws:websocket:error');
const {addEventListener, removeEventListener, dispatchEvent} =
  EventTarget.prototype;
const STATES = ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'];
const [CONNECTING, STATE_OPEN, CLOSING, CLOSED] = STATES.keys();
const UV_ESHUTDOWN = -108;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Node's EventTarget tells of listeners that come and go by these. */
const hook = (name) => Object.getOwnPropertySymbols(EventTarget.prototype)
    .find((symbol) => symbol.description === name) ?? Symbol(name);
const added = hook('kNewListener');
const removed = hook('kRemoveListener');
const tells = added in EventTarget.prototype;

/** Instead of a URL: a socket that a server has accepted. */
const accepted = Symbol('accepted');

const syntaxError = (message) => new DOMException(message, 'SyntaxError');

/** 3.1, constructor, steps 1 to 8. */
export function parseURL(value) {
  let url;
  try {
    url = new URL(value, baseURL());
  } catch {
    throw syntaxError(`The URL '${value}' is invalid.`);
  }
  if (url.protocol === 'http:') url.protocol = 'ws:';
  if (url.protocol === 'https:') url.protocol = 'wss:';
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:')
    throw syntaxError(`The URL's scheme must be 'ws', 'wss', 'http' or ` +
                      `'https'; '${url.protocol}' is not allowed.`);
  if (url.href.includes('#'))
    throw syntaxError(`The URL '${url.href}' has a fragment.`);
  return url;
}

/** Steps 9 and 10. */
export function checkProtocols(protocols) {
  if (!protocols.every((protocol) => TOKEN.test(protocol)))
    throw syntaxError('A subprotocol is not a token.');
  if (new Set(protocols).size < protocols.length)
    throw syntaxError('A subprotocol is there twice.');
  return protocols;
}

/** WebIDL: (DOMString or sequence<DOMString>). */
function toProtocols(value) {
  const isObject = (typeof value === 'object' && value !== null) ||
    typeof value === 'function';
  const method = isObject ? value[Symbol.iterator] : undefined;
  if (method === undefined || method === null) return [`${value}`];
  if (typeof method !== 'function')
    throw new TypeError('WebSocket: protocols is not iterable');
  /* Not for...of, which closes the iterator where a conversion throws. */
  const iterator = Reflect.apply(method, value, []);
  if (Object(iterator) !== iterator)
    throw new TypeError('WebSocket: protocols has no iterator');
  const {next} = iterator;
  const strings = [];
  for (;;) {
    const result = Reflect.apply(next, iterator, []);
    if (Object(result) !== result)
      throw new TypeError('WebSocket: the iterator has no result');
    if (result.done) return strings;
    strings.push(`${result.value}`);
  }
}

/** WebIDL: [Clamp] unsigned short; halves go to the even one. */
function toClampedShort(value) {
  const number = Math.min(Math.max(+value, 0), 65535);
  if (Number.isNaN(number)) return 0;
  const floor = Math.floor(number);
  const rest = number - floor;
  return floor + Number(rest > 0.5 || (rest === 0.5 && floor % 2 === 1));
}

const getter = (prototype, name) => {
  const get = Object.getOwnPropertyDescriptor(prototype, name)?.get;
  return (object) => get && Reflect.apply(get, object, []);
};
const TypedArray = Object.getPrototypeOf(Uint8Array.prototype);
const bufferOfArray = getter(TypedArray, 'buffer');
const bufferOfDataView = getter(DataView.prototype, 'buffer');
const isResizable = getter(ArrayBuffer.prototype, 'resizable');
const sizeOfBlob = getter(Blob.prototype, 'size');
const {arrayBuffer: bytesOfBlob} = Blob.prototype;

/** What objects are does not depend on what a page has made of them. */
export const bufferOf = (view) => types.isDataView(view) ?
  bufferOfDataView(view) : bufferOfArray(view);

function isBlob(value) {
  if (typeof value !== 'object' || value === null) return false;
  try {
    sizeOfBlob(value);
    return true;
  } catch {
    return false;
  }
}

/** WebIDL: neither shared nor resizable memory. */
export function checkBuffer(buffer) {
  if (types.isSharedArrayBuffer(buffer))
    throw new TypeError('WebSocket: the view is of a SharedArrayBuffer');
  if (isResizable(buffer))
    throw new TypeError('WebSocket: the ArrayBuffer is resizable');
}

/** 3.1, close(), steps 1 and 2. */
export function checkClose(code, reason) {
  if (code !== 1000 && !(code >= 3000 && code <= 4999))
    throw new DOMException(`The close code must be 1000 or from 3000 to ` +
                           `4999; ${code} is neither.`, 'InvalidAccessError');
  if (Buffer.byteLength(reason) > 123)
    throw syntaxError('The close reason is longer than 123 bytes.');
}

/** Without it a server that cannot be reached has a listener's exception. */
export function publishFailure(websocket, code, message) {
  if (failures.hasSubscribers) failures.publish({websocket, code, message});
}

/**
 * Connects a link: 0, or what was wrong at once, to be told later. `own` are
 * native options that users do not have.
 */
export function connect(link, url, protocols, options, own = undefined) {
  const all = {...connectOptions(url, protocols, options), ...own};
  let status = link.attach(native.connect(link, url.href, all));
  if (status === UVWS_ETLS && all.tls === undefined)
    status = link.attach(native.connect(link, url.href,
                                        {...all, tls: bundledTls(options)}));
  if (status === UVWS_ESYNTAX)
    throw syntaxError(`The URL '${url.href}' is invalid.`);
  if (status !== 0 && status !== UVWS_ESECURITY)
    throw errorOf(status, 'connect');
  return status;
}

let acceptSocket;
let closeSocket;

class WebSocket extends EventTarget {
  #link = new Link(this, (ws, event, a, b, c) => ws.#deliver(event, a, b, c));
  #handle = null; // null where there was never a connection
  #state = CONNECTING; // of such a one
  #url = '';
  #origin = '';
  #protocol = '';
  #extensions = '';
  #binaryType = 'blob';
  #handlers = {open: null, message: null, error: null, close: null};
  #listeners = {open: 0, message: 0, error: 0, close: 0};
  #server = null; // that has accepted it
  #queue = null; // what waits behind a Blob that is being read
  #queued = 0; // bytes of that, or that were never accepted
  #closing = null; // close() was called while something waits
  #full = false; // something could not be sent

  constructor(url, protocols = [], options = {}) {
    if (arguments.length < 1)
      throw new TypeError('WebSocket: 1 argument required, but only 0 present');
    super();
    if (Object(new.target.prototype) !== new.target.prototype)
      Object.setPrototypeOf(this, WebSocket.prototype);
    if (url === accepted) return;
    url = `${url}`;
    protocols = toProtocols(protocols);
    const parsed = parseURL(url);
    checkProtocols(protocols);
    this.#url = parsed.href;
    this.#origin = parsed.origin;
    const status = connect(this.#link, parsed, protocols, options ?? {});
    if (status === 0)
      this.#handle = this.#link.handle;
    else
      setImmediate(() => this.#neverConnects(status));
  }

  /** Fetch, "port blocking": what fails a connection fails it in a task. */
  #neverConnects(status) {
    this.#state = CLOSED;
    publishFailure(this, native.errName(status), native.strerror(status));
    setImmediate(() => this.#fire(closeEvent(false, 1006, '')));
    this.#fire(new Event('error'));
  }

  // ---- events ----

  #fire(event) {
    Reflect.apply(dispatchEvent, this, [event]);
  }

  #fireMessage(data) {
    if (tells && this.#listeners.message === 0) return;
    if (typeof data !== 'string' && this.#binaryType === 'blob')
      data = new Blob([data]);
    this.#fire(messageEvent(data, this.#origin));
  }

  /** What a server's listeners throw does not keep events from a socket's. */
  #deliver(event, a, b, c) {
    switch (event) {
      case MESSAGE:
        if (this.#closing !== null) return;
        try {
          this.#server?.deliverMessage(this, a);
        } finally {
          this.#fireMessage(a);
        }
        return;
      case OPEN:
        this.#protocol = a;
        this.#extensions = b;
        this.#hold();
        try {
          this.#server?.deliverOpen(this);
        } finally {
          this.#fire(new Event('open'));
        }
        return;
      case ERROR:
        publishFailure(this, a, b);
        this.#fire(new Event('error'));
        return;
      case CLOSE:
        this.#server?.deliverClose(this);
        if (this.#full) this.#fire(new Event('error'));
        this.#fire(closeEvent(c, a, b));
    }
  }

  /** Standard, "Garbage collection": as long as somebody may hear of events. */
  #hold() {
    if (this.#handle === null) return;
    const {open, message, error, close} = this.#listeners;
    const state = this.readyState;
    /* A server's listeners hear of what comes, too. */
    native.hold(this.#handle, !tells || this.#server !== null ||
      error + close > 0 || (message > 0 && state < CLOSING) ||
      (open > 0 && state === CONNECTING));
  }

  #count(type, size) {
    if (!Object.hasOwn(this.#listeners, type)) return;
    this.#listeners[type] = size;
    this.#hold();
  }

  [added](size, type, ...rest) {
    super[added]?.(size, type, ...rest);
    if (#listeners in this) this.#count(type, size);
  }

  [removed](size, type, ...rest) {
    super[removed]?.(size, type, ...rest);
    if (#listeners in this) this.#count(type, size);
  }

  #setHandler(type, value) {
    const old = this.#handlers[type];
    if ((typeof value !== 'object' || value === null) &&
        typeof value !== 'function') {
      if (old) Reflect.apply(removeEventListener, this, [type, old.listener]);
      this.#handlers[type] = null;
    } else if (old) {
      old.value = value;
    } else {
      const handler = {
        value,
        listener: (event) => {
          if (typeof handler.value === 'function' &&
              Reflect.apply(handler.value, this, [event]) === false)
            event.preventDefault();
        },
      };
      this.#handlers[type] = handler;
      Reflect.apply(addEventListener, this, [type, handler.listener]);
    }
  }

  get onopen() { return this.#handlers.open?.value ?? null; }
  set onopen(value) { this.#setHandler('open', value); }
  get onmessage() { return this.#handlers.message?.value ?? null; }
  set onmessage(value) { this.#setHandler('message', value); }
  get onerror() { return this.#handlers.error?.value ?? null; }
  set onerror(value) { this.#setHandler('error', value); }
  get onclose() { return this.#handlers.close?.value ?? null; }
  set onclose(value) { this.#setHandler('close', value); }

  // ---- attributes ----

  get url() { return this.#url; }
  get protocol() { return this.#protocol; }
  get extensions() { return this.#extensions; }

  get readyState() {
    if (this.#handle === null) return this.#state;
    const state = native.readyState(this.#handle);
    return this.#closing !== null && state < CLOSING ? CLOSING : state;
  }

  get bufferedAmount() {
    return this.#queued +
      (this.#handle === null ? 0 : native.bufferedAmount(this.#handle));
  }

  get binaryType() { return this.#binaryType; }
  set binaryType(value) {
    if (!(#link in this)) throw new TypeError('Illegal invocation');
    value = `${value}`;
    if (value === 'blob' || value === 'arraybuffer') this.#binaryType = value;
  }

  // ---- send() ----

  send(data) {
    if (!(#link in this)) throw new TypeError('Illegal invocation');
    if (arguments.length < 1)
      throw new TypeError('send: 1 argument required, but only 0 present');
    let blob = false;
    if (typeof data !== 'string') {
      if (ArrayBuffer.isView(data))
        checkBuffer(bufferOf(data));
      else if (types.isArrayBuffer(data))
        checkBuffer(data);
      else if (!(blob = isBlob(data)))
        data = `${data}`;
    }
    if (blob || this.#queue !== null || this.#handle === null)
      this.#sendLater(data);
    else
      this.#sendNow(data);
  }

  #sendNow(data) {
    const status = typeof data === 'string' ?
      native.sendText(this.#handle, data) :
      native.sendBinary(this.#handle, data);
    if (status !== 0) this.#refused(status, data);
  }

  /** Step 4, for each type of data: what cannot be sent counts. */
  #refused(status, data) {
    if (native.readyState(this.#handle) === CONNECTING)
      throw new DOMException('The WebSocket is not open yet.',
                             'InvalidStateError');
    if (status === UV_ESHUTDOWN) return;
    this.#queued += sizeOf(data);
    this.#fill();
  }

  /** "Flag the WebSocket as full", and close the connection. */
  #fill() {
    this.#full = this.readyState < CLOSED;
    native.terminate(this.#handle);
  }

  /** Blobs are read first, and whatever follows must not overtake them. */
  #sendLater(data) {
    const state = this.readyState;
    if (state === CONNECTING)
      throw new DOMException('The WebSocket is not open yet.',
                             'InvalidStateError');
    this.#queued += sizeOf(data);
    if (state !== STATE_OPEN) return;
    const bytes = typeof data === 'string' ? data :
      isBuffer(data) ? copyOf(data) : Reflect.apply(bytesOfBlob, data, []);
    if (this.#queue === null) {
      this.#queue = [];
      this.#sendQueue();
    }
    this.#queue.push(bytes);
  }

  async #sendQueue() {
    await null;
    while (this.#queue.length > 0) {
      let data = this.#queue[0];
      try {
        data = await data;
      } catch {
        this.#fill();
        return;
      }
      this.#queue.shift();
      this.#queued -= sizeOf(data);
      this.#sendNow(data);
    }
    this.#queue = null;
    if (this.#closing !== null) native.close(this.#handle, ...this.#closing);
  }

  // ---- close() ----

  close(code = undefined, reason = undefined) {
    if (!(#link in this)) throw new TypeError('Illegal invocation');
    code = code === undefined ? undefined : toClampedShort(code);
    reason = reason === undefined ? '' : `${reason}`;
    checkClose(code ?? 1000, reason);
    if (this.#handle === null)
      this.#state = Math.max(this.#state, CLOSING);
    else if (this.#queue === null)
      native.close(this.#handle, code ?? 0, reason);
    else
      this.#closing ??= [code ?? 0, reason];
    this.#hold();
  }

  // ---- what Node's sockets have besides ----

  ref() {
    if (this.#handle !== null) native.reference(this.#handle, true);
    return this;
  }

  unref() {
    if (this.#handle !== null) native.reference(this.#handle, false);
    return this;
  }

  terminate() {
    if (this.#handle !== null) native.terminate(this.#handle);
  }

  static {
    /**
     * A server's socket: `begin` makes its native half for a link and returns a
     * handle or a status. The server hears of its events first.
     */
    acceptSocket = (server, url, begin) => {
      const ws = new WebSocket(accepted);
      ws.#server = server;
      ws.#url = url;
      ws.#origin = url.split('/', 3).join('/');
      const status = ws.#link.attach(begin(ws.#link));
      if (status !== 0) throw errorOf(status, 'accept');
      ws.#handle = ws.#link.handle;
      native.hold(ws.#handle, true);
      return ws;
    };

    /** With any code, as servers need it. */
    closeSocket = (ws, code) => native.close(ws.#handle, code, '');
  }
}

const isBuffer = (data) => ArrayBuffer.isView(data) ||
  types.isArrayBuffer(data);

const copyOf = (data) => native.copy(data);

const sizeOf = (data) => typeof data === 'string' ? Buffer.byteLength(data) :
  isBuffer(data) ? native.sizeOf(data) : sizeOfBlob(data);

asInterface(WebSocket, 'WebSocket', [
  'url', 'readyState', 'bufferedAmount', 'onopen', 'onerror', 'onclose',
  'extensions', 'protocol', 'close', 'onmessage', 'binaryType', 'send',
]);
for (const name of ['ref', 'unref', 'terminate'])
  Object.defineProperty(WebSocket.prototype, name, {enumerable: false});
for (const [value, name] of STATES.entries())
  for (const object of [WebSocket, WebSocket.prototype])
    Object.defineProperty(object, name, {value, enumerable: true});

export {WebSocket, acceptSocket, closeSocket};
