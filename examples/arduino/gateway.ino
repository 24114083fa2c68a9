// A gateway on an ESP32, over MQTT 3.1.1: samples a sensor, delivers every batch, survives outages of network and service.
//
// NOT RUN AND NOT COMPILED by this project's tests: there is no ESP32 in them. It is written for the Arduino core for
// ESP32, version 3.x (ESP-IDF 5), whose own MQTT client (esp-mqtt, `mqtt_client.h`) can publish at QoS 1. The well known
// PubSubClient cannot: it publishes at QoS 0 only, so it never learns whether a batch was stored.
//
// A session of MQTT is one connection, with one token. What was not acknowledged in it goes into the next one. Sending a
// batch twice is safe, since each reading carries its own timestamp. Batches wait in RAM here: a gateway that must survive
// a power cut keeps them in flash (LittleFS).

#include <Arduino.h>
#include <HTTPClient.h>
#include <WiFi.h>
#include <mqtt_client.h>
#include <time.h>

#include <deque>

// ---- settings: the values of demo.env, or what the administrator gave you ----
static const char *WIFI_NAME = "…";
static const char *WIFI_PASSWORD = "…";
static const char *MQTT_URL = "mqtt://192.0.2.10:1883"; // with TLS: mqtts://host:8883, and CA_CERTIFICATE
static const char *TOKEN_URL = "http://192.0.2.10:8080/oauth/token";
static const char *AUDIENCE = "https://sensorgate/api";
static const char *INTEGRATION_ID = "…";
static const char *CLIENT_ID = "…";
static const char *CLIENT_SECRET = "…";
static const char *API_KEY = "grq_live_…";
static const char *CA_CERTIFICATE = nullptr;  // PEM text: then the token end point and the listener must show such a certificate
static const char *GATEWAY_ID = "gateway-esp32"; // one name, one connection: a second one takes over
static const char *EXTERNAL_ID = "BLW-TEMP-1";

static const uint32_t SAMPLE_MS = 5000;
static const size_t BATCH_READINGS = 12;  // a batch a minute; at most 500
static const size_t BATCHES_MAX = 60;     // kept while nobody takes them; the oldest is dropped beyond
static const size_t IN_FLIGHT_MAX = 4;    // sent and not yet acknowledged
static const uint32_t WAIT_MAX_MS = 60000;
static const uint32_t CONNECT_WAIT_MS = 30000;

// ---- batches until they are settled ----
struct Batch {
  String payload;
  int messageId; // -1: not sent in this session
};

static std::deque<Batch> outbox;
static String filling;
static size_t fillingCount = 0;
static uint32_t sampledAt = 0;

static float readSensor() {
  return 20.0f + random(0, 100) / 100.0f; // put your sensor here
}

static void sample() {
  const time_t now = time(nullptr);
  if (millis() - sampledAt < SAMPLE_MS || now < 1700000000) return; // the clock is not set yet
  sampledAt = millis();
  char reading[192];
  snprintf(reading, sizeof reading,
           "{\"external_id\":\"%s\",\"metric\":\"temperature\",\"value\":%.2f,\"unit\":\"C\",\"timestamp\":%lld}", EXTERNAL_ID,
           readSensor(), static_cast<long long>(now));
  filling += fillingCount == 0 ? "{\"readings\":[" : ",";
  filling += reading;
  if (++fillingCount < BATCH_READINGS) return;
  if (outbox.size() == BATCHES_MAX) {
    Serial.println("the outbox is full: the oldest batch is dropped");
    outbox.pop_front();
  }
  outbox.push_back({filling + "]}", -1});
  filling = "";
  fillingCount = 0;
}

// ---- one session ----
static esp_mqtt_client_handle_t client = nullptr;
static QueueHandle_t acknowledged;      // message ids, from the task of the MQTT client to loop()
static volatile bool connected = false; // set by that task
static volatile bool lost = false;
static volatile bool notAuthorised = false;
static bool stopped = false; // the credentials do not work (any more)
static int refusals = 0;
static String token;
static uint32_t startedAt, renewAfterMs, waitMs = 1000, pausedAt, pauseMs = 0;

static String topic(const char *end) {
  return String("grq/v1/") + INTEGRATION_ID + end;
}

// The text between `before` and the next of `after`; empty if there is none.
static String between(const String &text, const char *before, char after) {
  const int at = text.indexOf(before);
  if (at < 0) return "";
  const int start = at + strlen(before);
  return text.substring(start, text.indexOf(after, start));
}

static bool fetchToken() {
  HTTPClient http;
  const bool begun = CA_CERTIFICATE ? http.begin(TOKEN_URL, CA_CERTIFICATE) : http.begin(TOKEN_URL);
  if (!begun) return false;
  http.setTimeout(15000);
  http.addHeader("Content-Type", "application/x-www-form-urlencoded");
  const int status = http.POST(String("grant_type=client_credentials&client_id=") + CLIENT_ID + "&client_secret=" +
                               CLIENT_SECRET + "&audience=" + AUDIENCE);
  const String body = http.getString();
  http.end();
  if (status == 400 || status == 401) stopped = true;
  token = between(body, "\"access_token\":\"", '"');
  const long lifetimeS = body.substring(body.indexOf("\"expires_in\":") + 13).toInt();
  if (status != 200 || token.length() == 0 || lifetimeS <= 0) return false;
  renewAfterMs = 1000UL * (lifetimeS - min(60L, lifetimeS / 5));
  return true;
}

