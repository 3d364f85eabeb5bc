//! `[redis]`: where the ids are remembered that `idempotent(redis, …)` has processed.
//!
//! | address | who answers |
//! |---|---|
//! | `redis://[user:password@]host[:6379][/database]` | one server |
//! | `redis+sentinel://[user:password@]host[:26379],host…/master[/database]` | the master that these sentinels name |
//! | `redis+cluster://[user:password@]host[:6379],host…` | a cluster that these nodes are of |
//!
//! `rediss` in place of `redis` is TLS, and wants the feature `tls`. A password is written with `%40` for `@`, as in any URL.

use std::time::Duration;

use super::Given;
use super::reader::Section;
use super::secret::Password;

/// `[redis]`.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "without the feature it is a mistake to set it")
)]
pub(crate) struct Redis {
    pub(crate) address: Given<RedisAddress>,
    /// What every key begins with.
    pub(crate) prefix: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    /// What the sentinels ask for themselves, where they do.
    pub(crate) sentinel_username: Option<String>,
    pub(crate) sentinel_password: Option<Password>,
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedisAddress {
    pub(crate) kind: RedisKind,
    /// Hosts and ports, at least one.
    pub(crate) nodes: Vec<(String, u16)>,
    pub(crate) tls: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Password>,
    pub(crate) database: i64,
}

/// Who answers at the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedisKind {
    One,
    /// The nodes are sentinels, which know the master of this name.
    Sentinel(String),
    Cluster,
}

/// The table; without the feature it is a mistake to write it.
pub(super) fn read(root: &mut Section<'_>) -> Redis {
    let written = root.has("redis");
    let mut section = root.section("redis");
    let within = Duration::from_millis(10)..=Duration::from_secs(60);
    let redis = Redis {
        address: address(&mut section),
        prefix: section.or("prefix", "eos".to_owned()),
        connect_timeout: section.within("connect_timeout", Duration::from_secs(2), within.clone()),
        response_timeout: section.within("response_timeout", Duration::from_secs(1), within),
        sentinel_username: section.optional("sentinel_username"),
        sentinel_password: section.password("sentinel_password"),
    };
    if redis.prefix.is_empty() || redis.prefix.len() > 64 {
        section.refuse("prefix", "a prefix has 1 to 64 bytes");
    }
    section.finish();
    if written && !cfg!(feature = "redis") {
        root.refuse(
            "redis",
            "this binary was built without it; add the feature `redis` to `eos-runtime` in Cargo.toml",
        );
    }
    redis
}

fn address(section: &mut Section<'_>) -> Given<RedisAddress> {
    let written = section.has("url");
    let Some(url) = section.optional::<String>("url") else {
        return if written { Given::Mistaken } else { Given::Absent };
    };
    match parse(url.trim()) {
        Ok(address) if address.tls && !cfg!(feature = "tls") => {
            section.refuse(
                "url",
                "this binary was built without TLS; add the feature `tls` to `eos-runtime` in Cargo.toml",
            );
            Given::Mistaken
        }
        Ok(address) => Given::As(address),
        Err(mistake) => {
            section.refuse("url", &mistake);
            Given::Mistaken
        }
    }
}

