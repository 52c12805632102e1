// A server: one that listens by itself, or one that takes over connections of
// Node's own http server.
import {EventEmitter} from 'node:events';
import {lookup} from 'node:dns';
import {STATUS_CODES} from 'node:http';
import {Socket, isIP} from 'node:net';
import {Server as TlsServer} from 'node:tls';
import {
  Link, REQUEST, SERVER_CLOSE, SERVER_ERROR, errorOf, native,
} from './native.mjs';
import {deflateOf, headerLines, serverTls} from './options.mjs';
import {acceptSocket, closeSocket} from './websocket.mjs';

const INSIDE_TLS = 'What is inside Node\'s TLS cannot be taken over: give ' +
  'WebSocketServer a port, cert and key';
const CLOSE_DEADLINE = 10000;
const GOING_AWAY = 1001;
const NO_IPV6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

/** What an upgrade request was, in the manner of Node's http. */
function requestOf(target, rawHeaders, remoteAddress, remotePort) {
  const headers = Object.create(null);
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i].toLowerCase();
    const value = rawHeaders[i + 1];
    const glue = name === 'cookie' ? '; ' : ', ';
    headers[name] = name in headers ? headers[name] + glue + value : value;
  }
  return {
    method: 'GET', url: target, httpVersion: '1.1', headers, rawHeaders,
    socket: {remoteAddress, remotePort},
  };
}

function toPort(value) {
  const port = Number(value);
  if (Number.isInteger(port) && port >= 0 && port <= 65535) return port;
  throw new RangeError(`The port must be from 0 to 65535; ${value} is not.`);
}

const offered = (request) =>
  new Set((request.headers['sec-websocket-protocol'] ?? '').split(',')
      .map((protocol) => protocol.trim()).filter(Boolean));

function statusOf(verdict) {
  if (typeof verdict !== 'number') return verdict ? 0 : 401;
  if (verdict >= 200 && verdict <= 599) return Math.trunc(verdict);
  throw new RangeError(`verifyClient: ${verdict} is no status of a refusal`);
}

