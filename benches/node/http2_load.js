// Echoes over WebSockets of HTTP/1.1 or HTTP/2, one message of each under way:
//   node http2_load.js PORT 1|2 CONNECTIONS STREAMS MESSAGES
// Prints a line when all are open, waits for one on standard input, and prints one at the end.
"use strict";
const http2 = require("node:http2");
const net = require("node:net");

const [port, version, connections, streams, messages] = process.argv.slice(2).map(Number);
const TEXT = Buffer.alloc(32, "x");
const FRAME = Buffer.concat([Buffer.from([0x81, 0x80 | TEXT.length, 0, 0, 0, 0]), TEXT]);
const REPLY = 2 + TEXT.length;

function openOld() {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1", () => {
      socket.setNoDelay(true);
      socket.write(
        "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
      );
    });
    socket.once("error", reject);
    socket.once("data", () => resolve(socket));
  });
}

function openStreams() {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const open = () =>
    new Promise((resolve, reject) => {
      const stream = session.request({
        ":method": "CONNECT",
        ":protocol": "websocket",
        ":path": "/echo",
        "sec-websocket-version": "13",
      });
      stream.once("error", reject);
      stream.once("response", () => resolve(stream));
    });
  return new Promise((resolve) => {
    session.once("remoteSettings", () => resolve(Promise.all(Array.from({ length: streams }, open))));
  });
}

function echo(socket, count) {
  return new Promise((resolve) => {
    let missing = REPLY;
    socket.on("data", (data) => {
      missing -= data.length;
      if (missing > 0) return;
      missing = REPLY;
      count -= 1;
      if (count > 0) socket.write(FRAME);
      else resolve();
    });
    socket.write(FRAME);
  });
}

async function main() {
  const one = version === 2 ? openStreams : openOld;
  const sockets = (await Promise.all(Array.from({ length: connections }, one))).flat();
  console.log("open");
  await new Promise((resolve) => process.stdin.once("data", resolve));
  await Promise.all(sockets.map((socket) => echo(socket, Math.ceil(messages / sockets.length))));
  console.log("done");
  process.exit(0);
}

main();
