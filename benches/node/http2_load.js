// Echoes over WebSockets of HTTP/1.1 or HTTP/2, of each a number of messages under way:
//   node http2_load.js PORT 1|2 CONNECTIONS STREAMS SIZE UNDER_WAY MESSAGES
// Prints a line when all are open, waits for one on standard input, and prints one at the end.
"use strict";
const http2 = require("node:http2");
const net = require("node:net");

const [port, version, connections, streams, size, underWay, messages] = process.argv
  .slice(2)
  .map(Number);
const LENGTH = frameLength(size);
const MASKED = Buffer.from(LENGTH);
MASKED[0] |= 0x80;
const FRAME = Buffer.concat([Buffer.from([0x82]), MASKED, Buffer.alloc(4 + size)]);
const REPLY = 1 + LENGTH.length + size;
const WINDOW = 1 << 24;

// The length of a payload, in one of the three forms that a frame has for it (RFC 6455 5.2).
function frameLength(bytes) {
  if (bytes <= 125) return Buffer.of(bytes);
  if (bytes <= 0xffff) return Buffer.of(126, bytes >> 8, bytes & 0xff);
  const length = Buffer.alloc(9, 127);
  length.writeBigUInt64BE(BigInt(bytes), 1);
  return length;
}

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
  const settings = { initialWindowSize: WINDOW };
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings });
  session.once("connect", () => session.setLocalWindowSize(WINDOW * 4));
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
    let [missing, unsent, unanswered] = [REPLY, count, count];
    const send = () => {
      if (unsent > 0) socket.write(FRAME);
      unsent -= 1;
    };
    socket.on("data", (data) => {
      missing -= data.length;
      while (missing <= 0 && unanswered > 0) {
        missing += REPLY;
        unanswered -= 1;
        send();
      }
      if (unanswered === 0) resolve();
    });
    for (let number = 0; number < underWay; number += 1) send();
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
