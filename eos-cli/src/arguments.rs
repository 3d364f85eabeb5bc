//! What can be asked for on the command line. The comments of fields are what `--help` says.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::ensure;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use eos_runtime::dead_letters::{Selection, State};

const AFTER_HELP: &str = "\
Where the database is: --database-url, else the variable EOS_DATABASE_URL, else `url` under [database] in eos.toml (or in the \
file that EOS_CONFIG names), else DATABASE_URL: as for a service. The schema: --schema, else EOS__DATABASE__SCHEMA, else `schema` under \
[database], else `public` on PostgreSQL and nothing elsewhere.

Exit code:
  0  done; an empty list is done, too, and so is a check that finds no problem
  1  what was named is not there, as in `show 17` where there is no 17; a group that is to be moved runs; a check found a problem
  2  wrong arguments, or trouble: no server, no tables, no right

First steps on call:
  eos check                                           what is wrong, and how to mend it
  eos dead-letters list                               what could not be handled, and why
  eos dead-letters show 17                            everything about one of them
  eos dead-letters replay --group billing --dry-run   what would be handled again
  eos parked list                                     what waits for its turn, and behind what
  eos outbox list                                     what Kafka refused
  eos positions show --group billing                  how far the group has come

While the group is stopped:
  eos positions reset --group billing --to 2h --dry-run              what handling the last two hours again would do
  eos positions copy --from-group billing --to-group invoicing       rename a group without doing anything twice";

/// Looks into the tables of services built with eos, and mends what waits for a person
///
/// Most of it needs only the database: services go on running, and what it changes are marks on rows, which they act upon
/// within seconds. What moves a group, or checks a system, asks Kafka too.
#[derive(Debug, Parser)]
#[command(name = "eos", version, arg_required_else_help = true, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,

    /// Print JSON for scripts in place of text for people
    #[arg(long, global = true, help_heading = None::<&'static str>)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the tables are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the tables are")]
pub(crate) struct Place {
    /// The database: postgres://…, mysql://…, mariadb://… or sqlite://… (better in EOS_DATABASE_URL: other users of a
    /// machine can see arguments)
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,

