// The command line of `klined rebuild`.
#include <memory>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "klined/app/commands.hpp"
#include "klined/app/rebuild.hpp"
#include "klined/app/stop_signals.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/stream/connections.hpp"
#include "klined/stream/worker_thread.hpp"

namespace klined::app {

namespace {

constexpr int kDiffer = 1;

// Who is in the way; "" where nobody is.
Result<std::string> take_lock(GroupLock& lock, const Config& config) {
  Result<std::string> holder = lock.acquire_or_name_holder(Milliseconds(0));
  if (!holder || holder->empty()) return holder;
  spdlog::info("rebuild: another rebuild of group {} runs, or has just died ({}): looking again for {} s", config.group,
               *holder, GroupLock::kIdle.count());
  return lock.acquire_or_name_holder(GroupLock::kIdle);
}

int rebuild(const RebuildArguments& arguments) {
  StopSignals signals;
  const std::optional<Config> config = load_config_or_complain(arguments.config);
  if (!config) return kUsage;
  GroupLock lock(mysql_options(*config), fmt::format("rebuild of {}", config->group));
  const Result<std::string> holder = take_lock(lock, *config);
  if (!holder) return fail(holder.error());
  if (!holder->empty()) {
    complain(fmt::format("another rebuild of group {} runs ({})", config->group, *holder));
    return kUsage;
  }
  std::atomic<bool> stopping{false};
  signals.pass_to([&stopping] { stopping = true; }, config->engine.shutdown_timeout);
  WorkerThread keeper("lock");
  keeper.post([&lock, &stopping](const std::stop_token& stop) {
    while (WorkerThread::sleep(stop, GroupLock::kPing)) {
      if (lock.ping()) continue;
      const Result<std::string> other = lock.acquire_or_name_holder(Milliseconds(0));
      if (!other || other->empty()) continue;
      spdlog::error("another rebuild has begun while MySQL was away ({}): leaving it to that one", *other);
      stopping = true;
    }
  });
  Rebuild work(*config, arguments, stopping);
  const Status done = work.run();
  if (done) return arguments.dry_run && work.differences() > 0 ? kDiffer : kOk;
  if (arguments.dry_run) {
    complain(fmt::format("could not compare: {}", done.error().message));
    return kUsage;
  }
  complain(done.error().message);
  if (done.error().kind == ErrorKind::kFatal) return kUsage;
  complain("nothing is lost: run the same command again, it goes on where it was");
  return kFailed;
}

void add_options(CLI::App& command, RebuildArguments& arguments) {
  add_config_option(command, arguments.config);
  command
      .add_option("--from", arguments.from,
                  "Begin at the log's earliest offset (default), or at the first record of each partition whose "
                  "timestamp is at or after this time")
      ->type_name("earliest|TIME");
  command.add_flag("--dry-run", arguments.dry_run, "Build and compare only: print what would change, swap nothing");
  auto* const keep = command.add_flag("--keep-older", arguments.keep_older,
                                      "Candles whose trades the log no longer holds: take them over as they are");
  command.add_flag("--drop-older", arguments.drop_older, "… give them up")->excludes(keep);
  command.add_flag("--keep-old", arguments.keep_old, "Leave the old tables in the other schema, as before_<table>");
  command.add_flag("--restart", arguments.restart, "Delete what an earlier rebuild left there, and begin anew");
  command
      .add_option("--publish", arguments.publish,
                  "What goes to klines-… after the swap: the candles that changed, all, or none")
      ->type_name("changed|all|none")
      ->check(CLI::IsMember({"changed", "all", "none"}))
      ->capture_default_str();
  command.add_option("--schema", arguments.schema, "The schema (database) for the new tables; else <database>_rebuild")
      ->type_name("NAME");
  command.add_option("--limit", arguments.limit, "--dry-run: show so many rows")->type_name("N")->capture_default_str();
}

}  // namespace

CLI::App* add_rebuild(CLI::App& parent, int& exit_code) {
  auto arguments = std::make_shared<RebuildArguments>();
  CLI::App* const command = parent.add_subcommand(
      "rebuild",
      "Computes all candles anew beside the running job, then swaps the tables\n"
      "\n"
      "Replays the input with this config into tables of a schema of its own, catches up, and puts them in the place "
      "of\n"
      "those in use, offsets and all, by one atomic RENAME. Until then the job serves the old ones with its old "
      "config;\n"
      "nobody sees a table missing, half filled, or behind. For changed settings that candles depend on (intervals,\n"
      "chains, dedupe_window, max_lateness, max_future), or a mended input. Works without a running job, too.");
  add_options(*command, *arguments);
  set_manual(
      *command,
      "  klined rebuild -c new.yaml --dry-run\n"
      "  klined rebuild -c new.yaml\n"
      "  klined rebuild --from 2026-01-31T00:00:00Z --keep-older\n",
      "How to change a setting: write the new config beside the old one; `klined rebuild -c new.yaml`; put the new\n"
      "config in the job's place. At the swap a job that runs with the same settings goes on by itself, within some\n"
      "seconds; one with other settings ends with an error that says so: restart it with the new config (one that\n"
      "stands by with the new config takes over by itself).\n"
      "\n"
      "A rebuild may be killed at any moment: the same command goes on where it was, also after the swap. Other\n"
      "settings than it was begun with are refused; --restart begins anew. A schema that holds anything but this\n"
      "rebuild is refused.\n"
      "\n"
      "Candles that begin up to the log's first record's time + max_future + dedupe_window (or of --from's) may hold\n"
      "trades that are gone. A rebuild that would lose such candles is refused unless --keep-older or --drop-older\n"
      "says what to do with them. Kept ones go on growing under the new settings. Tables of new intervals have no "
      "older\n"
      "candles; those of intervals that the config no longer has go away with the old tables.\n"
      "\n"
      "After the swap each candle that differs from its old row is published as it is now, and Redis follows. Readers "
      "of\n"
      "topics keep the largest revision (count of trades): of candles that have fewer trades now, or other values "
      "with\n"
      "the same count, they can't know. Where a setting does that, give the new config another env, with --publish "
      "all,\n"
      "or let readers start over. Where candles have fewer trades, it ends when the job has gone on from the new\n"
      "tables (within some 30 s, where nothing comes in), since Redis is looked at once more then.\n"
      "\n"
      "Dead letters are not sent again. The swap waits for transactions on the tables (dumps, long SELECTs) for 1 s at "
      "a\n"
      "time, since everybody else waits behind it; then lets the job go on, and tries again, for 10 minutes.\n"
      "Needs as much memory as a job (engine.memory_limit), room for a second set of tables, and the rights of\n"
      "klined_rebuild in sql/user.sql.\n"
      "\n"
      "Exit status: 0 done; 1 not done, run it again; 2 refused: somebody must mend something. With --dry-run: 0 "
      "equal,\n"
      "1 differences, 2 could not.");
  command->callback([arguments, &exit_code] { exit_code = rebuild(*arguments); });
  return command;
}

}  // namespace klined::app
