'use strict';
// Chromium, which is always the client: a page runs the cases, and tells its
// server what came of them.
const assert = require('assert');
const {createHash, X509Certificate} = require('crypto');
const {on} = require('events');
const fs = require('fs');
const http = require('http');
const https = require('https');
const net = require('net');
const os = require('os');
const path = require('path');
const tls = require('tls');
const ours = require('./ours');
const {cases, lost} = require('./web-cases');

const chromium = process.env.PATH.split(path.delimiter)
    .map((directory) => path.join(directory, 'chromium'))
    .find((file) => fs.existsSync(file)) || ours.skip('no chromium');

const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-chromium-'));
process.on('exit', () => {
  fs.rmSync(profile, {recursive: true, force: true, maxRetries: 5});
});

const refused = {
  name: 'no subprotocol of those offered',
  target: '/echo',
  protocols: ['a'],
  log: [`open ''`, ...lost],
};
const tested = [...cases.filter((c) => !c.echo), refused];

/** What the page does; the rest of its text is its server's. */
async function page(peer, echo, strict) {
  const failed = [];
  const attempt = async (c, base) => {
    try {
      await runCase(new WebSocket(base + (c.target || '/'), c.protocols || []),
                    c);
    } catch (error) {
      failed.push(`${c.name}: ${error.stack}`);
    }
  };
  const denied = {run: {}, events: [`close 1006 unclean ''`], error: true};
  for (const c of cases) await attempt(c, c.echo ? echo : peer);
  await attempt({...denied, name: 'no subprotocol', target: '/echo',
                 protocols: ['a']}, peer);
  // Another port is another origin; this page's own leads to the same server.
  await attempt({...denied, name: 'another origin'}, strict);
  const own = location.origin.replace('http', 'ws');
  await attempt(cases.find((c) => c.name === 'our ping'), own);
  let bob;
  const lines = [
    ['* alice joined', (ws) => {
      bob = new WebSocket(ws.url.replace('alice', 'bob'), 'chat');
    }],
    ['* bob joined', () => bob.send('\u20ac')],
    ['bob: \u20ac', () => bob.close()],
    ['* bob left', (ws) => ws.close()],
  ];
  await attempt({
    name: 'chat',
    target: '/chat?nick=alice',
    protocols: ['chat'],
    run: {
      message(ws, data, n) {
        check(data === lines[n][0], data);
        lines[n][1](ws);
      },
    },
    events: ['open', ...lines.map(() => 'message'), `close 1005 clean ''`],
  }, own);
  await fetch('/result', {method: 'POST', body: JSON.stringify(failed)});
  location = '/first';
}

/** A page that ends with its socket open: it goes to `next`, if anywhere. */
function leave(peer, next) {
  const ws = new WebSocket(`${peer}/echo`);
  ws.onopen = () => ws.send('x');
  ws.onmessage = async () => {
    await fetch('/result', {method: 'POST', body: '[]'});
    if (next) location = next;
  };
}

const secure = ours.scheme === 'wss';

/** A connection to a server of ours. */
function connect(url) {
  const to = {host: '127.0.0.1', port: new URL(url).port};
  return secure ? tls.connect({...ours.tls.client, ...to}) : net.connect(to);
}

/** A way to `url` that keeps what is answered first. */
async function tap(url) {
  const {createServer} = secure ? tls : net;
  const server = createServer(ours.tls.server, (socket) => {
    const ours = connect(url);
    ours.once('data', (data) => server.answer = String(data));
    ours.pipe(socket).pipe(ours);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.url = `${ours.scheme}://127.0.0.1:${server.address().port}`;
  return server;
}

/** The pages' server. An upgrade it passes on to `strict`, or `chat`, which see
 * it as a browser's of their own origin. */
async function serve(strict, chat, pages) {
  const {createServer} = secure ? https : http;
  const server = createServer(ours.tls.server, async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    if (request.method === 'POST') server.emit('result', JSON.parse(body));
    if (request.url === '/web-cases.js') {
      response.setHeader('Content-Type', 'text/javascript');
      fs.createReadStream(path.join(__dirname, 'web-cases.js')).pipe(response);
    } else {
      response.setHeader('Content-Type', 'text/html; charset=utf-8');
      response.end(pages[request.url] || '');
    }
  });
  server.on('upgrade', ({method, url, rawHeaders}, socket, head) => {
    const ours = connect(url.startsWith('/chat') ? chat : strict);
    const lines = [`${method} ${url} HTTP/1.1`];
    for (let i = 0; i < rawHeaders.length; i += 2)
      lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
    ours.write(`${lines.join('\r\n')}\r\n\r\n`);
    ours.write(head);
    socket.pipe(ours).pipe(socket);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const results = on(server, 'result');
  server.result = async () => (await results.next()).value[0];
  return server;
}

/** The one certificate to trust besides the system's, by its key; whose names
 * then do not matter either. */
function trusting() {
  if (!secure) return [];
  const {publicKey} = new X509Certificate(ours.tls.server.cert);
  const key = publicKey.export({type: 'spki', format: 'der'});
  const hash = createHash('sha256').update(key).digest('base64');
  const version = process.env.UVWS_TLS_VERSION;
  return [
    `--ignore-certificate-errors-spki-list=${hash}`,
    ...version ? [`--ssl-version-min=tls${version}`,
                  `--ssl-version-max=tls${version}`] : [],
  ];
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

let peer, echo, chat, strict, strictTap, server, browser;

ours.run([
  ['start', async () => {
    peer = new ours.Program('PEER', 'server', '--any-origin');
    strict = new ours.Program('PEER', 'server');
    echo = new ours.Program('ECHO_SERVER', '--port', 0, '--max-message',
                            16 << 20);
    chat = new ours.Program('CHAT_SERVER', 0);
    strictTap = await tap(await strict.url());
    const urls = [await peer.url(), await echo.url(), strictTap.url]
        .map((url) => `'${url}'`);
    server = await serve(await strict.url(), await chat.url(), {
      '/': `<script src="/web-cases.js"></script>
            <script>(${page})(${urls})</script>`,
      '/first': `<script>(${leave})(${urls[0]}, '/second')</script>`,
      '/second': `<script>(${leave})(${urls[0]})</script>`,
    });
    const scheme = secure ? 'https' : 'http';
    browser = browse(`${scheme}://127.0.0.1:${server.address().port}/`);
  }],
  ['the page', async () => {
    const died = browser.exited.then(() => { throw new Error(browser.log); });
    const failed = await Promise.race([server.result(), died]);
    assert.deepStrictEqual(failed, []);
  }],
  ...tested.map((c, i) => [
    `our server: ${c.name}`, () => peer.saw(i + 1, c.log),
  ]),
  ['our server: origins', async () => {
    const {log} = tested.find((c) => c.name === 'our ping');
    assert.match(strictTap.answer, /^HTTP\/1.1 403 /);
    await strict.saw(1, log);
    assert(!strict.lines.some((line) => line.startsWith('2 ')));
  }],
  ['our server: a page that goes', async () => {
    await server.result();
    await peer.saw(tested.length + 1,
                   [`open ''`, 'text 1', `close 1001 clean 0 ''`]);
  }],
  ['our server: Chromium killed', async () => {
    await server.result();
    browser.destroy();
    await browser.exited;
    await peer.saw(tested.length + 2, [`open ''`, 'text 1', ...lost]);
  }],
  ['stop', async () => {
    for (const program of [peer, strict, echo, chat])
      await program.end('SIGTERM');
  }],
]);
