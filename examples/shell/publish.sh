#!/bin/sh
# Publishes files of readings over MQTT, with nothing but curl, mosquitto_pub and mosquitto_sub:
#
#     . demo.env
#     echo '{"readings":[{"external_id":"BLW-TEMP-1","metric":"temperature","value":21.4,"unit":"C"}]}' > a.json
#     sh publish.sh a.json
#
# Each file is one batch, {"readings":[…]} with at most 500 readings. It is removed when it is settled: stored, or refused
# for good with the reason printed. What is left after ATTEMPTS attempts stays where it is for the next run, say from cron;
# sending a batch twice is safe, as long as its readings carry their own timestamps.
# Exit 0: all settled. 1: some files are left. 2: the service refuses these credentials: tell the administrator.

set -eu
umask 077
: "${MQTT_HOST:?}" "${MQTT_PORT:?}" "${TOKEN_URL:?}" "${AUDIENCE:?}" "${INTEGRATION_ID:?}"
: "${CLIENT_ID:?}" "${CLIENT_SECRET:?}" "${API_KEY:?}"
name=${GATEWAY_ID:-gateway-shell}
topic=grq/v1/$INTEGRATION_ID/readings
results=grq/v1/$INTEGRATION_ID/results/$name
attempts=${ATTEMPTS:-8}

listener=
renew_at=0
work=$(mktemp -d)
finish() {
  [ -z "$listener" ] || kill "$listener" 2>/dev/null || :
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

# A fresh token, and a listener for the results with it. Both programs read their options from a private file there:
# on the command line everybody on this machine could see them. A session ends with its token, so this is done in time.
connect() {
  [ -z "$listener" ] || kill "$listener" 2>/dev/null || :
  printf 'grant_type=client_credentials&client_id=%s&client_secret=%s&audience=%s' \
    "$CLIENT_ID" "$CLIENT_SECRET" "$AUDIENCE" | curl -sS -m 30 -d @- "$TOKEN_URL" > "$work/token" || return 1
  token=$(sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p' "$work/token")
  lifetime=$(sed -n 's/.*"expires_in":\([0-9]*\).*/\1/p' "$work/token")
  if [ -z "$token" ]; then
    ! grep -q invalid_client "$work/token" || refuse "no token for this client id and secret"
    return 1
  fi
  renew_at=$(($(date +%s) + lifetime * 4 / 5))
  for program in pub sub; do
    printf '%s\n' "-h $MQTT_HOST" "-p $MQTT_PORT" "-V mqttv5" "-q 1" "-u $API_KEY" "-P $token" \
      "-i $name-$program" ${MQTT_CA_FILE:+"--cafile $MQTT_CA_FILE"} > "$work/mosquitto_$program"
  done
  XDG_CONFIG_HOME=$work mosquitto_sub -d -t "$results" -F 'result %D %p' > "$work/listener" 2>&1 &
  listener=$!
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    ! grep -q '^Subscribed' "$work/listener" || return 0
    sleep 0.2
  done
  return 1
}

# Publishes a file under a number and waits for its PUBACK. 0: stored. 3: refused for good. 1: the same again later.
publish() {
  if ! XDG_CONFIG_HOME=$work timeout 60 mosquitto_pub -t "$topic" -f "$1" \
    -D publish response-topic "$results" -D publish correlation-data "$2" 2> "$work/errors"; then
    return 1
  fi
  case $(cat "$work/errors") in
    '') return 0 ;;
    *'Payload format invalid'*) return 3 ;;
    *'Not authorized'*) refuse "the integration may not publish readings (any more)" ;;
    *) return 1 ;;
  esac
}

# Prints what the service said about a file, once it has said it: what was refused in it, and why.
report() {
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    result=$(sed -n "s/^result $2 //p" "$work/listener" | tail -n 1)
    [ -z "$result" ] || break
    sleep 0.2
  done
  case $result in
    *'"rejected":0'*) echo "$1: stored" ;;
    *) echo "$1: $result" ;;
  esac
}

refuse() {
  echo "stopped: $1. Tell the administrator." >&2
  exit 2
}

pause=1
left=0
number=0
for file in "$@"; do
  attempt=1
  number=$((number + 1)) # comes back with the result, as its correlation data
  while :; do
    status=1
    if [ "$(date +%s)" -lt "$renew_at" ] || connect; then
      status=0
      publish "$file" $number || status=$?
    fi
    if [ "$status" != 1 ]; then
      report "$file" $number
      rm "$file"
      pause=1
      break
    fi
    echo "$file: not acknowledged: $(cat "$work/errors" 2>/dev/null || :)" >&2
    [ "$attempt" -lt "$attempts" ] || { left=1; break; }
    attempt=$((attempt + 1))
    sleep "$(awk -v s="$pause" 'BEGIN { srand(); print s * (1 + 0.3 * rand()) }')"
    pause=$((pause < 32 ? 2 * pause : 60))
  done
done
exit $left