/// Reads an address. No mistake quotes more of it than its scheme, since anything else may be a password in a wrong place.
fn parse(url: &str) -> Result<RedisAddress, String> {
    const KNOWN: &str = "`redis://host:6379`, `redis+sentinel://host:26379,host:26379/master` or `redis+cluster://host:6379,host:6379` \
         (`rediss` in place of `redis` for TLS)";
    let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("an address is {KNOWN}"))?;
    let (tls, kind) = match scheme.strip_prefix("rediss").map(|kind| (true, kind)) {
        Some(found) => found,
        None => (false, scheme.strip_prefix("redis").ok_or_else(|| format!("an address is {KNOWN}"))?),
    };
    if rest.contains(['?', '#']) {
        return Err(
            "an address has nothing behind `?` or `#`; in a password write `%3F` and `%23`".to_owned()
        );
    }
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    let (kind, port, database) = match kind {
        "" => (RedisKind::One, 6379, path),
        "+cluster" if matches!(path, "" | "0") => (RedisKind::Cluster, 6379, ""),
        "+cluster" => {
            return Err("a cluster has the one database 0; end the address behind the hosts".to_owned());
        }
        "+sentinel" => {
            let (master, database) = path.split_once('/').unwrap_or((path, ""));
            if master.is_empty() {
                return Err("which master? write its name behind the sentinels: `redis+sentinel://host:26379/mymaster`".to_owned());
            }
            (RedisKind::Sentinel(master.to_owned()), 26379, database)
        }
        _ => return Err(format!("an address is {KNOWN}")),
    };
    let nodes = hosts.split(',').map(|host| node(host.trim(), port)).collect::<Result<Vec<_>, _>>()?;
    if kind == RedisKind::One && nodes.len() > 1 {
        return Err(
            "several hosts are a cluster, `redis+cluster://…`, or sentinels, `redis+sentinel://…/master`"
                .to_owned(),
        );
    }
    let (username, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        None => (None, None),
        Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
    };
    let given = |text: &String| !text.is_empty();
    Ok(RedisAddress {
        kind,
        nodes,
        tls,
        username: username.filter(given),
        password: password.filter(given).map(Password::new),
        database: match database {
            "" => 0,
            number => number
                .parse()
                .ok()
                .filter(|number| (0..=65_535).contains(number))
                .ok_or("a database is a number")?,
        },
    })
}

/// `host`, `host:port` or `[::1]:port`.
fn node(text: &str, default: u16) -> Result<(String, u16), String> {
    const EXPECTED: &str = "expected `host` or `host:port`, several separated by commas";
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| EXPECTED)?),
        Some(_) | None => (text, default),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() { Err(EXPECTED.to_owned()) } else { Ok((host.to_owned(), port)) }
}

/// Text with its `%40` replaced.
fn decoded(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "in a login `%` stands before two hexadecimal digits; write `%25` for itself";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        bytes.push(digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(EXPECTED)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| EXPECTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_sentinels_and_a_cluster_are_told_apart() {
        let one = parse("redis://me:hu%40sh@cache:7000/3").expect("one server");
        assert_eq!(
            (one.kind, one.nodes, one.database),
            (RedisKind::One, vec![("cache".to_owned(), 7000)], 3)
        );
        assert_eq!(one.username.as_deref(), Some("me"));
        assert_eq!(one.password, Some(Password::new("hu@sh")));
        let alone = parse("redis://:hush@[::1]").expect("one server");
        assert_eq!((alone.username, alone.nodes), (None, vec![("::1".to_owned(), 6379)]));

        let sentinels = parse("redis+sentinel://a,b:7/main/2").expect("sentinels");
        assert_eq!(sentinels.kind, RedisKind::Sentinel("main".to_owned()));
        assert_eq!(sentinels.nodes, [("a".to_owned(), 26379), ("b".to_owned(), 7)]);
        assert_eq!(sentinels.database, 2);

        let cluster = parse("rediss+cluster://a:1,b:2").expect("a cluster");
        assert_eq!((cluster.kind, cluster.nodes.len(), cluster.tls), (RedisKind::Cluster, 2, true));
    }

    #[test]
    fn a_mistake_shows_nothing_of_a_password() {
        for url in [
            "hush",
            "valkey://hush@a",
            "redis://hush@",
            "redis://a:hush",
            "redis://a?password=hush",
            "redis://h%zz:hush@a",
            "redis://hush@a,b",
            "redis+sentinel://:hush@a",
            "redis+cluster://:hush@a/7",
            "redis://:hush@a/hush",
        ] {
            let mistake = parse(url).expect_err("no address");
            assert!(!mistake.contains("hush"), "{url}: {mistake}");
        }
        let shown = format!("{:?}", parse("redis://me:hush@a").expect("an address"));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
