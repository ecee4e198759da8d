# shellcheck shell=bash
# The local Kafka, MariaDB and Redis of one checkout: the part of ./dev that starts and stops them.
#
# Everything they need lies in .stack/: kafka/ mysql/ redis/ (configuration and data), log/, run/ (pids), and env (how
# to reach them, for scripts). No system service is used or touched.
# A server is ours if its pid is in .stack/run/ and its command line names the configuration file in this .stack/: a pid
# that the system gave to another process since, or a copied .stack/, is never mistaken for it.
# Kafka and MariaDB keep their data over stop, kill -9 and start; Redis is a cache and starts empty.

SERVERS=(kafka mysql redis)
START_SECONDS_MAX=120
STOP_SECONDS_MAX=30
LOG_BYTES_MAX=20000000

title_of() { case $1 in kafka) echo Kafka ;; mysql) echo MariaDB ;; redis) echo Redis ;; esac; }

titles_of() {
  local name text=
  for name in "$@"; do text+=", $(title_of "$name")"; done
  echo "${text#, }"
}

config_of() {
  case $1 in
    kafka) echo "$STACK/kafka/server.properties" ;;
    mysql) echo "$STACK/mysql/my.cnf" ;;
    redis) echo "$STACK/redis/redis.conf" ;;
  esac
}

# ---- Ports -----------------------------------------------------------------------------------------------------------
# Ten ports from port_base on: by KLINED_PORT_BASE, else where this checkout's servers were last, else by its path.
choose_ports() {
  local base=${KLINED_PORT_BASE:-} path=
  if [[ ! $base && -f $STACK/ports ]]; then
    { read -r base && IFS= read -r path; } <"$STACK/ports" || true
    [[ $path == "$ROOT" ]] || base=
  fi
  if [[ ! $base ]]; then
    base=$(cksum <<<"$ROOT")
    base=$((20000 + ${base%% *} % 1000 * 10))
  fi
  if [[ ! $base =~ ^[0-9]{4,5}$ ]] || ((base < 1024 || base > 65520)); then
    die "KLINED_PORT_BASE is '$base'; it must be a port from 1024 to 65520"
  fi
  port_base=$base
}

port_of() {
  case $1 in
    kafka) echo "$port_base" ;;
    controller) echo $((port_base + 1)) ;;
    mysql) echo $((port_base + 2)) ;;
    redis) echo $((port_base + 3)) ;;
    metrics) echo $((port_base + 4)) ;;  # for a klined that a script starts; nothing here uses it
    proxied) echo $((port_base + 5)) ;;  # Kafka's second listener, which names the proxy's port as its own:
    proxy) echo $((port_base + 6)) ;;    # here the chaos test listens, so that it can cut Kafka's connections
  esac
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

require_free_port() {
  local port owner other_base
  port=$(port_of "$2")
  port_answers "$port" || return 0
  owner=$(ss -Hltnp "sport = :$port" 2>/dev/null |
    sed -nE '1s/.*users:\(\("([^"]*)",pid=([0-9]+).*/ by \1 (pid \2)/p')
  other_base=$(((port_base + 1000) % 10000 + 20000))
  if [[ $(running_servers) ]]; then
    die "port $port, for $(title_of "$1"), is in use$owner; end that, or move all servers: ./dev down && KLINED_PORT_BASE=$other_base ./dev up"
  fi
  die "port $port, for $(title_of "$1"), is in use$owner; choose others: KLINED_PORT_BASE=$other_base ./dev up"
}

# ---- Processes -------------------------------------------------------------------------------------------------------
# Prints the pid of a server that runs; fails if it does not.
pid_of() {
  local pid
  pid=$(cat "$STACK/run/$1.pid" 2>/dev/null) && [[ $pid ]] || return 1
  grep -qaF -- "$(config_of "$1")" "/proc/$pid/cmdline" 2>/dev/null || return 1
  echo "$pid"
}

running_servers() {
  local name
  for name in "${SERVERS[@]}"; do
    if pid_of "$name" >/dev/null; then echo "$name"; fi
  done
}

# Two ./dev at once take turns. One that was interrupted amid its turn still has it when it cleans up.
lock=
lock_stack() {
  if [[ $lock ]]; then return 0; fi
  mkdir -p "$STACK"/{run,log,bin}
  exec {lock}>"$STACK/lock"
  flock -w 300 "$lock" || die "another ./dev up or down has been at work for 5 minutes; end it and try again"
}
unlock_stack() {
  exec {lock}>&-
  lock=
}