    /// Where in it the tables of eos are: a schema of PostgreSQL, a database of MySQL
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) schema: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Records that no attempt could handle: list, show, edit, replay, discard
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),

    /// Records that wait in order behind one of their key that failed: list, retry, discard
    #[command(subcommand)]
    Parked(ParkedCommand),

    /// Events that Kafka refused: list, retry, discard
    #[command(subcommand)]
    Outbox(OutboxCommand),

    /// How far each group has come: show; of a stopped one also reset, copy
    #[command(subcommand)]
    Positions(PositionsCommand),

    /// Look at everything that a service depends on, and say what is wrong with it, and how to mend it
    ///
    /// It reads the settings as a service would, here and now, asks the databases and Kafka that they name, and looks at
    /// tables, rights, long transactions, topics, and at each group's positions in them. It changes nothing. Everything is
    /// looked at, whatever else fails.
    ///
    /// Exit code: 0 where there is no problem, 1 where there is one (with `--strict` also where there is a warning), 2 where
    /// the arguments are wrong.
    Check {
        #[command(flatten)]
        brokers: Brokers,

        /// Look at this topic, too; those in which a group has positions are looked at in any case (repeatable)
        #[arg(long, value_name = "TOPIC")]
        topic: Vec<String>,

        /// Report transactions that have been open for so long: dead rows stay in the tables meanwhile
        #[arg(long, value_name = "TIME", default_value = "10min", value_parser = humantime::parse_duration)]
        old: Duration,

        /// Exit with 1 for warnings, too
        #[arg(long)]
        strict: bool,
    },

    /// Make the tables of eos, or bring them up to date
    ///
    /// Services do it by themselves, unless `migrate = "check"` stands under `[database]`. It adds what is missing, changes
    /// nothing that is there, and can be repeated.
    Migrate {
        /// Print the SQL in place of running it; no server is asked
        #[arg(long)]
        print: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List them, the oldest first: those that are dead, and those that wait for their replay
    List {
        /// These alone, by their numbers
        #[arg(value_name = "ID")]
        numbers: Vec<i64>,

        #[command(flatten)]
        filters: Filters,

        /// In this state (repeatable); without it, dead and wanted
        #[arg(long, value_name = "STATE", value_enum)]
        state: Vec<StateName>,

        /// So many at most, the oldest
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },

    /// Show everything about one: headers, key, payload, and the chain of causes
    Show {
        /// Its number, as `list` says it
        #[arg(value_name = "ID")]
        id: i64,
    },

    /// Have dead ones handled again, by the running listeners of their group
    ///
    /// It marks rows. A listener that reads the record's partition takes them up within seconds, and handles each once,
    /// however often this is asked for. One that fails again is dead again, with the new causes. Mend the cause first: a
    /// record that failed because of a bug fails again until the mended service runs.
    Replay(DeadLettersChange),

    /// Mark those that nobody wants handled; they stay in the table
    ///
    /// Takes those that are dead, and those that wait for their replay. It cannot be taken back by this tool.
    Discard(DeadLettersChange),

    /// Give one another payload, for its replay; the one that came is kept beside it
    ///
    /// Afterwards `eos dead-letters replay ID` has it handled. Key and headers stay as they are.
    Edit {
        /// Its number, as `list` says it
        #[arg(value_name = "ID")]
        id: i64,

        #[command(flatten)]
        payload: Payload,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// List them in their order; the first of each key is the one that is tried
    ///
    /// A listener with `on_failure = "park"` parks a record that fails with the later ones of its key, and tries them again by
    /// itself, in order, while other keys go on. REASON is why the last attempt failed, or `behind`.
    List {
        /// These alone, by their numbers
        #[arg(value_name = "ID")]
        numbers: Vec<i64>,

        #[command(flatten)]
        filters: Filters,

        /// So many at most, the oldest
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },

    /// Have their keys tried now, in place of at the end of their waits; order and attempts stay
    ///
    /// It marks rows. A listener that reads the record's partition takes them up within seconds.
    Retry(Change),

    /// Mark those that nobody wants handled; they stay in the table, and what is behind them has its turn
    ///
    /// It cannot be taken back by this tool.
    Discard(Change),
}

/// Which of them are meant: all that fulfil everything that is said
#[derive(Debug, Args)]
#[command(next_help_heading = "Which of them (all that fulfil everything that is said)")]
pub(crate) struct Filters {
    /// Of this group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,

    /// Of this topic
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,

    /// Set aside since then: `2h`, `3days`, or a time in UTC as `2026-11-26T17:50:46Z`
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<SystemTime>,

    /// With this key, as text
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,

    /// Set aside for this reason
    #[arg(long, value_name = "REASON",
          value_parser = PossibleValuesParser::new(["poison", "failed", "overran", "panicked", "killed", "behind"]))]
    pub(crate) reason: Option<String>,

    /// With this number (repeatable)
    #[arg(long, value_name = "ID")]
    pub(crate) id: Vec<i64>,
}

/// What a replay or a discard of dead letters is about.
#[derive(Debug, Args)]
pub(crate) struct DeadLettersChange {
    #[command(flatten)]
    pub(crate) change: Change,

    /// In this state; a replay takes dead ones only
    #[arg(long, value_name = "STATE", value_enum)]
    pub(crate) state: Vec<StateName>,
}

/// What is to be changed.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// These alone, by their numbers
    #[arg(value_name = "ID")]
    pub(crate) numbers: Vec<i64>,

    #[command(flatten)]
    pub(crate) filters: Filters,

    /// All of them, where no filter is given
    #[arg(long, conflicts_with_all = ["numbers", "group", "topic", "since", "key", "reason", "id"])]
    pub(crate) all: bool,

    /// So many at most, the oldest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,

    /// Say how many and which, and change nothing
    #[arg(long, help_heading = None::<&'static str>)]
    pub(crate) dry_run: bool,
}

/// Another payload.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Payload {
    /// A file whose bytes are the payload, as they are; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_file: Option<PathBuf>,

    /// No payload: the record becomes a tombstone
    #[arg(long)]
    pub(crate) tombstone: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// List what Kafka refused, the oldest first, with its reason
    ///
    /// Later events of the same key wait behind it, unless `on_undeliverable = "skip"` stands under `[outbox]`.
    List,

    /// Have refused events tried again
    ///
    /// Mend the cause first: the topic, its limit for the size of a message, or the relay's rights on it. What is refused
    /// because its topic is missing or forbidden is tried again without this.
    Retry(Which),

    /// Delete refused events: they are never published, and what waits behind them goes on
    ///
    /// It cannot be taken back. `eos outbox list --json` says everything about them; keep that.
    Discard(Which),
}

