//! The demonstration keeps what it promises, and would show it if eos did not.

use std::process::Command;

use serde_json::Value;

/// Its exit code and its last line.
fn quickstart(arguments: &[&str]) -> (Option<i32>, Value) {
    // What it leaves to look at goes when the test is over.
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .env("TMPDIR", folder.path())
        .args(["--json", "--records", "300", "--kills", "2"])
        .args(arguments)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    let tally = serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), tally)
}

fn assert_once_each(arguments: &[&str]) {
    let (code, tally) = quickstart(arguments);
    assert_eq!(code, Some(0), "{tally}");
    for (key, value) in [
        ("produced", 330),
        ("unique", 300),
        ("kills", 2),
        ("applied", 300),
        ("lost", 0),
        ("applied_twice", 0),
    ] {
        assert_eq!(tally[key], value, "{key} in {tally}");
    }
    assert!(tally["delivered"].as_u64() >= Some(330), "{tally}");
}

#[test]
fn every_order_is_applied_once_though_services_are_killed() {
    assert_once_each(&[]);
}

#[test]
fn it_is_the_same_on_real_servers() {
    let server = |variable| {
        std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `scripts/test`, or `export $(scripts/services env)`")
        })
    };
    for database in ["EOS_TEST_POSTGRES", "EOS_TEST_MYSQL"] {
        assert_once_each(&["--brokers", &server("EOS_TEST_KAFKA"), "--database-url", &server(database)]);
    }
}

#[test]
fn without_the_transaction_orders_are_applied_twice_and_the_exit_code_says_so() {
    let (code, tally) = quickstart(&["--at-least-once"]);
    assert_eq!(code, Some(1), "{tally}");
    assert!(tally["applied_twice"].as_u64() >= Some(30), "{tally}");
}
