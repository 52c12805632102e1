'use strict';
// permessage-deflate with Chromium, which is always the client and offers all
// there is: servers of ours with and without limits, each behind a tap that
// sees the frames.
const assert = require('assert');
const {createHash, X509Certificate} = require('crypto');
const {once} = require('events');
const fs = require('fs');
const http = require('http');
const https = require('https');
const net = require('net');
const os = require('os');
const path = require('path');
const tls = require('tls');
const {numbers} = require('./deflate-cases');
const {between} = require('./frames');
const ours = require('./ours');

const chromium = process.env.PATH.split(path.delimiter)
    .map((directory) => path.join(directory, 'chromium'))
    .find((file) => fs.existsSync(file)) || ours.skip('no chromium');

const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-chromium-'));
process.on('exit', () => {
  fs.rmSync(profile, {recursive: true, force: true, maxRetries: 5});
});

const secure = ours.scheme === 'wss';
const COUNT = Number(process.env.MESSAGES) ||
    (secure || process.env.LAUNCHER ? 10 : 60);

/** What ours asks for. */
const flags = ['server_no_context_takeover', 'client_no_context_takeover'];
const limits = ['server_max_window_bits', 'client_max_window_bits'];
const shapes = Array.from({length: 16}, (_, i) =>
  [...flags, `${limits[0]}=10`, `${limits[1]}=11`].filter(
      (_, bit) => i >> bit & 1));
const windows = limits.flatMap((limit) =>
  [8, 9, 12, 13, 14, 15].map((bits) => [`${limit}=${bits}`]));
const tested = [...shapes, ...windows];
let taps, browser, sizes;

/** What either side sent is the smaller, the more it could refer to. */
function checkShares() {
  if (COUNT < 60) return; // too little to tell
  for (const [i, from] of ['read', 'written'].entries()) {
    const of = (...parameters) => {
      const index = tested.findIndex((p) => p.join() === parameters.join());
      return 100 * taps[index].seen[from].bytes / sizes[index];
    };
    const none = of(flags[i]);
    assert(of() < none - 0.5, `${of()} % with takeover, ${none} % without`);
    const shares = [9, 12, 13, 14, 15].map(
        (bits) => of(`${limits[i]}=${bits}`));
    assert(shares.every((share, i) => i < 1 || share < shares[i - 1] - 0.1),
           shares.join());
  }
}

/** What the page does; the rest of its text is its server's. */
async function page(urls, wanted, count) {
  const failed = [];
  const exchange = (url, extensions) => new Promise((resolve, reject) => {
    const ws = new WebSocket(url);
    const queue = messages(2, count);
    const due = [];
    let payload = 0;
    const more = () => {
      const {value, done} = queue.next();
      if (!done) {
        due.push(value);
        ws.send(value);
      } else if (due.length === 0) {
        ws.close(1000);
      }
    };
    ws.binaryType = 'arraybuffer';
    ws.onopen = () => {
      if (ws.extensions !== extensions) reject(new Error(ws.extensions));
      for (let i = 0; i < 8; i++) more();
    };
    ws.onmessage = ({data}) => {
      const bytes = typeof data === 'string' ? data : new Uint8Array(data);
      payload += typeof data === 'string' ?
          new TextEncoder().encode(data).length : data.byteLength;
      if (!equal(due.shift(), bytes)) reject(new Error('came back changed'));
      more();
    };
    ws.onclose = ({code}) => {
      if (code === 1000 && due.length === 0) resolve(payload);
      else reject(new Error(`close ${code}, ${due.length} due`));
    };
  });
  const sizes = [];
  for (const [i, url] of urls.entries()) {
    try {
      const extensions = ['permessage-deflate', ...wanted[i]].join('; ');
      sizes.push(await exchange(url, extensions));
    } catch (error) {
      sizes.push(error.stack);
    }
  }
  await fetch('/result', {method: 'POST', body: JSON.stringify(sizes)});
}

/** A server of ours, behind a tap. */
async function start(parameters) {
  const program = new ours.Program('ECHO_SERVER', '--port', 0, '--deflate',
                                   [...parameters, 'threshold=0'].join('; '));
  const {port} = new URL(await program.url());
  const to = {host: '127.0.0.1', port};
  const {createServer} = secure ? tls : net;
  const tap = createServer(ours.tls.server, (socket) => {
    const server = secure ? tls.connect({...ours.tls.client, ...to}) :
                            net.connect(to);
    tap.seen = between(socket, server, numbers(1));
  });
  tap.listen(0, '127.0.0.1');
  await once(tap, 'listening');
  tap.url = `${ours.scheme}://127.0.0.1:${tap.address().port}/`;
  tap.program = program;
  return tap;
}

/** The page's server. */
async function serve(text) {
  const {createServer} = secure ? https : http;
  const server = createServer(ours.tls.server, async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    if (request.method === 'POST') server.emit('result', JSON.parse(body));
    if (request.url === '/deflate-cases.js') {
      response.setHeader('Content-Type', 'text/javascript');
      fs.createReadStream(path.join(__dirname, 'deflate-cases.js'))
          .pipe(response);
    } else {
      response.setHeader('Content-Type', 'text/html; charset=utf-8');
      response.end(request.url === '/' ? text : '');
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** See chromium.js. */
function trusting() {
  if (!secure) return [];
  const {publicKey} = new X509Certificate(ours.tls.server.cert);
  const key = publicKey.export({type: 'spki', format: 'der'});
  const hash = createHash('sha256').update(key).digest('base64');
  return [`--ignore-certificate-errors-spki-list=${hash}`];
}

function browse(url) {
  const child = ours.start(chromium, [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
    '--disable-dev-shm-usage', '--no-first-run', '--no-proxy-server',
    '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--disable-back-forward-cache',
    ...trusting(), '--enable-logging=stderr', `--user-data-dir=${profile}`,
    url,
  ], {detached: true, stdio: ['ignore', 'ignore', 'pipe']});
  child.log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => child.log += text);
  return child;
}

ours.run([
  ['the page', async () => {
    taps = await Promise.all(tested.map((parameters) => start(parameters)));
    const args = [taps.map((tap) => tap.url), tested, COUNT]
        .map((arg) => JSON.stringify(arg));
    const server = await serve(`<script src="/deflate-cases.js"></script>
                                <script>(${page})(${args})</script>`);
    const result = once(server, 'result');
    const scheme = secure ? 'https' : 'http';
    browser = browse(`${scheme}://127.0.0.1:${server.address().port}/`);
    const died = browser.exited.then(() => { throw new Error(browser.log); });
    [sizes] = await Promise.race([result, died]);
    browser.destroy();
    await died.catch(() => {});
  }],
  ...tested.map((parameters, i) => [
    `our server: ${parameters.join(', ') || 'no limits'}`, async () => {
      const size = sizes[i];
      assert.strictEqual(typeof size, 'number', size);
      const {written, read} = taps[i].seen;
      for (const {messages, compressed, bytes} of [written, read]) {
        assert.strictEqual(messages, COUNT);
        assert(compressed > COUNT / 2, `${compressed} compressed`);
        assert(bytes < size, `${bytes} for ${size}`);
      }
      await taps[i].program.end('SIGTERM');
    },
  ]),
  ['how much was sent', checkShares],
]);