// Runs in the task of the MQTT client: it only notes what happened.
static void onEvent(void *, esp_event_base_t, int32_t id, void *data) {
  const auto *event = static_cast<esp_mqtt_event_handle_t>(data);
  switch (static_cast<esp_mqtt_event_id_t>(id)) {
    case MQTT_EVENT_CONNECTED:
      esp_mqtt_client_subscribe(event->client, topic("/results").c_str(), 1);
      connected = true;
      break;
    case MQTT_EVENT_PUBLISHED: { // the PUBACK: on disk. In 3.1.1 also: refused for good, told on `results`
      const int messageId = event->msg_id;
      xQueueSend(acknowledged, &messageId, 0);
      break;
    }
    case MQTT_EVENT_DATA: { // what became of a batch; long ones come in pieces
      const String piece(event->data, static_cast<unsigned int>(event->data_len));
      if (piece.indexOf("\"rejected\":0,") < 0) Serial.println(piece);
      break;
    }
    case MQTT_EVENT_ERROR:
      if (event->error_handle->error_type == MQTT_ERROR_TYPE_CONNECTION_REFUSED) {
        const auto code = event->error_handle->connect_return_code;
        notAuthorised = code == MQTT_CONNECTION_REFUSE_NOT_AUTHORIZED || code == MQTT_CONNECTION_REFUSE_BAD_USERNAME;
      }
      break;
    case MQTT_EVENT_DISCONNECTED:
      lost = true;
      break;
    default:
      break;
  }
}

static void startSession() {
  if (WiFi.status() != WL_CONNECTED || !fetchToken()) {
    lost = true;
    return;
  }
  esp_mqtt_client_config_t config = {};
  config.broker.address.uri = MQTT_URL;
  config.broker.verification.certificate = CA_CERTIFICATE;
  config.credentials.client_id = GATEWAY_ID;
  config.credentials.username = API_KEY;
  config.credentials.authentication.password = token.c_str();
  config.session.protocol_ver = MQTT_PROTOCOL_V_3_1_1;
  config.session.keepalive = 30;
  config.session.message_retransmit_timeout = 60000; // by default it sends a batch again after one second
  config.network.disable_auto_reconnect = true;      // a reconnect needs a fresh token: it is ours to make
  config.buffer.size = 8192;
  client = esp_mqtt_client_init(&config);
  esp_mqtt_client_register_event(client, MQTT_EVENT_ANY, onEvent, nullptr);
  lost = esp_mqtt_client_start(client) != ESP_OK;
}

static void endSession() {
  if (client != nullptr) {
    esp_mqtt_client_stop(client);
    esp_mqtt_client_destroy(client);
    client = nullptr;
  }
  xQueueReset(acknowledged);
  for (Batch &batch : outbox) batch.messageId = -1;
  connected = lost = notAuthorised = false;
}

static void pause() {
  pausedAt = millis();
  pauseMs = random(0, waitMs);
  waitMs = min(2 * waitMs, WAIT_MAX_MS);
}

static void settle() {
  int messageId;
  while (xQueueReceive(acknowledged, &messageId, 0) == pdTRUE) {
    for (auto batch = outbox.begin(); batch != outbox.end(); ++batch) {
      if (batch->messageId == messageId) {
        outbox.erase(batch);
        waitMs = 1000;
        break;
      }
    }
  }
}

static size_t send(bool allowed) {
  size_t inFlight = 0;
  for (const Batch &batch : outbox) inFlight += batch.messageId >= 0;
  for (Batch &batch : outbox) {
    if (!allowed || inFlight >= IN_FLIGHT_MAX) break;
    if (batch.messageId >= 0) continue;
    batch.messageId = esp_mqtt_client_publish(client, topic("/readings").c_str(), batch.payload.c_str(), 0, 1, 0);
    if (batch.messageId < 0) {
      batch.messageId = -1;
      break;
    }
    inFlight++;
  }
  return inFlight;
}

void setup() {
  Serial.begin(115200);
  acknowledged = xQueueCreate(2 * IN_FLIGHT_MAX, sizeof(int));
  WiFi.begin(WIFI_NAME, WIFI_PASSWORD);
  WiFi.setAutoReconnect(true);
  configTime(0, 0, "pool.ntp.org");
}

void loop() {
  sample();
  if (!stopped && client == nullptr && millis() - pausedAt >= pauseMs) {
    startedAt = millis();
    startSession();
  }
  const bool renew = millis() - startedAt >= renewAfterMs;
  if (client != nullptr && connected && !lost) {
    refusals = 0;
    settle();
    if (send(!renew) == 0 && renew) {
      endSession(); // by our own will, with nothing in flight: on with a fresh token at once
      return;
    }
  }
  if (lost || (client != nullptr && !connected && millis() - startedAt >= CONNECT_WAIT_MS)) {
    refusals += notAuthorised;
    stopped = stopped || refusals == 2; // with a fresh token each time
    settle();
    endSession();
    pause();
    if (stopped) Serial.println("stopped: the credentials do not work (any more). Tell the administrator.");
  }
  delay(20);
}