/// Which refused events.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// By their numbers, as `list` says them
    #[arg(value_name = "SEQ")]
    pub(crate) seqs: Vec<i64>,

    /// All that are refused now
    #[arg(long, conflicts_with = "seqs")]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PositionsCommand {
    /// Show where each group goes on in each partition
    ///
    /// NEXT OFFSET is the first that is not done; EPOCH counts how often a process took the partition; ATTEMPTS are those
    /// at the next record, as far as the database counts them. Kafka's own tools show a position a little later.
    Show {
        /// Of this group
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,

        /// Of this topic
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
    },

    /// Send a stopped group elsewhere in its topics; refused while it runs
    ///
    /// The database decides where a transactional listener goes on, whatever Kafka's own tools have set. A group that has
    /// never run can be sent somewhere, too, where `--topic` is named. Whatever process still had the partition, asleep
    /// perhaps, is fenced. What is read again is handled again only where it has no message id, or with `--forget-inbox`.
    /// A plain listener's position is Kafka's: use `kafka-consumer-groups --reset-offsets` for it.
    Reset(Reset),

    /// Give a stopped group's positions and message ids to another, to rename it; refused while either runs
    ///
    /// The other goes on where the first one ended, and takes for done what that one did. The first keeps its own positions,
    /// and its dead letters: handle those before you rename it.
    Copy(Copy),
}

/// Where a group is sent.
#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Where to: `beginning`, `end`, an offset as `4200`, how long ago as `2h`, or a time in UTC as `2026-11-26T17:50:46Z`
    #[arg(long, value_name = "WHERE", value_parser = goal)]
    pub(crate) to: Goal,

    /// Which group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: String,

    /// In this topic; without it in all in which the group has positions
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,

    /// In this partition (repeatable); without it in all of the topic
    #[arg(long, value_name = "NUMBER", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partition: Vec<i32>,

    /// Forget the ids of what is done, so that what is read again is handled again. The inbox does not know partitions, so
    /// this is for whole topics; what is set aside stays so
    #[arg(long, conflicts_with = "partition")]
    pub(crate) forget_inbox: bool,

    /// Also where the positions speak of another Kafka cluster's log, as after a move to a new one
    #[arg(long)]
    pub(crate) other_cluster: bool,

    #[command(flatten)]
    pub(crate) brokers: Brokers,

    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// From where to where.
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Which group has the positions
    #[arg(long, value_name = "GROUP")]
    pub(crate) from_group: String,

    /// Which is to have them
    #[arg(long, value_name = "GROUP")]
    pub(crate) to_group: String,

    /// Of this topic; without it of all
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,

    /// Also where the other group has positions, which are lost
    #[arg(long)]
    pub(crate) replace: bool,

    #[command(flatten)]
    pub(crate) brokers: Brokers,

    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Where Kafka is.
#[derive(Debug, Args)]
pub(crate) struct Brokers {
    /// Kafka's brokers, as `host:port` (more, separated by commas). Without it as for a service: EOS_KAFKA_BOOTSTRAP_SERVERS,
    /// else `bootstrap_servers` under [kafka] in eos.toml, with the properties there
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,
}

/// Where a reset goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The first record that is still there.
    Beginning,
    /// Behind the last one that there is.
    End,
    /// An offset.
    Offset(i64),
    /// The first record of that time or later.
    Time(SystemTime),
}

/// A state by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateName {
    /// It waits until somebody looks
    Dead,
    /// It waits for its turn, and is tried again by itself
    Parked,
    /// It is to be handled again
    Wanted,
    /// It was handled after all
    Replayed,
    /// Nobody wants it handled
    Discarded,
}

impl StateName {
    pub(crate) const ALL: [StateName; 5] =
        [StateName::Dead, StateName::Parked, StateName::Wanted, StateName::Replayed, StateName::Discarded];

    pub(crate) fn state(self) -> State {
        match self {
            StateName::Dead => State::Dead,
            StateName::Parked => State::Parked,
            StateName::Wanted => State::Wanted,
            StateName::Replayed => State::Replayed,
            StateName::Discarded => State::Discarded,
        }
    }
}

