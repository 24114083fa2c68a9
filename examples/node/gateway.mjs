// A gateway over MQTT 5: reads readings from standard input, one JSON object a line, and delivers every one of them.
//
//     npm install
//     . demo.env
//     echo '{"external_id":"BLW-TEMP-1","metric":"temperature","value":21.4,"unit":"C"}' | node gateway.mjs
//
// It ends when standard input has ended and every batch is settled: exit 0. Exit 2: the service refuses these credentials.
//
// A session of MQTT is one connection, and one client object here. What was not acknowledged in it goes into the next
// one. Sending a batch twice is safe, as long as its readings carry their own timestamps. A gateway that must survive a
// power cut keeps `unsettled` on disk instead of in memory.

import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFileSync } from 'node:fs';
import mqtt from 'mqtt';

const { env } = process;
const NAME = env.GATEWAY_ID ?? 'gateway-node'; // one name, one connection: a second one takes over
const TOPIC = `grq/v1/${env.INTEGRATION_ID}/readings`;
const RESULTS = `grq/v1/${env.INTEGRATION_ID}/results/${NAME}`;

const BATCH_MAX = 500; // readings in a batch
const BATCH_WAIT_MS = 1000; // how long a batch waits for more readings
const IN_FLIGHT_MAX = 8; // batches sent and not yet acknowledged; the service takes at least as many
const WAIT_MAX_MS = 60_000; // longest pause between two attempts
const CONNECT_WAIT_MS = 30_000; // longest wait for a connection
const RESULT_WAIT_MS = 5000; // how long the last results are waited for

const NOT_AUTHORISED = [0x86, 0x87]; // CONNACK: these credentials do not work

/** Waiting does not help: an administrator has to do something. */
class Refused extends Error {}

const say = (text) => console.error(text);

/** A token, and when to have a new one (milliseconds of the monotonic clock). */
async function fetchToken() {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: env.CLIENT_ID,
    client_secret: env.CLIENT_SECRET,
    audience: env.AUDIENCE,
  });
  const answer = await fetch(env.TOKEN_URL, { method: 'POST', body, signal: AbortSignal.timeout(30_000) });
  if ([400, 401].includes(answer.status)) throw new Refused('no token for this client id and secret');
  if (!answer.ok) throw new Error(`the token endpoint answered ${answer.status}`);
  const { access_token: token, expires_in: lifetimeS } = await answer.json();
  return { token, renewAt: performance.now() + 1000 * (lifetimeS - Math.min(60, lifetimeS / 5)) };
}

// ---- batches from the input until they are settled ----

const unsettled = new Map(); // number → readings: neither stored nor refused for good
const unreported = new Map(); // number → readings: settled, the result has not come yet
let [count, ended, wake] = [0, false, () => {}];

async function readInput() {
  let [batch, timer] = [[], null];
  const close = () => {
    clearTimeout(timer);
    if (batch.length > 0) unsettled.set((count += 1), batch);
    batch = [];
    wake();
  };
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === '') continue;
    if (batch.length === 0) timer = setTimeout(close, BATCH_WAIT_MS);
    batch.push({ timestamp: new Date().toISOString(), ...JSON.parse(line) });
    if (batch.length === BATCH_MAX) close();
    while (unsettled.size >= 2 * IN_FLIGHT_MAX) await sleep(20);
  }
  ended = true;
  close();
}

const isDone = () => ended && unsettled.size === 0;

function settle(number) {
  const readings = unsettled.get(number);
  if (unsettled.delete(number)) unreported.set(number, readings);
}

/** Tells what became of a batch; in MQTT 5 the result's correlation data is the number that we sent. */
function report(number, result) {
  const readings = unsettled.get(number) ?? unreported.get(number) ?? [];
  unreported.delete(number);
  if (result.received === undefined) {
    say(`batch ${number}: ${result.code}: ${result.detail}`);
    return;
  }
  say(`batch ${number}: ${result.accepted} accepted, ${result.rejected} rejected`);
  for (const error of result.errors) {
    say(`  rejected: ${error.code}: ${error.message}: ${JSON.stringify(readings[error.index])}`);
  }
}

// ---- one connection, with one token ----

