// An echo server by Node's ws, to stand beside ours.
//
//   node ws-echo.js [LEVEL [server_no_context_takeover]]
//
// Prints "listening on 127.0.0.1:PORT". With a LEVEL every message is
// compressed; the client does not keep its context.
const { WebSocketServer } = find();

// Debian's is where not every node looks.
function find() {
  try {
    return require("ws");
  } catch {
    return require("/usr/share/nodejs/ws");
  }
}

const [level, fresh] = process.argv.slice(2);
const deflate = {
  zlibDeflateOptions: { level: Number(level), memLevel: 8 },
  threshold: 0,
  clientNoContextTakeover: true,
  serverNoContextTakeover: fresh !== undefined,
};
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  backlog: 4096,
  perMessageDeflate: level === undefined ? false : deflate,
});
server.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});
server.on("listening", () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
