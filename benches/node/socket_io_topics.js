// The rooms of socket.io, by WebSocket alone; the argument is the port.
const { createServer } = require('node:http');
const { Server } = require('socket.io');

const http = createServer();
const io = new Server(http, {
  transports: ['websocket'],
  perMessageDeflate: false,
  pingInterval: 3_600_000,
});
io.on('connection', (socket) => {
  socket.on('join', (topic) => {
    socket.join(topic);
    socket.emit('joined');
  });
  socket.on('publish', (text) => io.to(text.slice(0, 8)).emit('told', text));
});
http.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });
