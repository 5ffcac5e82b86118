#!/bin/sh
# Runs a command, and runs it again each time that it is ended by SIGKILL: by its watchdog, if its event loop was
# blocked, or by the kernel, if memory was exhausted. After any other end this script ends with the same exit code.
# `npm start` uses it. A container needs no such script: its runtime restarts it.
KILLED=137 # 128 + SIGKILL
stopping=
trap 'stopping=yes; kill -TERM "$pid" 2>/dev/null' TERM INT HUP
while :; do
  "$@" &
  pid=$!
  wait "$pid"
  code=$?
  # A signal ends `wait` before the command has ended.
  while kill -0 "$pid" 2>/dev/null; do
    wait "$pid"
    code=$?
  done
  if [ "$code" != "$KILLED" ] || [ -n "$stopping" ]; then exit "$code"; fi
  echo '{"level":50,"name":"start","msg":"the server was killed and is started again"}'
  sleep 1
done
