# Sourced by scripts/manager-stack: the original's app proxy beside the manager, for `up --app-proxy`. Users reach apps of
# sessions through it. Ports: $port+6 to $port+15.
coordinator=$((port + 6)) worker=$((port + 7)) monitors=$((port + 8)) apps=$((port + 12)) apps_end=$((port + 15))

# fill_proxy FILE MONITOR: with the two ports of its monitor from MONITOR on.
fill_proxy() {
  fill "$parts/app-proxy/$1" | sed -e "s|@REDIS@|$redis|g" -e "s|@COORDINATOR@|$coordinator|g" -e "s|@WORKER@|$worker|g" \
    -e "s|@APPS@|$apps|g" -e "s|@APPS_END@|$apps_end|g" -e "s|@MONITOR@|$2|g" -e "s|@MONITOR_WEB@|$(($2 + 1))|g" >"$dir/$1"
}

# Its own database in the same PostgreSQL; it counts as made once its schema is whole.
app_proxy_up() {
  local modules one
  for one in coordinator:$coordinator worker:$worker; do
    if ! alive "${one%:*}" && listening "${one#*:}"; then die "port ${one#*:} is taken: choose others with --port"; fi
  done
  modules=$(bash "$parts/../app-proxy-env" "$version" "$python" 9>&- | tail -n 1)
  [ -d "$modules" ] || die 'scripts/app-proxy-env failed'
  umask 077
  fill_proxy coordinator.toml "$monitors"
  fill_proxy worker.toml $((monitors + 2))
  sed -e 's|ai.backend.manager.models|ai.backend.appproxy.coordinator.models|' -e 's|/backend$|/appproxy|' "$dir/alembic.ini" >"$dir/alembic-proxy.ini"
  umask 022
  if [ ! -e "$dir/proxy-database-made" ]; then
    database -d postgres -c 'drop database if exists appproxy' -c 'create database appproxy'
    (cd "$dir" && PYTHONPATH=$modules "$python" -m alembic -c alembic-proxy.ini upgrade head </dev/null >>"$dir/setup.log" 2>&1 9>&-) ||
      { tail -n 30 "$dir/setup.log" >&2; die 'the schema of the app proxy cannot be made'; }
    touch "$dir/proxy-database-made"
  fi
  for one in coordinator worker; do
    alive "$one" || launch "$one" env PYTHONPATH="$modules" "$python" -m "ai.backend.appproxy.$one.server" -f "$dir/$one.toml"
  done
  wait_port coordinator "$coordinator" 120
  wait_port worker "$worker" 120
  database -d backend -c "update scaling_groups set wsproxy_addr = 'http://127.0.0.1:$coordinator'"
}