# launch <server> <command...>: runs it detached, in a session of its own, holding nothing of the caller's open.
launch() {
  local name=$1 log=$STACK/log/$1.log fd
  shift
  if [[ -f $log ]] && (($(stat -c %s "$log") > LOG_BYTES_MAX)); then mv "$log" "$log.1"; fi
  (
    trap - EXIT INT TERM HUP
    for fd in /proc/"$BASHPID"/fd/*; do
      fd=${fd##*/}
      if ((fd > 2 && fd != 255)); then exec {fd}>&-; fi
    done
    cd "$STACK" || exit
    exec env --default-signal=INT,QUIT setsid "$@" </dev/null >>"$log" 2>&1
  ) &
  echo $! >"$STACK/run/$name.pid"
  disown $!  # else bash reports its death as a job's
}

# Waits until a server answers: one that was just launched, or that runs.
await_answer() {
  local name=$1 log=$STACK/log/$1.log begin=$SECONDS
  until answers "$name"; do
    if ! kill -0 "$(cat "$STACK/run/$name.pid")" 2>/dev/null; then
      tail -n 15 "$log" >&2
      die "$(title_of "$name") ended while starting; its log, .stack/log/$name.log, says why"
    elif ((SECONDS - begin > START_SECONDS_MAX)); then
      tail -n 15 "$log" >&2
      die "$(title_of "$name") does not answer for $START_SECONDS_MAX s now; see .stack/log/$name.log, then ./dev down"
    fi
    sleep 0.1
  done
}

answers() {
  local port
  port=$(port_of "$1")
  case $1 in
    kafka) port_answers "$port" && [[ $(kcat -b "127.0.0.1:$port" -L -m 5 2>/dev/null) == *"broker 1 at"* ]] ;;
    mysql) mysql_root -e 'SELECT 1' >/dev/null 2>&1 ;;
    redis) [[ $(redis-cli -h 127.0.0.1 -p "$port" ping 2>/dev/null) == PONG ]] ;;
  esac
}

# ---- Kafka -----------------------------------------------------------------------------------------------------------
# The jars are shared by all of a user's checkouts, and never changed: another list of them is another folder.
kafka_libs() {
  local list
  list=$(cksum <"$ROOT/tools/kafka-pom.xml")
  echo "${XDG_CACHE_HOME:-$HOME/.cache}/klined/kafka-${list%% *}"
}

fetch_kafka() {
  local libs
  libs=$(kafka_libs)
  if [[ -d $libs ]]; then return 0; fi
  step "downloading Kafka (54 MB)" "$STACK/log/kafka-download.log" \
    "Maven could not download Kafka; is repo.maven.apache.org reachable?" \
    mvn -B -ntp -f "$ROOT/tools/kafka-pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$libs.$$"
  mv -T "$libs.$$" "$libs" 2>/dev/null || rm -rf "$libs.$$"  # another checkout was quicker
}

write_kafka_config() {
  cat >"$(config_of kafka)" <<END
# Written by ./dev up; changes are lost. One node that is broker and controller.
node.id=1
process.roles=broker,controller
listeners=PLAINTEXT://127.0.0.1:$(port_of kafka),PROXIED://127.0.0.1:$(port_of proxied),CONTROLLER://127.0.0.1:$(port_of controller)
advertised.listeners=PLAINTEXT://127.0.0.1:$(port_of kafka),PROXIED://127.0.0.1:$(port_of proxy)
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$(port_of controller)
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$STACK/kafka/data

# Topics are made on purpose; messages go up to 10 MiB.
auto.create.topics.enable=false
num.partitions=3
message.max.bytes=10485760
replica.fetch.max.bytes=10485760

# Input is replayed from its beginning, whenever its trades were made: nothing expires, any timestamp is right.
log.retention.ms=-1
log.retention.bytes=-1
log.message.timestamp.type=CreateTime
log.message.timestamp.before.max.ms=9223372036854775807
log.message.timestamp.after.max.ms=9223372036854775807

# After kill -9 the broker is let in again when its old session has ended: 9 s by default. A busy machine needs some.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000

# One broker, few clients: no replicas, no waiting for more members, small internal topics and buffers.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216

# Transactions of dead producers are looked for every second, not every ten.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
END
}

kafka_java() {
  local main_class=$1
  shift
  printf '%s\0' java -Xms256m -Xmx1g -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
    -Dlog4j2.configurationFile="$ROOT/tools/kafka-log4j2.properties" -cp "$(kafka_libs)/*" "$main_class" "$@"
}

