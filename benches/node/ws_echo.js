// ws with bufferutil; the argument is the port.
const { WebSocketServer } = require('ws');

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  backlog: 4096,
  maxPayload: 64 << 20,
  perMessageDeflate: true,
});
server.on('connection', (connection) => {
  connection._socket.setNoDelay(true);
  connection.on('error', () => {});
  connection.on('message', (data, binary) => connection.send(data, { binary }));
});
