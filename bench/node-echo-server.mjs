// An echo server in Node, without compression.
//
//   node node-echo-server.mjs uvws | uvws-events | ws | ws-events
//
// uvws and ws as each is fastest, or by the events of the platform's class.
// Prints "listening on 127.0.0.1:PORT".
import { createRequire } from "node:module";

// Where bench/node installs what it compares with.
const require = createRequire(
  new URL("../build/bench-node/", import.meta.url));

const options = { host: "127.0.0.1", port: 0, perMessageDeflate: false };

async function uvws() {
  const addon = await import("../docs/examples/node-addon/index.mjs");
  return new addon.WebSocketServer(options);
}

function ws() {
  return new (require("ws").WebSocketServer)(options);
}

function byEvents(server) {
  server.on("connection", (socket) => {
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => socket.send(data);
  });
  return server;
}

const servers = {
  async uvws() {
    const server = await uvws();
    server.on("message", (socket, data) => socket.send(data));
    return server;
  },
  async "uvws-events"() {
    return byEvents(await uvws());
  },
  ws() {
    const server = ws();
    server.on("connection", (socket) => {
      socket.on("message", (data, isBinary) => {
        socket.send(data, { binary: isBinary });
      });
    });
    return server;
  },
  "ws-events"() {
    return byEvents(ws());
  },
};

const server = await servers[process.argv[2]]();
server.on("listening", () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
