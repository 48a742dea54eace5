// How times, sizes, bytes and close codes are written on the page.
"use strict";

const CLOSE_CODE_NAMES = new Map([
  [1000, "normal closure"],
  [1001, "going away"],
  [1002, "protocol error"],
  [1003, "unsupported data"],
  [1005, "no code given"],
  [1006, "connection lost"],
  [1007, "invalid payload"],
  [1008, "policy violation"],
  [1009, "message too big"],
  [1010, "extension missing"],
  [1011, "server error"],
  [1012, "service restart"],
  [1013, "try again later"],
  [1014, "bad gateway"],
  [1015, "TLS failure"],
]);

/** "4001 (application's own)", "1000 (normal closure)". */
function formatCloseCode(code) {
  const name = CLOSE_CODE_NAMES.get(code)
    ?? (code >= 4000 ? "application's own" : code >= 3000 ? "registered" : "unassigned");
  return `${code} (${name})`;
}

function formatBytes(count) {
  if (count < 1024) return `${count} B`;
  let value = count;
  let unit = -1;
  do {
    value /= 1024;
    unit += 1;
  } while (value >= 1023.95 && unit < 3);
  return `${value.toFixed(value < 10 ? 2 : 1)} ${["KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** Milliseconds with as many digits as a browser's clock is worth. */
function formatMilliseconds(value) {
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ms`;
}

/** Local time of day to the millisecond. */
function formatTime(date) {
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
    + `.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function formatHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** The classic dump: offset, sixteen bytes, and what they are in ASCII. */
function formatHexDump(bytes) {
  const lines = [];
  for (let offset = 0; offset < bytes.length; offset += 16) {
    const row = bytes.subarray(offset, offset + 16);
    const ascii = Array.from(row, (byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·").join("");
    lines.push(`${offset.toString(16).padStart(6, "0")}  ${formatHex(row).padEnd(47)}  ${ascii}`);
  }
  return lines.join("\n");
}