kafka_version() { sed -nE 's|.*<kafka.version>(.*)</kafka.version>.*|\1|p' "$ROOT/tools/kafka-pom.xml"; }

# A Kafka does not start with what a newer one has written.
set_newer_kafka_data_aside() {
  local data=$STACK/kafka/data wrote aside
  [[ -d $data ]] || return 0
  wrote=$(cat "$STACK/kafka/version" 2>/dev/null) || wrote=4.3.0  # the last one before versions were noted
  [[ $(printf '%s\n' "$wrote" "$(kafka_version)" | sort -V | tail -n 1) != "$(kafka_version)" ]] || return 0
  aside=$STACK/kafka/data-$wrote-$(date +%s)
  mv "$data" "$aside"
  say "Kafka $wrote wrote the topics in .stack/kafka/data, which $(kafka_version) can't read: moved to ${aside#"$ROOT/"}; delete that if you don't miss them"
}

start_kafka() {
  local command cluster_id
  mkdir -p "$STACK/kafka"
  kafka_version >"$STACK/kafka/version"
  write_kafka_config
  if [[ ! -f $STACK/kafka/data/meta.properties ]]; then
    cluster_id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'Aa' | head -c 22)
    mapfile -d '' -t command < <(kafka_java kafka.tools.StorageTool format --ignore-formatted \
      --cluster-id "$cluster_id" --config "$(config_of kafka)")
    "${command[@]}" </dev/null >"$STACK/log/kafka-format.log" 2>&1 ||
      die "Kafka could not prepare its data folder; see .stack/log/kafka-format.log"
  fi
  mapfile -d '' -t command < <(kafka_java kafka.Kafka "$(config_of kafka)")
  launch kafka "${command[@]}"
}

