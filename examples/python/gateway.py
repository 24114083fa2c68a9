#!/usr/bin/env python3
"""A gateway over MQTT 5: reads readings from standard input, one JSON object a line, and delivers every one of them.

    pip install -r requirements.txt
    . demo.env
    echo '{"external_id":"BLW-TEMP-1","metric":"temperature","value":21.4,"unit":"C"}' | python3 gateway.py

It ends when standard input has ended and every batch is settled: exit 0. Exit 2: the service refuses these credentials.

A session of MQTT is one connection, and one `Client` object here. What was not acknowledged in it goes into the next one.
Sending a batch twice is safe, as long as its readings carry their own timestamps. A gateway that must survive a power
cut keeps `Outbox.unsettled` on disk instead of in memory.
"""

import json
import os
import queue
import random
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timezone

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

HOST, PORT = os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"])
CA_FILE = os.environ.get("MQTT_CA_FILE")  # set: TLS, with this certificate authority
CLIENT_ID = os.environ.get("GATEWAY_ID", "gateway-python")  # one name, one connection: a second one takes over
TOPIC = f"grq/v1/{os.environ['INTEGRATION_ID']}/readings"
RESULTS = f"grq/v1/{os.environ['INTEGRATION_ID']}/results/{CLIENT_ID}"

BATCH_MAX = 500  # readings in a batch
BATCH_WAIT_S = 1.0  # how long a batch waits for more readings
IN_FLIGHT_MAX = 8  # batches sent and not yet acknowledged; the service takes at least as many
WAIT_MAX_S = 60.0  # longest pause between two attempts
RESULT_WAIT_S = 5.0  # how long the last results are waited for

NOT_AUTHORISED = {0x86, 0x87}  # CONNACK: these credentials do not work


class Refused(Exception):
    """Waiting does not help: an administrator has to do something."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def fetch_token():
    """A token, and when to have a new one (by the monotonic clock)."""
    form = {
        "grant_type": "client_credentials",
        "client_id": os.environ["CLIENT_ID"],
        "client_secret": os.environ["CLIENT_SECRET"],
        "audience": os.environ["AUDIENCE"],
    }
    try:
        with urllib.request.urlopen(os.environ["TOKEN_URL"], urllib.parse.urlencode(form).encode(), timeout=30) as answer:
            token = json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in (400, 401):
            raise Refused("no token for this client id and secret") from error
        raise
    lifetime_s = token["expires_in"]
    return token["access_token"], time.monotonic() + lifetime_s - min(60, lifetime_s / 5)


def read_input(lines):
    """Standard input into the queue, each reading with its time; `None` at the end."""
    for line in filter(str.strip, sys.stdin):
        reading = json.loads(line)
        reading.setdefault("timestamp", datetime.now(timezone.utc).isoformat())
        lines.put(reading)
    lines.put(None)


class Outbox:
    """Batches from the input until they are settled."""

    def __init__(self):
        self.lines = queue.Queue(maxsize=10 * BATCH_MAX)
        self.filling, self.filling_since = [], None
        self.unsettled = {}  # number → readings: neither stored nor refused for good
        self.unreported = {}  # number → readings: settled, the result has not come yet
        self.count, self.ended = 0, False
        threading.Thread(target=read_input, args=(self.lines,), daemon=True).start()

    def fill(self):
        """Takes what has been read; a batch that is full or has waited long enough becomes unsettled."""
        while len(self.unsettled) < 2 * IN_FLIGHT_MAX and not self.ended:
            try:
                reading = self.lines.get_nowait()
            except queue.Empty:
                break
            if reading is None:
                self.ended = True
            else:
                self.filling_since = self.filling_since or time.monotonic()
                self.filling.append(reading)
            if len(self.filling) == BATCH_MAX:
                self.close_batch()
        if self.filling and (self.ended or time.monotonic() - self.filling_since >= BATCH_WAIT_S):
            self.close_batch()

    def close_batch(self):
        self.count += 1
        self.unsettled[self.count] = self.filling
        self.filling, self.filling_since = [], None

    def settle(self, number):
        if number in self.unsettled:
            self.unreported[number] = self.unsettled.pop(number)

    def report(self, number, result):
        """Tells what became of a batch; in MQTT 5 the result's correlation data is the number that we sent."""
        readings = self.unsettled.get(number) or self.unreported.pop(number, [])
        if "received" not in result:
            say(f"batch {number}: {result.get('code')}: {result.get('detail')}")
            return
        say(f"batch {number}: {result['accepted']} accepted, {result['rejected']} rejected")
        for error in result["errors"]:
            reading = readings[error["index"]] if error["index"] < len(readings) else "?"
            say(f"  rejected: {error['code']}: {error['message']}: {json.dumps(reading)}")

    def is_done(self):
        return self.ended and not self.filling and not self.unsettled


