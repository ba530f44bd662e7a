//! The words of the language: known keys, keys of later versions, and what peers call the same things.

/// The keys of one kind of table.
pub(super) struct Words {
    /// What the table is, for example `a stage`.
    pub of: &'static str,
    /// The keys that are read.
    pub known: &'static [&'static str],
    /// Keys of later versions.
    pub later: &'static [&'static str],
    /// What other tools write, and what to write here.
    pub foreign: &'static [(&'static [&'static str], Ours)],
}

/// What to write for a peer's word.
#[derive(Clone, Copy)]
pub(super) enum Ours {
    /// This key in its place.
    Key(&'static str),
    /// Something else, said in a sentence.
    Mend(&'static str),
}

impl Words {
    /// Returns whether a key that is not known was perhaps meant to be one of `keys`.
    pub(super) fn means(&self, key: &str, keys: &[&str]) -> bool {
        let peers = self.foreign.iter().filter(|(names, _)| names.contains(&key));
        let near = super::names::nearest(key, self.known.iter().copied());
        peers.map(|(_, ours)| ours).any(|ours| matches!(ours, Key(ours) if keys.contains(ours)))
            || near.is_some_and(|near| keys.contains(&near))
    }
}

use Ours::{Key, Mend};

const PIPELINE_MEND: Ours = Mend("write it in the table `[pipeline]`");

pub(super) const FILE: Words = Words {
    of: "a pipeline file",
    known: &["pipeline", "params", "env", "stages", "pools", "schedule"],
    later: &["secrets"],
    foreign: &[
        (
            &["stage", "steps", "step", "tasks", "task", "jobs", "job", "rules", "rule", "nodes", "targets"],
            Key("stages"),
        ),
        (&["parameters", "param", "vars", "variables", "args", "config", "inputs"], Key("params")),
        (&["environment", "environ", "envs"], Key("env")),
        (&["pool", "limits", "concurrency"], Key("pools")),
        (&["dag", "project", "workflow", "flow", "settings", "meta"], Key("pipeline")),
        (
            &["name", "description", "shell", "sandbox", "sandbox_require", "workdir", "on_failure"],
            PIPELINE_MEND,
        ),
        (&["schedules", "triggers", "trigger"], Key("schedule")),
        (
            &["cron", "every", "at", "catchup", "timezone", "sensors", "after"],
            Mend("write it in the table `[schedule]`"),
        ),
    ],
};

pub(super) const PIPELINE: Words = Words {
    of: "`[pipeline]`",
    known: &["name", "description", "shell", "sandbox", "sandbox_require", "workdir", "on_failure"],
    later: &["network"],
    foreign: &[
        (&["title", "id", "dag_id"], Key("name")),
        (&["desc", "doc", "help", "comment"], Key("description")),
        (
            &["dir", "cwd", "working_dir", "working_directory", "work_dir", "wdir", "root", "basedir"],
            Key("workdir"),
        ),
        (&["isolation"], Key("sandbox")),
        (
            &["params", "env", "stages", "pools", "schedule"],
            Mend("write it as a table of its own, beside `[pipeline]`"),
        ),
        (
            &["cron", "every", "catchup", "timezone", "start_date", "schedule_interval"],
            Mend("write it in the table `[schedule]`"),
        ),
    ],
};

pub(super) const STAGE: Words = Words {
    of: "a stage",
    known: &[
        "run",
        "inputs",
        "outputs",
        "stdout",
        "env",
        "pass_env",
        "tools",
        "salt",
        "shell",
        "matrix",
        "needs",
        "retries",
        "timeout",
        "kill_after",
        "cache",
        "resources",
        "priority",
        "sandbox",
        "records",
        "description",
        "effect",
        "on_failure",
    ],
    later: &["foreach", "when", "secrets", "executor", "network"],
    foreign: &[
        (&["schedule", "cron"], Mend("a pipeline is scheduled as a whole: write `[schedule]` at the top")),
        (
            &[
                "cmd",
                "command",
                "commands",
                "cmds",
                "script",
                "exec",
                "bash",
                "sh",
                "shell_command",
                "bash_command",
                "recipe",
                "do",
            ],
            Key("run"),
        ),
        (
            &[
                "deps",
                "dependencies",
                "dependency",
                "input",
                "source",
                "sources",
                "src",
                "srcs",
                "reads",
                "files",
                "requires_files",
            ],
            Key("inputs"),
        ),
        (
            &[
                "outs",
                "out",
                "output",
                "artifacts",
                "artifact",
                "produces",
                "target",
                "targets",
                "products",
                "writes",
                "creates",
            ],
            Key("outputs"),
        ),
        (
            &[
                "depends",
                "depends_on",
                "depends-on",
                "dependsOn",
                "after",
                "requires",
                "upstream",
                "wait_for",
                "parents",
            ],
            Mend(
                "stages that read another's outputs wait for it by themselves; for any other, write `needs = [\"stage\"]`",
            ),
        ),
        (&["environment", "environ", "envs", "vars", "variables", "env_vars"], Key("env")),
        (&["passenv", "env_passthrough", "pass_through", "passthrough"], Key("pass_env")),
        (&["retry", "max_attempts", "attempts", "max_retries", "retry_policy"], Key("retries")),
        (
            &["time_limit", "max_time", "walltime", "execution_timeout", "timeout_sec", "timeout_seconds"],
            Key("timeout"),
        ),
        (&["desc", "doc", "help", "comment", "title", "message"], Key("description")),
        (&["strategy", "parallel", "for_each", "expand", "map", "wildcards"], Key("matrix")),
        (
            &["threads", "cpus", "cpu", "memory", "mem", "mem_mb", "pool"],
            Mend("write `resources = { cpus = 1, memory = \"1GiB\", pool = \"db\" }`"),
        ),
        (
            &["cwd", "dir", "wdir", "workdir", "working_dir", "working_directory"],
            Mend("write `workdir` in `[pipeline]`, or `cd` in `run`"),
        ),
        (
            &["always_changed", "always", "always_run", "force", "phony"],
            Mend("write `cache = false` to execute it in each run"),
        ),
        (
            &["params", "parameters", "param"],
            Mend("write params in the table `[params]`; a stage depends on those that its templates name"),
        ),
        (
            &["container", "image", "docker", "conda", "executor_config"],
            Mend("stages run on this machine; other executors come in a later version"),
        ),
        (&["name", "id"], Mend("a stage's name is the key of its table: `[stages.NAME]`")),
        (
            &["log", "logs", "stderr"],
            Mend(
                "what a command prints is kept by itself: see `cairn logs`; `stdout = \"path\"` makes an output of it",
            ),
        ),
        (&["metrics", "plots"], Key("outputs")),
        (&["condition", "if"], Mend("`when` comes in a later version")),
        (&["interpreter", "executable"], Key("shell")),
    ],
};

pub(super) const RETRIES: Words = Words {
    of: "`retries`",
    known: &["attempts", "delay", "backoff", "max_delay", "jitter"],
    later: &[],
    foreign: &[
        (
            &["limit", "max", "count", "max_attempts", "retries", "max_retries", "tries", "times"],
            Key("attempts"),
        ),
        (&["interval", "retry_delay", "wait", "sleep", "interval_sec"], Key("delay")),
        (&["cap", "max_interval", "max_wait"], Key("max_delay")),
        (&["strategy", "policy"], Key("backoff")),
    ],
};

pub(super) const RECORDS: Words = Words {
    of: "`records`",
    known: &[
        "source",
        "format",
        "key",
        "version",
        "tombstone",
        "worker",
        "workers",
        "timeout",
        "batch",
        "on_change",
        "retries",
        "commit",
        "sink",
    ],
    later: &[],
    foreign: &[
        (&["sources", "input", "inputs", "path", "file", "files", "from", "src"], Key("source")),
        (&["keys", "primary_key", "unique_key", "id", "merge_key", "upsert_key"], Key("key")),
        (&["cursor", "updated_at", "sequence", "incremental", "watermark", "order_by"], Key("version")),
        (&["delete", "deleted", "hard_delete", "soft_delete"], Key("tombstone")),
        (&["run", "cmd", "command", "script", "transform", "processor", "map"], Key("worker")),
        (&["parallelism", "concurrency", "processes", "threads"], Key("workers")),
        (&["batch_size", "chunk", "chunk_size"], Key("batch")),
        (&["retry", "max_attempts", "max_retries"], Key("retries")),
        (&["sinks", "output", "outputs", "destination", "target", "to"], Key("sink")),
    ],
};

pub(super) const SINK: Words = Words {
    of: "a sink",
    known: &["type", "path", "url", "table", "mode", "key", "columns", "method", "batched", "headers"],
    later: &[],
    foreign: &[
        (&["kind", "driver", "connector"], Key("type")),
        (&["file", "filename"], Key("path")),
        (&["uri", "dsn", "connection", "database_url", "endpoint"], Key("url")),
        (&["relation", "into"], Key("table")),
        (&["write_disposition", "strategy", "on_conflict"], Key("mode")),
        (&["keys", "primary_key", "unique_key", "conflict_key"], Key("key")),
        (&["types", "schema", "dtypes"], Key("columns")),
        (&["verb"], Key("method")),
        (&["header"], Key("headers")),
    ],
};

pub(super) const RESOURCES: Words = Words {
    of: "`resources`",
    known: &["cpus", "memory", "pool"],
    later: &["gpus", "disk"],
    foreign: &[
        (&["cpu", "threads", "cores", "nproc"], Key("cpus")),
        (&["mem", "mem_mb", "ram", "mem_gb"], Key("memory")),
        (&["queue", "slots"], Key("pool")),
    ],
};

pub(super) const CACHE: Words = Words {
    of: "`cache`",
    known: &["ttl"],
    later: &[],
    foreign: &[(&["max_age", "expires", "expire", "expiration"], Key("ttl"))],
};

pub(super) const EFFECT: Words = Words {
    of: "`effect`",
    known: &["mode", "key", "confirm", "probe", "undo", "on_uncertain"],
    later: &[],
    foreign: &[
        (&["semantics", "delivery", "guarantee"], Key("mode")),
        (&["idempotency_key", "id", "name", "token"], Key("key")),
        (&["check", "verify", "took_place", "exists"], Key("confirm")),
        (&["state", "fingerprint", "observe"], Key("probe")),
        (&["compensate", "compensation", "revert", "rollback"], Key("undo")),
        (&["on_unknown", "uncertain", "in_doubt"], Key("on_uncertain")),
        (
            &["run", "cmd", "command"],
            Mend("the stage's own `run` does it; `confirm`, `probe` and `undo` go with it"),
        ),
    ],
};

pub(super) const SCHEDULE: Words = Words {
    of: "`[schedule]`",
    known: &[
        "cron",
        "every",
        "at",
        "timezone",
        "catchup",
        "catchup_window",
        "overlap",
        "jitter",
        "start",
        "end",
        "stop_after_failures",
        "retries",
        "after",
        "sensors",
        "priority",
        "retry_dead",
        "retry_dead_max",
        "check_drift",
    ],
    later: &[],
    foreign: &[
        (&["expression", "expr", "cron_expression", "crontab", "schedule_interval"], Key("cron")),
        (&["interval", "period", "rate", "frequency", "each"], Key("every")),
        (&["time", "times", "on", "once", "dates"], Key("at")),
        (&["tz", "time_zone", "timeZone", "zone", "cron_timezone"], Key("timezone")),
        (&["backfill", "misfire", "catch_up"], Key("catchup")),
        (
            &["starting_deadline", "startingDeadlineSeconds", "misfire_grace_time", "window"],
            Key("catchup_window"),
        ),
        (&["concurrency_policy", "concurrencyPolicy", "concurrency", "max_active_runs"], Key("overlap")),
        (&["splay", "random_delay", "delay"], Key("jitter")),
        (&["start_date", "start_at", "from", "anchor", "anchor_date", "not_before"], Key("start")),
        (&["end_date", "end_at", "until", "to", "not_after"], Key("end")),
        (
            &["stop_after", "max_failures", "pause_after", "max_consecutive_failed_runs"],
            Key("stop_after_failures"),
        ),
        (&["retry", "retry_policy", "max_retries", "run_retries"], Key("retries")),
        (&["depends_on", "upstream", "pipelines", "after_pipelines", "needs"], Key("after")),
        (&["sensor", "triggers", "events", "watch"], Key("sensors")),
        (&["weight"], Key("priority")),
        (&["dead_retry", "retry_dead_letters", "redrive", "redrive_policy"], Key("retry_dead")),
        (
            &["dead_max", "max_dead_retries", "retry_dead_attempts", "max_receive_count"],
            Key("retry_dead_max"),
        ),
        (&["drift", "drift_check", "check_effects", "probe", "probe_interval"], Key("check_drift")),
    ],
};

pub(super) const SENSOR: Words = Words {
    of: "a sensor",
    known: &["files", "command", "url", "webhook", "poll", "settle"],
    later: &[],
    foreign: &[
        (&["file", "path", "glob", "pattern", "watch"], Key("files")),
        (&["run", "cmd", "script"], Key("command")),
        (&["http", "https", "uri", "address", "endpoint"], Key("url")),
        (&["hook", "web_hook", "name"], Key("webhook")),
        (&["every", "interval", "poll_interval", "poke_interval"], Key("poll")),
        (&["debounce", "stable", "quiet"], Key("settle")),
    ],
};

pub(super) const PARAM: Words = Words {
    of: "a param",
    known: &["default", "choices", "help"],
    later: &[],
    foreign: &[
        (&["value"], Key("default")),
        (&["description", "desc", "doc"], Key("help")),
        (&["enum", "options", "values", "allowed"], Key("choices")),
        (&["type"], Mend("a param has the type of its default")),
    ],
};

pub(super) const INPUT: Words = Words {
    of: "an input",
    known: &["path", "env", "command", "stage", "optional"],
    later: &["url"],
    foreign: &[
        (&["file", "folder", "dir", "directory", "glob", "pattern"], Key("path")),
        (&["variable", "var", "environment"], Key("env")),
        (&["cmd", "run", "shell"], Key("command")),
        (&["task", "job", "rule", "from"], Key("stage")),
        (&["required"], Mend("inputs are required; write `optional = true` for one that is not")),
    ],
};
