// Quotes a price by a table of margins that only this program reads.
//
//     node price.js MARGINS.json
//
// It is an ordinary program of Node's own modules: worker threads, a child process, an HTTP server
// that it asks itself.
'use strict';

const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const cents = (cost, margin) => Math.round((cost * (10000 + margin)) / 10000);

if (!isMainThread) {
  parentPort.postMessage(cents(workerData.cost, workerData.margin));
} else if (process.argv.length !== 3) {
  console.error('usage: node price.js MARGINS.json');
  process.exit(2);
} else {
  main(process.argv[2]).catch((error) => {
    console.error(`price: ${error.message}`);
    process.exit(1);
  });
}

// inWorker computes a price on another thread.
function inWorker(workerData) {
  return new Promise((resolve, reject) => {
    new Worker(__filename, { workerData }).once('message', resolve).once('error', reject);
  });
}

// quote asks the server that it starts for a price.
async function quote(margins, item, cost) {
  const server = http.createServer(async (request, response) => {
    const asked = new URL(request.url, 'http://localhost').searchParams;
    const margin = margins[asked.get('item')];
    response.end(String(await inWorker({ cost: Number(asked.get('cost')), margin })));
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/?item=${item}&cost=${cost}`);
  const price = await answer.text();
  server.closeAllConnections();
  server.close();
  return price;
}

async function main(path) {
  const content = fs.readFileSync(path);
  const margins = JSON.parse(content);
  for (const [item, cost] of [['lamp', 1999], ['desk', 14900]]) {
    console.log(`${item} at a cost of ${cost}: price ${await quote(margins, item, cost)}`);
  }
  const child = execFileSync(process.execPath, ['-p', '6 * 7'], { encoding: 'utf8' });
  console.log(`a child process says ${child.trim()}`);
  console.log(`table: ${createHash('sha256').update(content).digest('hex').slice(0, 16)}`);
}