impl Filters {
    /// As the runtime wants it; `numbers` are those that stand without `--id`.
    pub(crate) fn selection(&self, numbers: &[i64], states: &[StateName]) -> Selection {
        let mut selection = Selection::all();
        let ids = self.ids(numbers);
        if !ids.is_empty() {
            selection = selection.ids(ids);
        }
        if let Some(group) = &self.group {
            selection = selection.group(group);
        }
        if let Some(topic) = &self.topic {
            selection = selection.topic(topic);
        }
        if let Some(since) = self.since {
            selection = selection.since(since);
        }
        if let Some(key) = &self.key {
            selection = selection.key(key.as_bytes());
        }
        if let Some(reason) = &self.reason {
            selection = selection.reason(reason);
        }
        states.iter().fold(selection, |selection, state| selection.state(state.state()))
    }

    /// All numbers that were named, each once.
    pub(crate) fn ids(&self, numbers: &[i64]) -> Vec<i64> {
        let mut ids = [numbers, &self.id].concat();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// As a sentence goes on: " in group `billing`"; nothing where nothing was said.
    pub(crate) fn said(&self, numbers: &[i64]) -> String {
        let mut said = String::new();
        let mut add = |words: &str, value: Option<&str>| {
            if let Some(value) = value {
                said.push_str(&format!(" {words} `{value}`"));
            }
        };
        let ids: Vec<_> = self.ids(numbers).iter().map(i64::to_string).collect();
        add("with the number", Some(ids.join("`, `").as_str()).filter(|ids| !ids.is_empty()));
        add("in group", self.group.as_deref());
        add("of topic", self.topic.as_deref());
        add("with key", self.key.as_deref());
        add("for the reason", self.reason.as_deref());
        if let Some(since) = self.since {
            said.push_str(&format!(" since {}", crate::print::time(since)));
        }
        said
    }
}

impl Change {
    /// Nobody replays or discards everything by leaving something out.
    pub(crate) fn expect_a_filter(&self, states: &[StateName]) -> anyhow::Result<()> {
        let Filters { group, topic, since, key, reason, id } = &self.filters;
        let filtered = !self.numbers.is_empty()
            || !id.is_empty()
            || !states.is_empty()
            || since.is_some()
            || [group, topic, key, reason].into_iter().any(Option::is_some);
        ensure!(
            filtered || self.all,
            "nothing says which records are meant; name them by their numbers or by a filter such as `--group`, or \
             say `--all`; `--dry-run` shows what would be marked"
        );
        Ok(())
    }
}

impl Copy {
    /// A group is not copied to itself.
    pub(crate) fn expect_two_groups(&self) -> anyhow::Result<()> {
        ensure!(self.from_group != self.to_group, "`--from-group` and `--to-group` name the same group");
        Ok(())
    }
}

impl Which {
    /// Nobody retries or deletes everything by leaving something out.
    pub(crate) fn expect_some(&self) -> anyhow::Result<()> {
        ensure!(
            self.all || !self.seqs.is_empty(),
            "nothing says which refused events are meant; name them by their numbers, as `eos outbox list` says them, or \
             say `--all`"
        );
        Ok(())
    }
}

/// A place in a log.
fn goal(text: &str) -> Result<Goal, String> {
    const WHERE: &str = "say `beginning`, `end`, an offset as `4200`, how long ago as `2h`, or when in UTC as \
                         `2026-11-26T17:50:46Z`";
    match text {
        "beginning" | "earliest" => return Ok(Goal::Beginning),
        "end" | "latest" => return Ok(Goal::End),
        text => {
            if let Ok(offset) = text.parse::<i64>() {
                return if offset < 0 { Err(WHERE.to_owned()) } else { Ok(Goal::Offset(offset)) };
            }
        }
    }
    since(text).map(Goal::Time).map_err(|_| WHERE.to_owned())
}

/// A time that is so long ago, or a time.
fn since(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return SystemTime::now().checked_sub(ago).ok_or_else(|| "that is before all time".to_owned());
    }
    humantime::parse_rfc3339_weak(text).map_err(|_| {
        "say how long ago, as `2h` or `3days`, or when in UTC, as `2026-11-26T17:50:46Z`".to_owned()
    })
}
