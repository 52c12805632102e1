'use strict';
// An echo server by Node's ws, to stand beside ours in bench/deflate-memory.
//
//   node deflate-memory-ws.js OPTIONS    (perMessageDeflate, as JSON)
//
// Prints "listening on 127.0.0.1:PORT".
const {Server} = find();

// Debian's is where not every node looks.
function find() {
  try {
    return require('ws');
  } catch {
    return require('/usr/share/nodejs/ws');
  }
}

const server = new Server({
  host: '127.0.0.1',
  port: 0,
  backlog: 4096,
  perMessageDeflate: JSON.parse(process.argv[2]),
});
server.on('connection', (socket) => {
  socket.on('message', (data, binary) => socket.send(data, {binary}));
});
server.on('listening', () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
