//! Why positions were not moved.

/// Why positions were not moved; the group must not run while they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The database's own error.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// A process took the partition meanwhile: its group runs, or was started too soon.
    #[error(
        "a process of group `{group}` has taken partition {partition} of `{topic}` meanwhile, and goes on where it was; stop \
         the group and begin again"
    )]
    Taken {
        /// Whose position it is.
        group: String,
        /// Of which topic.
        topic: String,
        /// Which of its partitions.
        partition: i32,
    },
    /// Somebody's transaction has the position's row, and does not end.
    #[error(
        "the position of group `{group}` in partition {partition} of `{topic}` is held by a transaction that does not end; \
         find it in the database's list of transactions, end it, and begin again"
    )]
    Held {
        /// Whose position it is.
        group: String,
        /// Of which topic.
        topic: String,
        /// Which of its partitions.
        partition: i32,
    },
    /// The group that was to get positions has some already.
    #[error(
        "group `{group}` has positions of its own in {}; a copy that replaces them has to say so",
        topics.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ")
    )]
    Occupied {
        /// Which group.
        group: String,
        /// In which topics.
        topics: Vec<String>,
    },
}