/** Who is refused and does not leave must not keep the connection. */
function refuse(socket, status) {
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n` +
             'Connection: close\r\nContent-Length: 0\r\n\r\n');
}

export class WebSocketServer extends EventEmitter {
  #options;
  #link = new Link(this, (server, event, ...rest) =>
    server.#deliver(event, ...rest));
  #handle = null; // of a server that listens by itself
  #http = null; // that it listens to
  #closing = false;
  #closed = false;
  #opening = new Set(); // sockets taken over whose handshake is under way
  #requests = new WeakMap(); // of sockets that are not open yet
  #callbacks = new WeakMap();
  clients = new Set();

  constructor(options = {}) {
    super();
    const {port, host, server, noServer} = options;
    const ways = [port !== undefined, server !== undefined, Boolean(noServer)];
    if (ways.filter(Boolean).length !== 1)
      throw new TypeError('One of port, server and noServer is needed');
    this.#options = {
      maxPayload: 16 * 1024 * 1024, backlog: 511, anyOrigin: false, ...options,
    };
    if (server instanceof TlsServer)
      throw new TypeError(INSIDE_TLS);
    if (server !== undefined)
      this.#listenTo(server);
    else if (port !== undefined)
      this.#listen(host, toPort(port));
  }

  // ---- one's own ----

  #listen(host, port) {
    const options = this.#options;
    const status = this.#link.attach(native.serve(this.#link, {
      maxMessage: options.maxPayload,
      maxMemory: options.maxMemory,
      anyOrigin: Boolean(options.anyOrigin),
      deflate: deflateOf(options.perMessageDeflate),
      tls: serverTls(options),
    }));
    if (status !== 0) throw errorOf(status, 'listen');
    this.#handle = this.#link.handle;
    const bind = (addresses) => {
      if (this.#closing) return;
      let status;
      for (const address of addresses) {
        status = native.listen(this.#handle, address, port, options.backlog);
        if (!NO_IPV6.has(native.errName(status))) break;
      }
      process.nextTick(() => {
        if (this.#closing) return;
        if (status === 0)
          this.emit('listening');
        else
          this.emit('error', errorOf(status, 'listen'));
      });
    };
    if (host === undefined || host === '')
      bind(['::', '0.0.0.0']);
    else if (isIP(host))
      bind([host]);
    else
      lookup(host, (error, address) => {
        if (error && !this.#closing) this.emit('error', error);
        if (!error) bind([address]);
      });
  }

  #deliver(event, a, b, c, d, e) {
    switch (event) {
      case REQUEST:
        this.#decide(a, requestOf(b, c, d, e));
        return;
      case SERVER_ERROR:
        this.emit('error', errorOf(a, 'accept'));
        return;
      case SERVER_CLOSE:
        this.#end();
    }
  }

  /** The HTTP status of a refusal, or 0; or a promise of it. */
  #check(request) {
    const {path, verifyClient} = this.#options;
    if (path !== undefined && request.url.split('?')[0] !== path) return 404;
    if (verifyClient === undefined) return 0;
    const verdict = verifyClient(request);
    return typeof verdict?.then === 'function' ?
      Promise.resolve(verdict).then(statusOf) : statusOf(verdict);
  }

  #choose(request) {
    const protocols = offered(request);
    const {handleProtocols} = this.#options;
    if (protocols.size === 0) return undefined;
    if (handleProtocols === undefined) return [...protocols][0];
    return handleProtocols(protocols, request) || undefined;
  }

  async #decide(handle, request) {
    let status = 500;
    try {
      status = await this.#check(request);
      if (status === 0) {
        const ws = acceptSocket(this, this.#urlOf(request), (link) =>
          native.accept(handle, link, {
            protocol: this.#choose(request),
            headers: this.#headersFor(request),
          }));
        this.#requests.set(ws, request);
        return;
      }
    } catch (error) {
      native.reject(handle, 500);
      if (error.code !== 'ECANCELED') this.emit('error', error);
      return;
    }
    native.reject(handle, status);
  }

  #urlOf(request) {
    const secure = this.#options.cert !== undefined;
    return `${secure ? 'wss' : 'ws'}://${request.headers.host}${request.url}`;
  }

  /** A listener of `headers` may add lines, as with `ws`. */
  #headersFor(request) {
    if (this.listenerCount('headers') === 0) return [];
    const lines = [];
    this.emit('headers', lines, request);
    return headerLines(lines.map((line) => {
      const at = line.indexOf(':');
      if (at < 1) throw new TypeError(`headers: '${line}' is no line`);
      return [line.slice(0, at), line.slice(at + 1).trim()];
    }));
  }

  // ---- Node's http server ----

  #listenTo(server) {
    this.#http = {
      server,
      listening: () => this.emit('listening'),
      error: (error) => this.emit('error', error),
      upgrade: (request, socket, head) =>
        this.handleUpgrade(request, socket, head),
    };
    for (const event of ['listening', 'error', 'upgrade'])
      server.on(event, this.#http[event]);
  }

  /**
   * Takes over a connection of Node's: its http server has read the request,
   * and is told no more about it. The head is written once again as it was, for
   * the library checks and answers it. Not one inside Node's TLS, whose keys
   * are not to be had.
   */
  handleUpgrade(request, socket, head, callback = undefined) {
    if (socket?.encrypted) throw new TypeError(INSIDE_TLS);
    if (!(socket instanceof Socket))
      throw new TypeError('No socket of node:net');
    /* Node's http server has left it without a listener: one that is reset
     * while its request is undecided, or refused, is just gone. */
    socket.on('error', () => {});
    const fail = (error) => {
      refuse(socket, 500);
      this.emit('error', error);
    };
    const decide = (status) => {
      if (this.#closing)
        socket.destroy();
      else if (status !== 0)
        refuse(socket, status);
      else
        this.#takeOver(request, socket, head, callback);
    };
    try {
      const status = this.#closing ? 0 : this.#check(request);
      if (typeof status === 'number')
        decide(status);
      else
        status.then(decide).catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  #takeOver(request, socket, head, callback) {
    const fd = socket._handle?.fd;
    if (!(fd >= 0)) return; // it is gone
    const protocol = this.#choose(request);
    socket._handle.readStop();
    /* Asked for once they stay known, as `request.socket` may be asked later. */
    void [socket.remoteAddress, socket.localAddress];
    const {method, url, httpVersion} = request;
    const lines = [`${method} ${url} HTTP/${httpVersion}`];
    for (let i = 0; i < request.rawHeaders.length; i += 2)
      lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    const rest = socket.read();
    const bytes = Buffer.concat([
      Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head,
      ...(rest === null ? [] : [rest]),
    ]);
    try {
      const ws = acceptSocket(this, this.#urlOf(request), (link) =>
        native.adopt(link, fd, bytes, {
          protocols: protocol === undefined ? [] : [protocol],
          headers: this.#headersFor(request),
          maxMessage: this.#options.maxPayload,
          anyOrigin: Boolean(this.#options.anyOrigin),
          deflate: deflateOf(this.#options.perMessageDeflate),
        }));
      this.#requests.set(ws, request);
      this.#opening.add(ws);
      if (callback !== undefined) this.#callbacks.set(ws, callback);
    } finally {
      socket.destroy();
    }
  }

  // ---- its sockets ----

  /** @private: a socket is open. */
  deliverOpen(ws) {
    const request = this.#requests.get(ws);
    const callback = this.#callbacks.get(ws);
    this.clients.add(ws);
    this.#opening.delete(ws);
    if (callback !== undefined)
      callback(ws, request);
    else
      this.emit('connection', ws, request);
  }

  /** @private */
  deliverMessage(ws, data) {
    this.emit('message', ws, data, typeof data !== 'string');
  }

  /** @private */
  deliverClose(ws) {
    this.clients.delete(ws);
    this.#opening.delete(ws);
    if (this.#closing && this.#handle === null) this.#endIfLast();
  }

  #endIfLast() {
    if (this.clients.size + this.#opening.size === 0)
      process.nextTick(() => this.#end());
  }

  #end() {
    this.#closed = true;
    this.emit('close');
  }

  // ---- the rest ----

  /** As net.Server's. */
  address() {
    if (this.#http !== null) return this.#http.server.address();
    if (this.#handle === null) return null;
    const result = native.serverAddress(this.#handle);
    if (typeof result === 'number') return null;
    const [address, port] = result;
    return {address, family: `IPv${isIP(address)}`, port};
  }

  /** Listens no more, ends the sockets with 1001, then there is `close`. */
  close(callback = undefined) {
    if (this.#closed) {
      const error = Object.assign(new Error('The server is not running'),
                                  {code: 'ERR_SERVER_NOT_RUNNING'});
      if (callback !== undefined) process.nextTick(callback, error);
      return;
    }
    if (callback !== undefined) this.once('close', callback);
    if (this.#closing) return;
    this.#closing = true;
    if (this.#http !== null)
      for (const event of ['listening', 'error', 'upgrade'])
        this.#http.server.off(event, this.#http[event]);
    if (this.#handle !== null) {
      native.serverClose(this.#handle, CLOSE_DEADLINE);
      return;
    }
    for (const ws of [...this.clients, ...this.#opening])
      closeSocket(ws, GOING_AWAY);
    this.#endIfLast();
  }

  ref() {
    if (this.#handle !== null) native.serverReference(this.#handle, true);
    return this;
  }

  unref() {
    if (this.#handle !== null) native.serverReference(this.#handle, false);
    return this;
  }
}
