//! RocksDB's settings, each with its reason.

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, InfoLogger, LogLevel,
    Options as RocksOptions,
};

use crate::keys::Family;
use crate::tally;

/// Bytes of blocks that are kept in memory, all families together.
const CACHE_BYTES: usize = 8 << 20;
/// Bytes that are written before they are sorted into a table, one family.
const WRITE_BUFFER_BYTES: usize = 4 << 20;
/// The same, all families together.
const WRITE_BUFFERS_BYTES: usize = 16 << 20;
/// Bytes of a table, of families that are written in the order of their keys.
const TABLE_BYTES: u64 = 8 << 20;
/// Bytes of logs that an open may have to read again.
const LOGS_BYTES: u64 = 8 << 20;

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Writing,
    Reading,
}

/// The settings of a database and of its families, which share a cache.
pub(super) struct Options {
    database: RocksOptions,
    cache: Cache,
}

impl Options {
    pub(super) fn new(purpose: For) -> Self {
        // These have no function of their own. At open the log is read into memory and left as it is: to write a small
        // table for each family there takes longer, and would be done again at the next open. The host's name, which
        // each table would hold, is nobody's business.
        let settings = "avoid_flush_during_recovery=true;write_identity_file=false;db_host_id=cairn";
        let mut database = RocksOptions::default()
            .get_options_from_string(settings)
            .expect("all are options of the RocksDB that is linked");

        // A byte that changed is an error. The default mode stops at it and drops what follows, and two more let it
        // pass; the strictest refuses a store whose last write was cut off by a crash.
        database.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        database.set_recycle_log_file_num(0);
        database.set_track_and_verify_wals_in_manifest(true);
        database.set_paranoid_checks(true);

        database.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
        database.set_max_total_wal_size(LOGS_BYTES);
        database.set_max_background_jobs(2);
        // Sixteen threads a family open tables by default: starting them takes longer than the few tables do.
        database.set_max_file_opening_threads(1);
        database.set_skip_stats_update_on_db_open(true);
        database.set_stats_dump_period_sec(0);
        database.set_stats_persist_period_sec(0);
        database.set_manifest_preallocation_size(16 << 10);
        database.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, log));
        match purpose {
            For::Writing => {
                database.create_if_missing(true);
                database.create_missing_column_families(true);
                database.set_max_open_files(256);
            }
            // All tables are held open: the writer may delete them meanwhile.
            For::Reading => database.set_max_open_files(-1),
        }
        Self { database, cache: Cache::new_lru_cache(CACHE_BYTES) }
    }

    pub(super) fn database(&self) -> &RocksOptions {
        &self.database
    }

    /// Returns each family's name and settings.
    pub(super) fn families(&self) -> Vec<(&'static str, RocksOptions)> {
        Family::ALL.into_iter().map(|family| (family.name(), self.family(family))).collect()
    }

    fn family(&self, family: Family) -> RocksOptions {
        let mut options = RocksOptions::default();
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        // Memory is taken in steps of this: a family that is hardly used costs no more.
        options.set_arena_block_size(64 << 10);
        options.set_merge_operator_associative("tally", tally::merge);
        options.set_max_successive_merges(16);
        options.set_paranoid_checks(true);
        options.set_compression_type(compression(family));
        if family == Family::RecordStates {
            // Pages are filled in the order of their keys, but each batch also counts itself under the last one: the table that
            // holds it is written anew each time, the others are moved as they are.
            options.set_target_file_size_base(TABLE_BYTES);
            options.set_target_file_size_multiplier(2);
        }
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(16 << 10);
        if has_filter(family) {
            table.set_bloom_filter(10.0, false);
        }
        options.set_block_based_table_factory(&table);
        options
    }
}

/// Preimages, definitions and paths repeat themselves; digests, counts and stamps do not.
const fn compression(family: Family) -> DBCompressionType {
    match family {
        Family::Runs
        | Family::Events
        | Family::Definitions
        | Family::Checkpoints
        | Family::Disputes
        | Family::Placed
        | Family::Effects
        | Family::Notes
        | Family::Dead
        | Family::RecordScopes
        | Family::Outbox
        | Family::Tickets
        | Family::Occurrences => DBCompressionType::Zstd,
        Family::Meta
        | Family::Latest
        | Family::Attempts
        | Family::FileRows
        | Family::Durations
        | Family::RecordStates
        | Family::Queue
        | Family::Schedules
        | Family::Submissions => DBCompressionType::None,
    }
}

/// Families that are asked for keys they often do not have.
const fn has_filter(family: Family) -> bool {
    matches!(family, Family::Checkpoints | Family::FileRows | Family::Placed | Family::RecordStates)
}

/// Passes on what RocksDB says, for who wants to know more: whatever goes wrong comes back as an error as well, and is
/// told once, in our words.
fn log(level: LogLevel, text: &str) {
    match level {
        LogLevel::Warn | LogLevel::Error | LogLevel::Fatal => tracing::info!("RocksDB: {}", text.trim_end()),
        // What it says of its settings has a level of its own, above all others.
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => {}
    }
}
