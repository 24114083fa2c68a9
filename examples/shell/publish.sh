#!/bin/sh
# Publishes files of readings over MQTT, with nothing but curl and mosquitto_rr (from the package of mosquitto_pub):
#
#     . demo.env
#     echo '{"readings":[{"external_id":"BLW-TEMP-1","metric":"temperature","value":21.4,"unit":"C"}]}' > a.json
#     sh publish.sh a.json
#
# Each file is one batch, {"readings":[…]} with at most 500 readings. mosquitto_rr subscribes to a topic of its own for the
# result, publishes at QoS 1 and waits for the result. A file is removed when it is settled: stored, or refused for good
# with the reason printed. What is left after ATTEMPTS attempts stays where it is for the next run, say from cron; sending
# a batch twice is safe, as long as its readings carry their own timestamps.
# Exit 0: all settled. 1: some files are left. 2: the service refuses these credentials: tell the administrator.

set -eu
umask 077
: "${MQTT_HOST:?}" "${MQTT_PORT:?}" "${TOKEN_URL:?}" "${AUDIENCE:?}" "${INTEGRATION_ID:?}"
: "${CLIENT_ID:?}" "${CLIENT_SECRET:?}" "${API_KEY:?}"
name=${GATEWAY_ID:-gateway-shell}
attempts=${ATTEMPTS:-8}
renew_at=0
refusals=0
result=
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

stop() {
  echo "stopped: $1. Tell the administrator." >&2
  exit 2
}

# A fresh token. mosquitto_rr reads its options from a private file: on the command line everybody on this machine could
# see them, and so could they the client secret on curl's.
renew() {
  printf 'grant_type=client_credentials&client_id=%s&client_secret=%s&audience=%s' \
    "$CLIENT_ID" "$CLIENT_SECRET" "$AUDIENCE" | curl -sS -m 30 -d @- "$TOKEN_URL" > "$work/token" || return 1
  ! grep -q invalid_client "$work/token" || stop "no token for this client id and secret"
  token=$(sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p' "$work/token")
  lifetime=$(sed -n 's/.*"expires_in":\([0-9]*\).*/\1/p' "$work/token")
  [ -n "$token" ] && [ -n "$lifetime" ] || return 1
  renew_at=$(($(date +%s) + lifetime * 4 / 5))
  printf '%s\n' "-h $MQTT_HOST" "-p $MQTT_PORT" "-V mqttv5" "-q 1" "-i $name" "-u $API_KEY" "-P $token" \
    ${MQTT_CA_FILE:+"--cafile $MQTT_CA_FILE"} > "$work/mosquitto_rr"
}

# Publishes one file and waits for its result, which is left in $result. Fails when the same has to be sent again later.
# (-m, since mosquitto_rr 2.0 publishes nothing for -f and -s.)
publish() {
  [ "$(date +%s)" -lt "$renew_at" ] || renew || return 1
  result=$(XDG_CONFIG_HOME=$work mosquitto_rr -W 30 -m "$(cat "$1")" -t "grq/v1/$INTEGRATION_ID/readings" \
    -e "grq/v1/$INTEGRATION_ID/results/$name" 2> "$work/errors") || :
  case $result in
    *'"received":'*) return 0 ;;    # judged: what it calls accepted is on disk
    *'"status":429'*) return 1 ;;   # over the limit
    *'"status":40'* | *'"status":41'* | *'"status":42'*) return 0 ;; # refused for good
  esac
  case $(cat "$work/errors") in
    *'ot authori'* | *'ad User'*)
      renew_at=0
      refusals=$((refusals + 1))
      [ "$refusals" -lt 2 ] || stop "the credentials do not work (any more)" ;; # with a fresh token each time
  esac
  return 1
}

left=0
pause=1
for file in "$@"; do
  attempt=1
  until publish "$file"; do
    echo "$file: not acknowledged: $result $(cat "$work/errors" 2> /dev/null)" >&2
    [ "$attempt" -lt "$attempts" ] || { left=1; continue 2; }
    attempt=$((attempt + 1))
    sleep "$(awk -v s="$pause" 'BEGIN { srand(); print s * (1 + 0.3 * rand()) }')"
    pause=$((pause < 32 ? 2 * pause : 60))
  done
  pause=1
  refusals=0
  case $result in
    *'"rejected":0,'*) echo "$file: stored" ;;
    *) echo "$file: $result" ;;
  esac
  rm "$file"
done
exit $left