class Session:
    """One connection, with one token."""

    def __init__(self, outbox):
        token, self.renew_at = fetch_token()
        self.outbox = outbox
        self.in_flight = {}  # packet id → number of the batch
        self.connected, self.refused, self.progress = False, None, False
        self.pause_until, self.pause_s = 0.0, 1.0
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, CLIENT_ID, protocol=mqtt.MQTTv5)
        self.client.username_pw_set(os.environ["API_KEY"], token)
        if CA_FILE:
            self.client.tls_set(ca_certs=CA_FILE)
        self.client.on_connect = self.on_connect
        self.client.on_publish = self.on_publish
        self.client.on_message = self.on_message
        self.client.on_disconnect = self.on_disconnect

    def run(self):
        """Works until everything is settled, the token ends or the connection does; whether it ended by our own will."""
        self.client.connect(HOST, PORT, keepalive=30, clean_start=True)
        planned = False
        while not planned and self.client.loop(timeout=0.05) == mqtt.MQTT_ERR_SUCCESS:
            self.outbox.fill()
            renew = time.monotonic() >= self.renew_at
            if self.connected and not renew:
                self.send()
            planned = not self.in_flight and (renew or self.outbox.is_done())
        if planned and self.outbox.is_done():
            end = time.monotonic() + RESULT_WAIT_S
            while self.outbox.unreported and time.monotonic() < end and self.client.loop(timeout=0.05) == 0:
                pass
        self.client.disconnect()
        return planned

    def send(self):
        sent = set(self.in_flight.values())
        for number, readings in self.outbox.unsettled.items():
            if len(self.in_flight) >= IN_FLIGHT_MAX or time.monotonic() < self.pause_until:
                return
            if number in sent:
                continue
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic = RESULTS
            properties.CorrelationData = str(number).encode()
            payload = json.dumps({"readings": readings})
            info = self.client.publish(TOPIC, payload, qos=1, properties=properties)
            if info.rc != mqtt.MQTT_ERR_SUCCESS:
                return
            self.in_flight[info.mid] = number

    def on_connect(self, client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            self.refused = reason
            return
        self.connected = True
        client.subscribe(RESULTS, qos=1)

    def on_publish(self, _client, _userdata, mid, reason, _properties):
        """A PUBACK: this batch is on disk, or refused."""
        number = self.in_flight.pop(mid, None)
        if reason.value == 0x97:  # rate limit or quota: the same again later
            self.pause_until = time.monotonic() + self.pause_s * random.uniform(1.0, 1.3)
            self.pause_s = min(2 * self.pause_s, WAIT_MAX_S)
            say(f"batch {number}: over the limit, sent again later")
        elif reason.value == 0x87:
            raise Refused("the integration may not publish readings (any more)")
        else:  # 0x00: stored, every reading that was good. 0x99: refused for good; the result says why.
            self.progress, self.pause_s = True, 1.0
            self.outbox.settle(number)

    def on_message(self, _client, _userdata, message):
        number = getattr(message.properties, "CorrelationData", b"")
        self.outbox.report(int(number) if number.isdigit() else None, json.loads(message.payload))

    def on_disconnect(self, _client, _userdata, _flags, reason, _properties):
        if self.connected and reason.value != 0:
            say(f"connection ended: {reason}")


def main():
    outbox, wait_s, refusals = Outbox(), 1.0, 0
    while not outbox.is_done():
        try:
            session = Session(outbox)
            if session.run():
                continue
            if session.refused:
                say(f"not connected: {session.refused}")
                refusals += session.refused.value in NOT_AUTHORISED
                if refusals == 2:  # with a fresh token each time
                    raise Refused("the credentials do not work (any more)")
            if session.connected:
                refusals = 0
            if session.progress:
                wait_s = 1.0
        except OSError as error:
            say(f"no connection: {error}")
        outbox.fill()
        time.sleep(random.uniform(0, wait_s))
        wait_s = min(2 * wait_s, WAIT_MAX_S)


try:
    main()
except Refused as refused:
    say(f"stopped: {refused}. Tell the administrator.")
    sys.exit(2)
