// Sends messages to an echo server, each back again as it comes.
//
//   node node-echo-client.mjs uvws | ws | ws-events | undici
//     URL CONNECTIONS SIZE DEPTH text|utf8|binary WARMUP SECONDS
//
// On every connection the first message is compared with what was sent; then
// DEPTH of them are on their way. After WARMUP seconds prints "begin", after
// SECONDS more {"count": messages, "seconds": ..., "cpu": seconds of this
// process, user and system}.
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";
import { setTimeout } from "node:timers/promises";

// Where bench/node installs what it compares with.
const require = createRequire(
  new URL("../build/bench-node/", import.meta.url));

const [name, url, ...rest] = process.argv.slice(2);
const [connections, size, depth, , warmup, seconds] = rest.map(Number);
const payload = {
  text: () => "message ".repeat(size / 8),
  utf8: () => "möß☃".repeat(size / 8),
  binary: () => new Uint8Array(size).map((_, i) => i).buffer,
}[rest[3]]();
let received = 0;

function die(text) {
  console.error(`node-echo-client: ${name}: ${text}`);
  process.exit(1);
}

function compare(data) {
  if (!isDeepStrictEqual(data, payload)) die("the echo differs");
}

// By the events of the platform's class: resolves to it once it has echoed.
function byEvents(socket) {
  return new Promise((resolve) => {
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(payload);
    socket.onmessage = ({ data }) => {
      compare(data);
      socket.onmessage = ({ data }) => {
        received++;
        socket.send(data);
      };
      resolve(socket);
    };
    socket.onclose = ({ code }) => die(`closed with ${code}`);
  });
}

// As ws is fastest.
function byEmitter(socket) {
  return new Promise((resolve) => {
    socket.on("open", () => socket.send(payload));
    socket.once("message", (data, isBinary) => {
      compare(isBinary ? new Uint8Array(data).buffer : data.toString());
      socket.on("message", (data, isBinary) => {
        received++;
        socket.send(data, { binary: isBinary });
      });
      resolve(socket);
    });
    socket.on("close", (code) => die(`closed with ${code}`));
    socket.on("error", (error) => die(error.message));
  });
}

function ws() {
  return new (require("ws"))(url, { perMessageDeflate: false });
}

const clients = {
  async uvws() {
    const addon = await import("../docs/examples/node-addon/index.mjs");
    return byEvents(new addon.WebSocket(url, [], { perMessageDeflate: false }));
  },
  ws: () => byEmitter(ws()),
  "ws-events": () => byEvents(ws()),
  // It offers compression, which the server does not know.
  undici: () => byEvents(new (require("undici").WebSocket)(url)),
};

const sockets = await Promise.all(
  Array.from({ length: connections }, () => clients[name]()));
for (const socket of sockets) {
  for (let i = 0; i < depth; i++) socket.send(payload);
}
await setTimeout(warmup * 1000);
console.log("begin");
const count = received, cpu = process.cpuUsage(), begin = performance.now();
await setTimeout(seconds * 1000);
const { user, system } = process.cpuUsage(cpu);
console.log(JSON.stringify({
  count: received - count,
  seconds: (performance.now() - begin) / 1000,
  cpu: (user + system) / 1e6,
}));
process.exit();