async function connect() {
  const { token, renewAt } = await fetchToken();
  const client = mqtt.connect(env.MQTT_URL, {
    protocolVersion: 5,
    clientId: NAME,
    username: env.API_KEY,
    password: token,
    clean: true,
    keepalive: 30,
    reconnectPeriod: 0, // a reconnect needs a fresh token: it is ours to make
    connectTimeout: CONNECT_WAIT_MS,
    ca: env.MQTT_CA_FILE && readFileSync(env.MQTT_CA_FILE),
  });
  try {
    await new Promise((resolve, reject) => {
      client.on('connect', resolve).on('error', reject);
      client.on('close', () => reject(new Error('the connection was closed')));
    });
  } catch (error) {
    client.end(true);
    throw error;
  }
  return { client, renewAt };
}

/** Works until everything is settled, the token ends or the connection does; whether it ended by our own will. */
async function run({ client, renewAt }, onProgress) {
  const inFlight = new Set();
  let [lost, refused, pauseUntil, pauseMs] = [null, null, 0, 1000];
  client.on('error', (error) => (lost = error));
  client.on('disconnect', (packet) => (lost = new Error(`disconnected, reason 0x${packet.reasonCode.toString(16)}`)));
  client.on('close', () => {
    lost ??= new Error('the connection was closed');
    wake();
  });
  client.on('message', (_topic, payload, packet) => {
    report(Number(packet.properties?.correlationData ?? Number.NaN), JSON.parse(payload));
    wake();
  });

  /** The PUBACK of a batch: it is on disk, or refused. */
  const acknowledged = (number, reason) => {
    if (reason === 0x97) {
      pauseUntil = performance.now() + pauseMs * (1 + 0.3 * Math.random()); // rate limit or quota: the same again later
      pauseMs = Math.min(2 * pauseMs, WAIT_MAX_MS);
      say(`batch ${number}: over the limit, sent again later`);
    } else if (reason === 0x87) {
      refused = new Refused('the integration may not publish readings (any more)');
    } else if (reason === 0 || reason === 0x99) {
      pauseMs = 1000; // 0x00: stored, every reading that was good. 0x99: refused for good; the result says why.
      settle(number);
      onProgress();
    }
  };
  const send = (number, readings) => {
    inFlight.add(number);
    const properties = { responseTopic: RESULTS, correlationData: Buffer.from(String(number)) };
    client.publish(TOPIC, JSON.stringify({ readings }), { qos: 1, properties }, (error) => {
      inFlight.delete(number);
      acknowledged(number, error ? error.code : 0);
      wake();
    });
  };

  await client.subscribeAsync(RESULTS, { qos: 1 });
  let planned = false;
  while (!lost && !refused && !planned) {
    const renew = performance.now() >= renewAt;
    for (const [number, readings] of unsettled) {
      if (renew || inFlight.size >= IN_FLIGHT_MAX || performance.now() < pauseUntil) break;
      if (!inFlight.has(number)) send(number, readings);
    }
    planned = inFlight.size === 0 && (renew || isDone());
    if (!planned) await Promise.race([new Promise((resolve) => (wake = resolve)), sleep(200)]);
  }
  const end = performance.now() + RESULT_WAIT_MS;
  while (planned && isDone() && unreported.size > 0 && !lost && performance.now() < end) await sleep(20);
  if (refused) throw refused;
  if (lost && !planned) throw lost;
}

async function main() {
  const input = readInput();
  input.catch((error) => {
    say(`standard input: ${error.message}`);
    process.exit(1);
  });
  let [waitMs, refusals] = [1000, 0];
  while (!isDone()) {
    let session = null;
    try {
      session = await connect();
      refusals = 0;
      await run(session, () => (waitMs = 1000));
      continue;
    } catch (error) {
      if (error instanceof Refused) throw error;
      say(`no connection: ${error.message}`);
      refusals += NOT_AUTHORISED.includes(error.code);
      if (refusals === 2) throw new Refused('the credentials do not work (any more)'); // with a fresh token each time
    } finally {
      await session?.client.endAsync(session.client.connected === false);
    }
    await sleep(Math.random() * waitMs);
    waitMs = Math.min(2 * waitMs, WAIT_MAX_MS);
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  say(`stopped: ${error.message}. Tell the administrator.`);
  process.exitCode = 2;
}
