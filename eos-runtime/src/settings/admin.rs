//! `[admin]`: where the process is looked at over HTTP, and whether something can be changed there.

use std::net::SocketAddr;
use std::time::Duration;

use super::reader::Section;
use super::secret::Secret;

/// A shorter token could be guessed.
const LENGTH: usize = 16;

/// `[admin]`.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "admin"),
    expect(dead_code, reason = "without the feature it is a mistake to set it")
)]
pub(crate) struct Admin {
    pub(crate) listen: SocketAddr,
    /// What whoever changes something has to show; nobody can where there is none.
    pub(crate) token: Option<Secret>,
    /// How long a record may be tried again before its partition counts as stuck.
    pub(crate) stuck_after: Duration,
}

/// The table, where it is there and understood.
pub(super) fn read(root: &mut Section<'_>) -> Option<Admin> {
    let written = root.has("admin");
    let mut section = root.section("admin");
    let listen = listen(&mut section, written);
    let token = section.secret("token", LENGTH);
    let stuck_after = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
    let stuck_after = section.within("stuck_after", Duration::from_secs(60), stuck_after);
    section.finish();
    if written && !cfg!(feature = "admin") {
        root.refuse(
            "admin",
            "this binary was built without it; add the feature `admin` to `eos-runtime` in Cargo.toml",
        );
    }
    Some(Admin { listen: listen?, token, stuck_after })
}

fn listen(section: &mut Section<'_>, written: bool) -> Option<SocketAddr> {
    const EXAMPLE: &str = "`127.0.0.1:9600` for this machine alone or `0.0.0.0:9600` for all";
    let is_there = section.has("listen");
    match section.optional::<String>("listen") {
        Some(text) => {
            let address = text.trim().parse().ok();
            if address.is_none() {
                section.refuse("listen", &format!("expected an address and a port, such as {EXAMPLE}"));
            }
            address
        }
        None => {
            if written && !is_there {
                section.refuse("listen", &format!("it is missing; set it, such as {EXAMPLE}"));
            }
            None
        }
    }
}

#[cfg(all(test, feature = "admin"))]
mod tests {
    use super::super::file;
    use super::super::mistake::{Found, Mistakes};
    use super::*;

    fn load(text: &str) -> Result<Option<Admin>, Mistakes> {
        let found = Found::default();
        let table = file::parse(text, "eos.toml", &found);
        let mut root = Section::root(&table, &found);
        let admin = read(&mut root);
        root.finish();
        found.into_mistakes().map(|()| admin)
    }

    #[test]
    fn nothing_is_listened_on_unless_it_is_asked_for() {
        assert!(load("").expect("no mistake").is_none());
        let admin = load("[admin]\nlisten = \"127.0.0.1:9600\"").expect("no mistake").expect("asked for");
        assert_eq!(admin.listen, SocketAddr::from(([127, 0, 0, 1], 9600)));
        assert!(admin.token.is_none());
        let mistakes = load("[admin]\ntoken = \"a-token-that-is-long\"").expect_err("no address").to_string();
        assert!(mistakes.contains("`[admin] listen`: it is missing"), "{mistakes}");
        let mistakes = load("[admin]\nlisten = \"9600\"").expect_err("no address").to_string();
        assert!(mistakes.contains("line 2") && mistakes.contains("`127.0.0.1:9600`"), "{mistakes}");
    }

    #[test]
    fn a_token_is_shown_to_nobody_however_it_is_written() {
        let listen = "[admin]\nlisten = \"127.0.0.1:9600\"\n";
        for token in ["\"short1234\"", "123456789012345678", "[\"hush-hush-hush-hush\"]"] {
            let mistakes = load(&format!("{listen}token = {token}")).expect_err("no token").to_string();
            assert!(mistakes.contains("`[admin] token`"), "{mistakes}");
            assert!(!mistakes.contains("1234") && !mistakes.contains("hush"), "{mistakes}");
        }
        let admin = load(&format!("{listen}token = \"hush-hush-hush-hush\"")).expect("no mistake");
        let shown = format!("{admin:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}

#[cfg(all(test, not(feature = "admin")))]
mod tests {
    use super::super::file;
    use super::super::mistake::Found;
    use super::*;

    #[test]
    fn without_its_cargo_feature_the_table_is_a_mistake_that_names_the_feature() {
        let found = Found::default();
        let table = file::parse("[admin]\nlisten = \"127.0.0.1:9600\"", "eos.toml", &found);
        read(&mut Section::root(&table, &found));
        let mistakes = found.into_mistakes().expect_err("not built").to_string();
        assert!(
            mistakes.contains("`admin` (eos.toml, line 1)") && mistakes.contains("feature `admin`"),
            "{mistakes}"
        );
    }
}
