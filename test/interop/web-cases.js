'use strict';
// Cases for whatever has the web's WebSocket interface: a browser, and Node's
// ws, whose sockets have it in the server's role too. `run` is what happens at
// the other end of one of our sockets, `events` what it must come to there,
// and `log` what ours must have seen meanwhile (see peer.c).

const MiB = 1 << 20;

/** `size` bytes of which no stretch looks like another. */
function bytes(size) {
  const array = new Uint8Array(size);
  for (let i = 0; i < size; i++)
    array[i] = i * 31 + (i >> 8) * 17 + (i >> 16) * 7;
  return array;
}

/** Text of `size` bytes, with characters of all lengths. */
function text(size) {
  const unit = '\u20ac\u{1f600}\u00e9\u0000'; // 10 bytes
  return unit.repeat(size / 10) + 'x'.repeat(size % 10);
}

const sizes = [0, 1, 125, 126, 65535, 65536, 16 * MiB];
const payloads = [...sizes.map(text), ...sizes.map(bytes)];

function same(a, b) {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  a = new Uint8Array(a);
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

const check = (truth, what) => {
  if (!truth) throw new Error(what);
};

const lost = [/^error \S+ /, /^close 1006 unclean (?!0)\S+ ''$/];
const longest = '\u20ac'.repeat(41); // 123 bytes
const quoted = encodeURIComponent;

/** They close with `args`, which makes `code`; our answer repeats the code. */
const theyClose = (code, ...args) => ({
  name: `they close ${args.join(' ').slice(0, 20)}`,
  target: '/echo',
  run: {open: (ws) => ws.close(...args)},
  events: ['open', `close ${code} clean ''`],
  log: [`open ''`, `close ${code} clean 0 '${args[1] || ''}'`],
});

/** We close with `code`; they hear `heard`, and answer with it. */
const weClose = (code, reason, heard = code) => ({
  name: `we close ${code}`,
  target: `/close?code=${code}&reason=${quoted(reason)}`,
  run: {},
  events: ['open', `close ${heard} clean '${reason}'`],
  log: [`open ''`, new RegExp(`^close ${heard} clean 0 `)],
});

const cases = [
  {
    name: 'data',
    echo: true, // of the echo examples
    run: {
      open: (ws) => payloads.forEach((payload) => ws.send(payload)),
      message(ws, data, n) {
        check(same(data, payloads[n]), `message ${n} came back changed`);
        if (n + 1 === payloads.length) ws.close(1000);
      },
    },
    events: ['open', ...payloads.map(() => 'message'), `close 1000 clean ''`],
  },
  theyClose(1005),
  theyClose(1000, 1000),
  theyClose(1000, 1000, 'bye'),
  theyClose(4999, 4999, longest),
  theyClose(3000, 3000, '\u{1f600}'),
  weClose(0, '', 1005),
  weClose(1000, 'bye'),
  weClose(1001, ''),
  weClose(1011, 'oops'),
  weClose(4999, longest),
  {
    name: 'both close',
    target: '/close?code=4001',
    run: {open: (ws) => ws.close(4002)},
    events: ['open', `close 4001 clean ''`],
    log: [`open ''`, /^close 400[12] clean 0 ''$/],
  },
  {
    name: 'a subprotocol',
    target: '/echo?protocol=b.2',
    protocols: ['a', 'b.2', 'c'],
    run: {
      open(ws) {
        check(ws.protocol === 'b.2', `protocol ${ws.protocol}`);
        ws.close();
      },
    },
    events: ['open', `close 1005 clean ''`],
    log: [`open 'b.2'`, `close 1005 clean 0 ''`],
  },
  {
    name: 'no subprotocol',
    target: '/echo',
    run: {
      open(ws) {
        check(ws.protocol === '', `protocol ${ws.protocol}`);
        ws.close();
      },
    },
    events: ['open', `close 1005 clean ''`],
    log: [`open ''`, `close 1005 clean 0 ''`],
  },
  {
    name: 'our ping',
    target: '/ping',
    run: {
      open: (ws) => ws.send('x'),
      message: (ws, data) => {
        check(data === 'x', 'the echo');
        ws.close();
      },
    },
    events: ['open', 'message', `close 1005 clean ''`],
    log: [
      `open ''`, 'text 1', /^pong \[0083.*74\] answers$/,
      `close 1005 clean 0 ''`,
    ],
  },
  {
    name: 'we terminate',
    target: '/abort',
    run: {open: (ws) => ws.send('x')},
    events: ['open', `close 1006 unclean ''`],
    log: [`open ''`, 'text 1', `close 1006 unclean ECANCELED ''`],
  },
  {
    name: 'bufferedAmount',
    native: true, // not as the standard has it in ws
    target: '/echo',
    run: {
      open(ws) {
        check(ws.bufferedAmount === 0, 'at first');
        ws.send('\u20ac');
        ws.send(bytes(MiB / 2));
        check(ws.bufferedAmount === 3 + MiB / 2, 'after two messages');
      },
      message(ws, data, n) {
        if (n === 0) return;
        check(same(data, bytes(MiB / 2)), 'the echo');
        const close = () => {
          if (ws.bufferedAmount > 0) return setTimeout(close);
          ws.close();
          ws.send('12345');
        };
        close();
      },
      close: (ws) => check(ws.bufferedAmount === 5, 'after the close'),
    },
    events: ['open', 'message', 'message', `close 1005 clean ''`],
    log: [`open ''`, 'text 3', `binary ${MiB / 2}`, `close 1005 clean 0 ''`],
  },
];

/** Runs a case on a socket, from its opening to its close event. An error
 * event is for an end that is not clean; a case may insist on it. */
function runCase(ws, {run, events, error}) {
  return new Promise((resolve, reject) => {
    const seen = [];
    let errors = 0, messages = 0;
    const on = (event, state, then) => {
      ws[`on${event}`] = (e) => {
        try {
          check(ws.readyState === state, `state ${ws.readyState} in ${event}`);
          then(e);
        } catch (failure) {
          reject(failure);
        }
      };
    };
    ws.binaryType = 'arraybuffer';
    on('open', 1, () => {
      seen.push('open');
      if (run.open) run.open(ws);
    });
    on('message', 1, ({data}) => {
      seen.push('message');
      run.message(ws, data, messages++);
    });
    ws.onerror = () => errors++;
    on('close', 3, ({code, reason, wasClean}) => {
      seen.push(`close ${code} ${wasClean ? '' : 'un'}clean '${reason}'`);
      check(seen.join() === events.join(), `saw ${seen.join(', ')}`);
      check(!(wasClean && errors), 'an error event');
      check(!(error && !errors), 'no error event');
      if (run.close) run.close(ws);
      resolve();
    });
    if (ws.readyState === 1) ws.onopen();
  });
}

if (typeof module !== 'undefined')
  module.exports = {bytes, cases, longest, lost, runCase, same, text};
