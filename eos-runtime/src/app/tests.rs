//! Start-up as a whole: listeners and settings in, a plan or all mistakes out.

use std::time::Duration;

use super::builder::{App, app};
use super::plan::Plan;
use crate::error::Error;
use crate::listener::resolved::{self, DatabaseRef, Promise};
use crate::listener::spec::{
    Body, DeadLetters, Dedupe, Handler, IdSource, Idempotent, Isolation, ListenerSpec, Medium, Mode,
    OnFailure, OnOutage, Retry, Transactional,
};
use crate::settings::{Environment, Mistakes};

const LEAST: [(&str, &str); 2] = [("EOS_KAFKA_BOOTSTRAP_SERVERS", "a:1"), ("EOS_KAFKA_GROUP", "billing")];

fn plain(id: &'static str, topics: &'static [&'static str]) -> ListenerSpec {
    ListenerSpec {
        id,
        file: "src/lib.rs",
        line: 7,
        topics,
        group: None,
        deadline: Duration::from_secs(30),
        concurrency: 1,
        concurrency_per_partition: 1,
        mode: Mode::Plain,
        retry: Retry::default(),
        on_failure: OnFailure::Block,
        dead_letters: DeadLetters::Topic(None),
        needs: |_| {},
        body: || Body::Plain(|_| Box::pin(async { Ok(()) })),
    }
}

fn plan(app: App, specs: Vec<ListenerSpec>, more: &[(&str, &str)]) -> Result<Plan, Mistakes> {
    let linked = specs.into_iter().map(|spec| &*Box::leak(Box::new(spec))).collect();
    let variables = LEAST.iter().chain(more).copied().filter(|(_, value)| !value.is_empty());
    match Plan::make(app, linked, &Environment::of(variables)) {
        Ok(plan) => Ok(plan),
        Err(Error::Setup(mistakes)) => Err(mistakes),
        Err(other) => panic!("{other:?}"),
    }
}

/// The one mistake.
fn mistake(app: App, specs: Vec<ListenerSpec>, more: &[(&str, &str)]) -> String {
    let mistakes = plan(app, specs, more).expect_err("a mistake");
    assert_eq!(mistakes.len(), 1, "{mistakes}");
    mistakes.iter().collect()
}

#[test]
fn listeners_are_sorted_and_resolved() {
    let specs = vec![
        plain("b::audit", &["${app.prefix:event}.audit"]),
        ListenerSpec { group: Some("own"), ..plain("a::on_order", &["event.order", "event.refund"]) },
    ];
    let plan = plan(app(), specs, &[]).expect("no mistake");
    let said: Vec<_> =
        plan.listeners.iter().map(|l| (l.id, l.topics.join(","), l.group.to_string())).collect();
    assert_eq!(
        said,
        [
            ("a::on_order", "event.order,event.refund".to_owned(), "own".to_owned()),
            ("b::audit", "event.audit".to_owned(), "billing".to_owned()),
        ]
    );
    assert!(plan.databases.is_empty());
}

#[test]
fn a_table_that_a_placeholder_reads_is_the_services_own() {
    let more = [("EOS__TOPICS__ORDER", "event.order"), ("EOS__TENANT", "eu")];
    let plan = plan(app(), vec![plain("a", &["${tenant}.${topics.order}"])], &more).expect("no mistake");
    assert_eq!(&*plan.listeners[0].topics[0], "eu.event.order");
    assert!(mistake(app(), vec![plain("a", &["t"])], &more[..1]).contains("`topics`"));
}

#[test]
fn a_program_without_listeners_is_told_about_the_linker() {
    assert!(mistake(app(), vec![], &[]).contains("`use handlers as _;`"));
}

#[test]
fn two_listeners_on_one_topic_of_a_group_would_each_see_half_of_it() {
    let specs = || vec![plain("a::on_order", &["event.order"]), plain("b::audit", &["event.order"])];
    assert_eq!(
        mistake(app(), specs(), &[]),
        "topic `event.order` is claimed by `a::on_order` and `b::audit` in group `billing`; each would see half of \
         it. give one of them `group = \"…\"`"
    );
    assert!(plan(app(), specs(), &[("EOS__LISTENERS__B__AUDIT__GROUP", "audit")]).is_ok());
}

#[test]
fn a_topic_that_a_listener_names_twice_is_a_mistake() {
    assert_eq!(
        mistake(app(), vec![plain("a", &["t", "${app.x:t}"])], &[]),
        "listener `a` names the topic `t` twice"
    );
}

#[test]
fn all_listeners_without_a_group_are_one_mistake() {
    let specs = vec![plain("a", &["a"]), plain("b", &["b"])];
    let linked = specs.into_iter().map(|spec| &*Box::leak(Box::new(spec))).collect();
    let environment = Environment::of([LEAST[0]]);
    let Err(Error::Setup(mistakes)) = Plan::make(app(), linked, &environment) else { panic!("no group") };
    assert_eq!(
        mistakes.iter().collect::<Vec<_>>(),
        [
            "no group for `a` and `b`; set `[kafka] group` (`EOS_KAFKA_GROUP`), or `group = \"…\"` of the listener"
        ]
    );
}

#[test]
fn mistakes_of_settings_program_and_listeners_are_said_together() {
    struct Mailer;
    let specs = vec![
        ListenerSpec { concurrency: 0, ..plain("a", &["${app.topic}"]) },
        ListenerSpec {
            needs: |needs| {
                needs.state::<Mailer>().database("audit");
            },
            ..plain("b", &["event order"])
        },
    ];
    let app = app().state(1u8).state(2u8).expect(["c"]);
    let more = [("EOS__INBOX__RETENTION", "soon"), ("EOS__LISTENERS__AA__ENABLED", "false")];
    let mistakes = plan(app, specs, &more).expect_err("mistakes");
    let said: Vec<&str> = mistakes.iter().collect();
    let expected = [
        "two states of type `u8`",
        "`[inbox] retention` (`EOS__INBOX__RETENTION`)",
        "`[listeners.\"aa\"]`: this program has no such listener; did you mean `a`?",
        "`.expect(…)`: there is no listener `c`",
        "listener `a`: `concurrency` is 0",
        "listener `a`: `${app.topic}` has no value",
        "listener `b`: `event order` cannot be a topic's name",
        "listener `b` takes a state of type `eos_runtime::app::tests::",
        "listener `b`: there is no database `audit`",
    ];
    assert_eq!(said.len(), expected.len(), "{mistakes}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "`{said}` should begin with `{expected}`");
    }
}

#[test]
fn two_listeners_with_one_id_are_named_with_their_places() {
    let specs = vec![plain("a", &["x"]), ListenerSpec { line: 9, ..plain("a", &["y"]) }];
    assert_eq!(
        mistake(app(), specs, &[]),
        "two listeners have the id `a` (src/lib.rs:7 and src/lib.rs:9); give one of them `id = \"…\"`"
    );
}

#[test]
fn patterns_and_settings_decide_which_listeners_run() {
    let specs = || vec![plain("orders::a", &["a"]), plain("orders::b", &["b"]), plain("audit::c", &["c"])];
    let ids = |plan: Plan| plan.listeners.iter().map(|listener| listener.id).collect::<Vec<_>>();
    let chosen =
        plan(app().listeners(["orders::*"]), specs(), &[("EOS__LISTENERS__ORDERS__B__ENABLED", "false")]);
    assert_eq!(ids(chosen.expect("no mistake")), ["orders::a"]);
    let lost = mistake(app().listeners(["orders::*"]).expect(["audit::c"]), specs(), &[]);
    assert_eq!(lost, "`.expect(…)`: `audit::c` is left out by `.listeners(…)`");
    assert!(
        mistake(app().listeners(["order::*", "orders::*"]), specs(), &[])
            .contains("no listener matches `order::*`")
    );
    let nothing = mistake(app(), vec![plain("a", &["a"])], &[("EOS__LISTENERS__A__ENABLED", "false")]);
    assert!(nothing.starts_with("there is nothing to do"), "{nothing}");
}

#[test]
fn dead_letters_go_to_a_topic_of_their_own() {
    let to = |dead_letters, more: &[(&str, &str)]| {
        let spec = ListenerSpec { dead_letters, ..plain("a", &["x", "y"]) };
        plan(app(), vec![spec], more).map(|plan| {
            let topic = plan.listeners[0].dead_letters.topic().cloned();
            topic.map(|topic| (topic.of("x"), topic.of("y")))
        })
    };
    let both = |x: &str, y: &str| Some((x.to_owned(), y.to_owned()));
    assert_eq!(to(DeadLetters::Topic(None), &[]).expect("a plan"), both("x-dlt", "y-dlt"));
    let named = DeadLetters::Topic(Some("${app.dead:all-dead}"));
    assert_eq!(to(named, &[("EOS__APP__DEAD", "grave")]).expect("a plan"), both("grave", "grave"));
    assert_eq!(to(DeadLetters::Off, &[]).expect("a plan"), None);
    let off = ("EOS__LISTENERS__A__DEAD_LETTER", "off");
    assert_eq!(to(DeadLetters::Topic(None), &[off]).expect("a plan"), None);
    for (dead_letters, more, why) in [
        (DeadLetters::Topic(Some("y")), None, "would read its own dead letters from `y`"),
        (DeadLetters::Topic(Some("no/topic")), None, "`no/topic` cannot be a topic's name"),
        (DeadLetters::Topic(None), Some(("EOS__LISTENERS__A__DEAD_LETTER", "table")), "has no database"),
    ] {
        let more: Vec<_> = more.into_iter().collect();
        let mistakes = to(dead_letters, &more).expect_err("a mistake").to_string();
        assert!(mistakes.contains(why), "{mistakes}");
    }
}

#[cfg(feature = "postgres")]
mod with_postgres {
    use super::*;

    fn transactional(id: &'static str, topics: &'static [&'static str]) -> ListenerSpec {
        in_database(id, topics, None)
    }

    fn in_database(
        id: &'static str,
        topics: &'static [&'static str],
        database: Option<&'static str>,
    ) -> ListenerSpec {
        let mode = Transactional {
            isolation: Isolation::default(),
            dedupe: Dedupe::default(),
            group_commit: 1,
            max_wait: Duration::ZERO,
            key_slots: 1,
            database,
        };
        ListenerSpec {
            mode: Mode::Transactional(mode),
            dead_letters: DeadLetters::Table,
            body: || Body::Postgres(Handler::One(|_, _| Box::pin(async { Ok(()) }))),
            ..plain(id, topics)
        }
    }

    fn remembering(id: &'static str, database: Option<&'static str>) -> ListenerSpec {
        let mode = Idempotent {
            medium: Medium::Database(database),
            id: IdSource::default(),
            lease: Duration::from_secs(30),
            on_outage: OnOutage::default(),
        };
        ListenerSpec { mode: Mode::Idempotent(mode), ..plain(id, &["remembered"]) }
    }

    /// It takes no transaction, so any kind of database will do; one more connection is kept free for its claims.
    #[test]
    fn an_idempotent_listener_gets_the_one_database_or_the_one_that_it_names() {
        let claims_in = |spec, more: &[(&str, &str)]| {
            let plan = plan(app(), vec![transactional("a", &["t"]), spec], more).expect("no mistake");
            let Promise::Idempotent(_, options) = plan.listeners[1].promise else { panic!("idempotent") };
            let resolved::Medium::Database(database) = options.medium else { panic!("in a database") };
            let of: Vec<_> = plan.databases.iter().map(|d| (d.name.clone(), d.has_claims)).collect();
            (plan.databases[database.0].name.clone(), of)
        };
        let one = ("EOS_DATABASE_URL", "postgres://db/shop");
        let (name, of) = claims_in(remembering("b", None), &[one]);
        assert_eq!((name.as_str(), of), ("default", vec![("default".to_owned(), true)]));
        let more = [one, ("EOS__DATABASES__AUDIT__URL", "postgres://db/audit")];
        let (name, of) = claims_in(remembering("b", Some("audit")), &more);
        assert_eq!(name, "audit");
        assert_eq!(of, [("default".to_owned(), false), ("audit".to_owned(), true)]);
    }

    #[test]
    fn an_idempotent_listener_without_its_database_is_told_how_to_name_one() {
        let said = mistake(app(), vec![remembering("b", None)], &[]);
        assert!(
            said.starts_with("listener `b` is `idempotent(database)`, and there is no database"),
            "{said}"
        );
        let several = [
            ("EOS__DATABASES__SHOP__URL", "postgres://db/shop"),
            ("EOS__DATABASES__AUDIT__URL", "postgres://db/audit"),
        ];
        let said = mistake(app(), vec![remembering("b", None)], &several);
        assert!(said.ends_with("say `idempotent(database = \"…\")` with `audit` or `shop`"), "{said}");
    }

    fn pool() -> sqlx::PgPool {
        sqlx::PgPool::connect_lazy("postgres://me:hush@db/shop").expect("an address")
    }

    #[test]
    fn slots_that_gain_nothing_are_remarked_on() {
        let with = |slots: u16, url: &str| {
            let mut spec = transactional("a", &["t"]);
            let Mode::Transactional(mode) = &mut spec.mode else { unreachable!("it is") };
            mode.key_slots = slots;
            plan(app(), vec![spec], &[("DATABASE_URL", url)]).expect("no mistake").remarks
        };
        assert_eq!(with(14, "postgres://me:hush@db/shop"), Vec::<String>::new());
        let remarks = with(16, "postgres://me:hush@db/shop").join("\n");
        assert!(
            remarks.contains("for 14 attempts at a time") && remarks.contains("to 18 or more"),
            "{remarks}"
        );
    }

    #[test]
    fn slots_of_a_listener_without_positions_are_a_mistake() {
        let set = [("DATABASE_URL", "postgres://me:hush@db/shop"), ("EOS__LISTENERS__A__KEY_SLOTS", "4")];
        let mistakes = plan(app(), vec![plain("a", &["t"])], &set).expect_err("a mistake").to_string();
        assert!(mistakes.contains("`key_slots` is for one that is `transactional`"), "{mistakes}");
        let plan = plan(app(), vec![transactional("a", &["t"])], &set).expect("no mistake");
        assert!(matches!(plan.listeners[0].promise, Promise::Transactional { key_slots: 4, .. }));
    }

    #[test]
    fn a_transactional_listener_gets_the_one_database() {
        let plan =
            plan(app(), vec![transactional("a", &["t"])], &[("DATABASE_URL", "postgres://me:hush@db/shop")])
                .expect("no mistake");
        let Promise::Transactional { database, .. } = &plan.listeners[0].promise else {
            panic!("transactional")
        };
        assert_eq!(*database, DatabaseRef(0));
        assert_eq!(
            (plan.databases[0].name.as_str(), plan.databases[0].schema.as_str()),
            ("default", "public")
        );
        let shown = format!("{:?} {:?}", plan.databases, plan.settings);
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn a_missing_database_is_said_with_both_ways_to_give_it() {
        let said = mistake(app(), vec![transactional("a", &["t"])], &[]);
        assert!(said.contains("`EOS_DATABASE_URL`") && said.contains("`app().database(&pool)`"), "{said}");
    }

    #[test]
    fn a_database_without_a_name_among_several_is_a_mistake() {
        let several = [
            ("EOS__DATABASES__SHOP__URL", "postgres://db/shop"),
            ("EOS__DATABASES__AUDIT__URL", "postgres://db/audit"),
        ];
        let said = mistake(app(), vec![transactional("a", &["t"])], &several);
        assert!(said.ends_with("with `audit` or `shop`"), "{said}");
        let said = mistake(app(), vec![in_database("a", &["t"], Some("shpo"))], &several);
        assert!(said.ends_with("did you mean `shop`?"), "{said}");
        assert!(plan(app(), vec![in_database("a", &["t"], Some("shop"))], &several).is_ok());
    }

    #[test]
    fn an_address_that_does_not_parse_shows_no_password() {
        let said = mistake(
            app(),
            vec![transactional("a", &["t"])],
            &[("EOS_DATABASE_URL", "postgres://me:hu/sh@db:5432/shop")],
        );
        assert!(said.contains("`EOS_DATABASE_URL`") && !said.contains("hu/sh"), "{said}");
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn encryption_without_its_cargo_feature_names_the_feature() {
        let said = mistake(
            app(),
            vec![transactional("a", &["t"])],
            &[("EOS_DATABASE_URL", "postgres://db/shop?sslmode=require")],
        );
        assert!(said.contains("feature `tls`"), "{said}");
    }

    #[tokio::test]
    async fn the_applications_pool_counts_before_the_address() {
        let app = app().database(&pool());
        let plan = plan(
            app,
            vec![transactional("a", &["t"])],
            &[("DATABASE_URL", "postgres://other/x"), ("EOS__DATABASE__SCHEMA", "eos")],
        )
        .expect("no mistake");
        let database = &plan.databases[0];
        assert_eq!(database.setting, "the pool given by `app().database(…)`");
        assert_eq!(database.schema, "eos");
    }

    #[tokio::test]
    async fn an_application_shows_no_password() {
        let shown = format!("{:?}", app().database(&pool()));
        assert!(shown.contains("PostgreSQL") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    #[cfg(feature = "sqlite")]
    fn a_transaction_of_another_database_is_a_mistake() {
        let said =
            mistake(app(), vec![transactional("a", &["t"])], &[("EOS_DATABASE_URL", "sqlite://orders.db")]);
        assert_eq!(
            said,
            "listener `a` takes a PostgreSQL transaction (`&mut PgTx`), but the database `default` is SQLite; change \
             the one or the other"
        );
    }
}

#[test]
fn keys_side_by_side_are_what_the_attribute_says_or_else_the_settings() {
    let spec = || ListenerSpec { concurrency_per_partition: 16, ..plain("a::on_mail", &["mail"]) };
    let keys =
        |more| plan(app(), vec![spec()], more).expect("no mistake").listeners[0].concurrency_per_partition;
    assert_eq!(keys(&[]), 16);
    assert_eq!(keys(&[("EOS__LISTENERS__A__ON_MAIL__CONCURRENCY_PER_PARTITION", "4")]), 4);
}

#[test]
fn keys_side_by_side_are_not_for_every_listener() {
    let spec = ListenerSpec { mode: Mode::AtMostOnce(100), ..plain("a::on_hint", &["hint"]) };
    let four = [("EOS__LISTENERS__A__ON_HINT__CONCURRENCY_PER_PARTITION", "4")];
    let mistake = mistake(app(), vec![spec], &four);
    assert!(
        mistake.contains("`concurrency_per_partition` is for listeners that are plain or `idempotent`"),
        "{mistake}"
    );
}
