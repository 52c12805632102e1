// The client of Node's ws for bench/client.
//
//   node client-ws.js PORT echo|receive|send SIZE CONNECTIONS DEPTH text|binary
//
// Runs until it is killed.
const path = require("node:path");

const WebSocket = find();

// What bench/client installs, or Debian's, which is where not every node looks.
function find() {
  try {
    return require(
      path.join(__dirname, "../build/bench-client/node_modules/ws"));
  } catch {
    return require("/usr/share/nodejs/ws");
  }
}

const [port, mode, ...rest] = process.argv.slice(2);
const [size, connections, depth] = rest.map(Number);
const binary = rest[3] === "binary";
const bytes = Buffer.alloc(size).map((_, i) => 97 + i % 23);
const payload = binary ? bytes : bytes.toString();
let compared = false;

function check(truth, text) {
  if (truth) return;
  console.error(`client-ws: ${text}`);
  process.exit(1);
}

// So many, and more when all are with the kernel and others had their turn.
function sendOn(socket) {
  for (let i = 1; i < depth; i++) socket.send(payload);
  socket.send(payload, () => setImmediate(sendOn, socket));
}

function receive(socket, data, isBinary) {
  check(data.length === size && isBinary === binary, "another message");
  if (!compared) check(bytes.equals(data), "another payload");
  compared = true;
  if (mode === "echo") socket.send(payload);
}

for (let n = 0; n < connections; n++) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`,
    { perMessageDeflate: false });
  socket.on("open", () => {
    if (mode === "send") sendOn(socket);
    for (let i = 0; mode === "echo" && i < depth; i++) socket.send(payload);
  });
  socket.on("message", (data, isBinary) => receive(socket, data, isBinary));
  socket.on("error", (error) => check(false, error.message));
  socket.on("close", (code) => check(false, `closed with ${code}`));
}
