//! What is done to a key, each in one step on the server: it looks at who holds the key before it does anything.
//!
//! A key is absent, holds the token of whoever claims it (with a lease), or the word `done` (with the listener's `ttl`). The
//! scripts use nothing that is newer than Redis 2.6.12, and each is the line of that name in the table of `medium.rs`.

/// Each takes the key, the token, and for how many milliseconds.
pub(crate) type Script = &'static str;

/// 0: it is ours. -1: it is done. Otherwise another has it, for so many milliseconds still.
pub(super) const CLAIM: Script = "\
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
local kept = redis.call('GET', KEYS[1])
if kept == 'done' then return -1 end
if kept == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 0 end
return math.max(redis.call('PTTL', KEYS[1]), 1)";

/// 0: it is ours still, or again. 1: it is not.
pub(super) const RENEW: Script = "\
local kept = redis.call('GET', KEYS[1])
if kept == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 0 end
if kept then return 1 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0";

/// 0: it was ours. 1: nobody had it, the claim had been forgotten. 2: another had it. 3: it was done.
pub(super) const MARK: Script = "\
local kept = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
if kept == ARGV[1] then return 0 end
if kept == 'done' then return 3 end
if kept then return 2 end
return 1";

/// 0: it is free. 1: it was not ours.
pub(super) const RELEASE: Script = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 1 end
redis.call('DEL', KEYS[1])
return 0";

/// All of them.
#[cfg(feature = "redis")]
pub(super) const ALL: [Script; 4] = [CLAIM, RENEW, MARK, RELEASE];
