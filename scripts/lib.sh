#!/usr/bin/env bash
# Shared by the scripts beside it: messages, root rights, ports, processes known by pid and start time.
# Sourced, never run. Needs bash and Linux's /proc.
set -euo pipefail

# Where Debian puts servers, for users whose PATH lacks it.
PATH="$PATH:/usr/sbin:/sbin"
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf '%s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: directly, or through sudo.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "'$*' needs root and there is no sudo: run this once as root"
  fi
}

port_is_busy() { [ -n "$(ss -H -ltn "sport = :$1")" ]; }

# Who listens on a port, for a message: `redis-server (pid 123)`.
port_owner() {
  local line
  line="$(ss -H -ltnp "sport = :$1" | head -n 1)"
  if [[ "$line" =~ \(\(\"([^\"]+)\",pid=([0-9]+) ]]; then
    printf '%s (pid %s)' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
  else
    printf 'a process of another user'
  fi
}

# A free port below the range from which the kernel takes outgoing ports, so that none is lost between choosing and binding.
free_port() {
  local port
  for _ in $(seq 1 200); do
    port=$((20000 + RANDOM % 12000))
    if [[ " ${CHOSEN_PORTS:-} " != *" $port "* ]] && ! port_is_busy "$port"; then
      printf '%s' "$port"
      return 0
    fi
  done
  die "no free port found between 20000 and 32000"
}

# When a process was started, in clock ticks since boot: with the pid, it names one process for ever.
process_start_time() {
  local stat fields
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
  # The command's name comes second, in parentheses, and may contain spaces.
  read -ra fields <<<"${stat##*) }"
  # A zombie is as good as gone.
  [ "${fields[0]}" != "Z" ] || return 1
  printf '%s' "${fields[19]}"
}

# pid_file_process FILE: prints the pid if the process that the file names is still that process.
pid_file_process() {
  local pid started
  [ -s "$1" ] || return 1
  read -r pid started <"$1" || return 1
  [ "$(process_start_time "$pid" || true)" = "$started" ] || return 1
  printf '%s' "$pid"
}

write_pid_file() {
  local started
  started="$(process_start_time "$2")" || return 1
  printf '%s %s\n' "$2" "$started" >"$1"
}