# ---- MariaDB ---------------------------------------------------------------------------------------------------------
# A Unix socket's path has at most 107 characters.
mysql_socket() {
  local socket=$STACK/run/mysql.sock
  if ((${#socket} > 100)); then socket=$(mysql_socket_folder)/mysql.sock; fi
  echo "$socket"
}
mysql_socket_folder() { echo "/tmp/klined-$(id -u)-$(cksum <<<"$ROOT" | cut -d ' ' -f 1)"; }

# The database's administrator is the user who runs ./dev, known by the socket.
mysql_root() { mariadb --no-defaults --connect-timeout=5 --socket="$(mysql_socket)" --user="$(id -un)" "$@"; }

# A quarter of the machine's memory, 1 to 4 GiB: bench's largest tables have 2. It is taken as tables grow.
buffer_pool_mib() {
  awk '/^MemTotal/ {mib = int($2 / 4096); print (mib < 1024 ? 1024 : mib > 4096 ? 4096 : mib)}' /proc/meminfo
}

write_mysql_config() {
  cat >"$(config_of mysql)" <<END
# Written by ./dev up; changes are lost.
[mariadbd]
datadir=$STACK/mysql/data
socket=$(mysql_socket)
bind-address=127.0.0.1
port=$(port_of mysql)
skip-name-resolve
max_connections=500
max_allowed_packet=64M
character-set-server=utf8mb4
innodb_buffer_pool_size=$(buffer_pool_mib)M
innodb_log_file_size=1G
END
  # As root (in containers, on build servers) MariaDB wants to be told that this is meant.
  if ((EUID == 0)); then echo "user=root" >>"$(config_of mysql)"; fi
}

mariadbd_path() { PATH=$PATH:/usr/sbin command -v mariadbd; }

start_mysql() {
  local folder as_user=()
  mkdir -p "$STACK/mysql"
  write_mysql_config
  folder=$(dirname "$(mysql_socket)")
  if [[ $folder != "$STACK"/* ]]; then
    (umask 077 && mkdir -p "$folder")
    [[ -O $folder ]] || die "$folder belongs to another user; move this checkout to a shorter path"
  fi
  if [[ ! -d $STACK/mysql/data ]]; then
    rm -rf "$STACK/mysql/data.new"
    if ((EUID == 0)); then as_user=(--user=root); fi
    # A relative path, since the script stumbles over spaces in it.
    (cd "$STACK/mysql" && exec mariadb-install-db --no-defaults --datadir=./data.new --skip-test-db "${as_user[@]}" \
      --auth-root-authentication-method=socket --auth-root-socket-user="$(id -un)") \
      </dev/null >"$STACK/log/mysql-install.log" 2>&1 ||
      die "MariaDB could not make its data folder; see .stack/log/mysql-install.log"
    mv "$STACK/mysql/data.new" "$STACK/mysql/data"
  fi
  if [[ ! -f $STACK/mysql/password ]]; then
    (umask 077 && head -c 12 /dev/urandom | base64 | tr '+/' 'Aa' >"$STACK/mysql/password")
  fi
  launch mysql "$(mariadbd_path)" --defaults-file="$(config_of mysql)"
}

# The user may do anything to databases whose names begin with klined: tests make their own.
prepare_mysql() {
  local password log=.stack/log/mysql-prepare.log
  password=$(cat "$STACK/mysql/password")
  mysql_root >"$ROOT/$log" 2>&1 <<END || die "MariaDB refused its first commands; see $log"
CREATE DATABASE IF NOT EXISTS klined;
CREATE USER IF NOT EXISTS klined@'%';
ALTER USER klined@'%' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON \`klined%\`.* TO klined@'%';
END
}

# ---- Redis -----------------------------------------------------------------------------------------------------------
start_redis() {
  mkdir -p "$STACK/redis"
  cat >"$(config_of redis)" <<END
# Written by ./dev up; changes are lost. A cache: nothing is saved, the least used keys go first.
bind 127.0.0.1
port $(port_of redis)
dir "$STACK/redis"
daemonize no
databases 64
save ""
appendonly no
maxmemory 512mb
maxmemory-policy allkeys-lru
set-proc-title no
END
  # Debian's redis-tools has the server without the service: one program that acts by the name it is called by.
  ln -sfn /usr/bin/redis-check-rdb "$STACK/bin/redis-server"
  launch redis "$STACK/bin/redis-server" "$(config_of redis)"
}

# ---- What ./dev calls ------------------------------------------------------------------------------------------------
require_names() {
  local name
  for name in "$@"; do
    [[ " ${SERVERS[*]} " == *" $name "* ]] || die "there is no server '$name'; the servers are: ${SERVERS[*]}"
  done
}

write_env() {
  (umask 077 && : >"$STACK/env.new")
  cat >"$STACK/env.new" <<END
export KLINED_STACK_KAFKA=127.0.0.1:$(port_of kafka)
export KLINED_STACK_MYSQL_HOST=127.0.0.1
export KLINED_STACK_MYSQL_PORT=$(port_of mysql)
export KLINED_STACK_MYSQL_USER=klined
export KLINED_STACK_MYSQL_PASSWORD=$(cat "$STACK/mysql/password" 2>/dev/null)
export KLINED_STACK_MYSQL_DATABASE=klined
export KLINED_STACK_MYSQL_ROOT_USER=$(printf %q "$(id -un)")
export KLINED_STACK_MYSQL_ROOT_SOCKET=$(printf %q "$(mysql_socket)")
export KLINED_STACK_REDIS_HOST=127.0.0.1
export KLINED_STACK_REDIS_PORT=$(port_of redis)
export KLINED_STACK_KAFKA_PROXIED=127.0.0.1:$(port_of proxied)
export KLINED_STACK_KAFKA_PROXY_PORT=$(port_of proxy)
export KLINED_STACK_METRICS_PORT=$(port_of metrics)
END
  mv "$STACK/env.new" "$STACK/env"
}

stack_up() {
  require_names "$@"
  local names=("$@") missing=() name old_base
  if ((${#names[@]} == 0)); then names=("${SERVERS[@]}"); fi
  lock_stack
  choose_ports
  if [[ $(running_servers) && -f $STACK/ports ]]; then
    read -r old_base <"$STACK/ports"
    ((old_base == port_base)) || die "servers run on the ports from $old_base on; ./dev down first to change them"
  fi
  for name in "${names[@]}"; do
    pid_of "$name" >/dev/null || missing+=("$name")
  done
  if ((${#missing[@]} == 0)); then
    for name in "${names[@]}"; do await_answer "$name"; done
    say "already up: $(titles_of "${names[@]}")"
    unlock_stack
    return 0
  fi
  printf '%s\n%s\n' "$port_base" "$ROOT" >"$STACK/ports"
  if [[ " ${missing[*]} " == *" kafka "* ]]; then
    fetch_kafka
    set_newer_kafka_data_aside
  fi
  for name in "${missing[@]}"; do require_free_port "$name" "$name"; done
  if [[ " ${missing[*]} " == *" kafka "* ]]; then
    require_free_port kafka controller
    require_free_port kafka proxied
  fi

  begin "starting $(titles_of "${missing[@]}")"
  for name in "${missing[@]}"; do "start_$name"; done
  for name in "${names[@]}"; do await_answer "$name"; done
  if [[ " ${missing[*]} " == *" mysql "* ]]; then prepare_mysql; fi
  write_env
  finish
  unlock_stack
}

stack_describe() {
  local password
  password=$(cat "$STACK/mysql/password" 2>/dev/null) || password='(none yet)'
  choose_ports
  cat <<END
    Kafka    127.0.0.1:$(port_of kafka)
    MariaDB  127.0.0.1:$(port_of mysql), database and user klined, password $password
             as administrator: mariadb --socket=$(mysql_socket) --user=$(id -un)
    Redis    127.0.0.1:$(port_of redis)
    For scripts: source .stack/env
END
}

# SIGTERM to all of them, then SIGKILL to those that do not end.
stack_down() {
  require_names "$@"
  local names=("$@") running=() name deadline
  if ((${#names[@]} == 0)); then names=("${SERVERS[@]}"); fi
  if [[ ! -d $STACK ]]; then say "nothing runs"; return 0; fi
  lock_stack
  for name in "${names[@]}"; do
    if pid_of "$name" >/dev/null; then running+=("$name"); fi
  done
  if ((${#running[@]} == 0)); then say "nothing runs"; unlock_stack; return 0; fi
  begin "stopping $(titles_of "${running[@]}")"
  for name in "${running[@]}"; do kill -TERM "$(pid_of "$name")" 2>/dev/null || true; done
  deadline=$((SECONDS + STOP_SECONDS_MAX))
  for name in "${running[@]}"; do
    while pid_of "$name" >/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
  done
  end_hard "${running[@]}"
  finish
  unlock_stack
}

# True once a killed process has let go of all that it had. A dying one has no command line any more, but may still have
# its ports; a zombie without other threads has none.
is_gone() {
  local tasks=("/proc/$1/task/"*)
  [[ ! -e /proc/$1 ]] || { ((${#tasks[@]} == 1)) && grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"; }
}

# SIGKILL to those that still run, and waits until they are gone.
end_hard() {
  local name pid
  for name in "$@"; do
    if pid=$(pid_of "$name"); then
      kill -KILL "$pid" 2>/dev/null || true
      until is_gone "$pid"; do sleep 0.05; done
    fi
    rm -f "$STACK/run/$name.pid"
  done
}

stack_kill() {
  require_names "$@"
  (($#)) || die "which one? ./dev kill kafka, mysql or redis"
  local name
  lock_stack
  for name in "$@"; do
    pid_of "$name" >/dev/null || die "$(title_of "$name") does not run"
    end_hard "$name"
    say "killed $(title_of "$name")"
  done
  unlock_stack
}

stack_status() {
  choose_ports
  local name pid memory state
  printf '%-8s %-8s %8s %6s %10s %12s\n' server state pid port memory 'up for'
  for name in "${SERVERS[@]}"; do
    if pid=$(pid_of "$name"); then
      memory=$(awk '/^VmRSS/ {printf "%d MB", $2 / 1024}' "/proc/$pid/status")
      state=$(answers "$name" && echo up || echo silent)
      printf '%-8s %-8s %8s %6s %10s %12s\n' "$(title_of "$name")" "$state" "$pid" "$(port_of "$name")" "$memory" \
        "$(($(date +%s) - $(stat -c %Y "/proc/$pid"))) s"
    else
      printf '%-8s %-8s %8s %6s\n' "$(title_of "$name")" down - "$(port_of "$name")"
    fi
  done
}

# The newest lines; on a terminal also those that come.
stack_logs() {
  require_names "$@"
  local names=("$@") name files=() follow=()
  if ((${#names[@]} == 0)); then names=("${SERVERS[@]}"); fi
  for name in "${names[@]}"; do
    if [[ -f $STACK/log/$name.log ]]; then files+=("$STACK/log/$name.log"); fi
  done
  ((${#files[@]})) || die "there are no logs yet; ./dev up starts the servers"
  if [[ -t 1 ]]; then follow=(-F); fi
  tail -n 40 "${follow[@]}" "${files[@]}"
}

stack_delete() {
  local folder
  rm -rf "$STACK"
  folder=$(mysql_socket_folder)
  if [[ -O $folder ]]; then rm -rf "$folder"; fi
}
