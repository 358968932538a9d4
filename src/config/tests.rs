#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

const ABSENT: &str = "no/such/orinoco.toml";

fn variables(list: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// Loads with a file of this text; the folder keeps it until the end of the test.
pub(super) fn load_text(
    text: &str,
    environment: &[(&str, &str)],
    flags: Flags,
) -> (Result<Loaded, ConfigError>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orinoco.toml");
    std::fs::write(&path, text).unwrap();
    (load_from(&flags, variables(environment), &path), folder)
}

fn config_of(text: &str, environment: &[(&str, &str)]) -> Config {
    load_text(text, environment, Flags::default()).0.unwrap().config
}

/// The mistakes, with the folder taken away.
fn problems_of(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let (outcome, folder) = load_text(text, environment, Flags::default());
    let prefix = format!("{}/", folder.path().display());
    outcome.unwrap_err().to_string().lines().map(|line| line.replace(&prefix, "")).collect()
}

#[test]
fn each_layer_is_stronger_than_the_one_before() {
    let text = "data_dir = \"a\"\n[ws]\nlisten = \"127.0.0.1:1\"\nconnections_max = 7\n[stream]\nhistory_max = 5\n";
    let environment = [("ORINOCO__WS__LISTEN", "127.0.0.1:2"), ("ORINOCO__DATA_DIR", "b"), ("ORINOCO_OTHER", "x")];
    let flags = Flags { data_dir: Some(PathBuf::from("c")), ..Flags::default() };
    let loaded = load_text(text, &environment, flags).0.unwrap();
    assert_eq!(loaded.config.stream.history_max, 5);
    assert_eq!(loaded.config.ws.connections_max, 7);
    assert_eq!(loaded.config.ws.listen.to_string(), "127.0.0.1:2");
    assert_eq!(loaded.config.data_dir(), Path::new("c"));
    assert_eq!(loaded.config.http.listen.to_string(), "127.0.0.1:8090");
    let origin = |key: &str| loaded.settings.iter().find(|setting| setting.key == key).unwrap().origin.to_string();
    assert!(origin("stream.history_max").ends_with("orinoco.toml:6"), "{}", origin("stream.history_max"));
    assert_eq!(origin("ws.listen"), "ORINOCO__WS__LISTEN");
    assert_eq!(origin("data_dir"), "--data-dir");
    assert_eq!(origin("http.listen"), "default");
}

#[test]
fn a_mode_is_the_default_of_each_backend_and_each_can_be_chosen_alone() {
    let all = |config: &Config| config.backends().map(|(_, backend)| backend);
    assert_eq!(all(&Config::default()), [Backend::Embedded; 5]);
    assert_eq!(all(&config_of("mode = \"services\"", &[])), [Backend::Service; 5]);
    let mixed = config_of("[kafka]\nbackend = \"service\"", &[("ORINOCO__REDIS_WS__BACKEND", "service")]);
    assert_eq!(
        all(&mixed),
        [Backend::Embedded, Backend::Service, Backend::Service, Backend::Embedded, Backend::Embedded]
    );
    let (services, _folder) =
        load_text("mode = \"embedded\"", &[], Flags { mode: Some("services".to_owned()), ..Flags::default() });
    assert_eq!(all(&services.unwrap().config), [Backend::Service; 5]);
}

#[test]
fn values_are_read_into_their_types() {
    let text = "[mqtt]\nfilters = [\n  \"a/+/coordX\",\n  \"coordY\",\n]\nkeep_alive_s = 30\npacket_size_max = 1_000\n\
                [kafka]\nbrokers = [\"a:1\", \"[::1]:2\"]\ncall_timeout_ms = 0x7d0\n[log]\nretention_h = 2\n";
    let config = config_of(text, &[("ORINOCO__STREAM__PUBLIC", "true"), ("ORINOCO__WS__CONNECTIONS_MAX", "20_000")]);
    assert_eq!(config.mqtt.filters, ["a/+/coordX", "coordY"]);
    assert_eq!(config.mqtt.keep_alive, Duration::from_secs(30));
    assert_eq!(config.mqtt.packet_size_max, 1000);
    assert_eq!(config.kafka.brokers.iter().map(HostPort::to_string).collect::<Vec<_>>(), ["a:1", "[::1]:2"]);
    assert_eq!(config.kafka.call_timeout, Duration::from_secs(2));
    assert_eq!(config.log.retention, Duration::from_secs(7200));
    assert!(config.stream.public);
    assert_eq!(config.ws.connections_max, 20_000);
}

#[test]
fn a_list_in_the_environment_is_separated_by_commas_or_a_toml_array() {
    for text in ["a:1,b:2", " a:1 , b:2,", "[\"a:1\", \"b:2\"]"] {
        let config = config_of("", &[("ORINOCO__KAFKA__BROKERS", text)]);
        assert_eq!(config.kafka.brokers.iter().map(HostPort::to_string).collect::<Vec<_>>(), ["a:1", "b:2"], "{text}");
    }
}

#[test]
fn an_empty_string_leaves_a_value_out() {
    let config = config_of("[mqtt]\nurl = \"\"\n", &[("ORINOCO__MQTT__USERNAME", ""), ("ORINOCO__MQTT__PASSWORD", "")]);
    assert_eq!((config.mqtt.url, config.mqtt.username, config.mqtt.password), (None, None, None));
}

#[test]
fn places_that_are_not_set_follow_from_those_that_are() {
    let config = config_of("data_dir = \"d\"\n[http]\nlisten = \"0.0.0.0:80\"\n[mqtt]\nlisten = \"0.0.0.0:1\"\n", &[]);
    assert_eq!(config.public_url(), "http://127.0.0.1:80");
    assert_eq!(config.mqtt_url(), "mqtt://127.0.0.1:1");
    assert_eq!(config.key_file(), Path::new("d/keys.json"));
    assert_eq!(config.control_socket(), Path::new("d/control.sock"));
    let config = config_of("mode = \"services\"\n[http]\npublic_url = \"https://o.example/\"\n", &[]);
    assert_eq!(config.public_url(), "https://o.example");
    assert_eq!(config.mqtt_url(), "mqtt://127.0.0.1:3123");
}

#[test]
fn every_mistake_is_named_with_its_line_and_its_remedy() {
    for (text, expected) in [
        (
            "\n[stream]\n\npairing = \"lates\"\n",
            "orinoco.toml:4: stream.pairing: unknown value \"lates\"; use \"latest\" or \"timestamp\"",
        ),
        ("mode = true", "orinoco.toml:1: mode: is a boolean; use \"embedded\" or \"services\""),
        ("mod = \"services\"", "orinoco.toml:1: mod: unknown key; did you mean mode?"),
        ("[http]\nlisen = \"a:1\"\n", "orinoco.toml:2: http.lisen: unknown key; did you mean http.listen?"),
        ("[limits]\nzzz = 1\n", "orinoco.toml:2: limits.zzz: unknown key; [limits] has limits.mode"),
        ("[htp]\nlisten = \"a:1\"\n", "orinoco.toml:2: htp.listen: unknown key; did you mean http.listen?"),
        (
            "[http]\nlisten = \"8090\"\n",
            "orinoco.toml:2: http.listen: \"8090\" is no host:port; write for instance \"127.0.0.1:8090\" or \"[::1]:8090\"",
        ),
        ("[http]\nlisten = 8090\n", "orinoco.toml:2: http.listen: is a number; write host:port in quotes"),
        ("[http.listen]\nport = 1\n", "orinoco.toml:1: http.listen: is a table; write host:port in quotes"),
        ("http = 8090\n", "orinoco.toml:1: http: is a section, but here it is a number; write [http]"),
        (
            "[stream]\nhistory_max = 0\n",
            "orinoco.toml:2: stream.history_max: 0 is out of range; use a whole number from 1 to 1000000",
        ),
        (
            "[stream]\nhistory_max = -5\n",
            "orinoco.toml:2: stream.history_max: -5 is out of range; use a whole number from 1 to 1000000",
        ),
        (
            "[stream]\nhistory_max = \"5\"\n",
            "orinoco.toml:2: stream.history_max: is text; use a whole number from 1 to 1000000, without quotes",
        ),
        (
            "[stream]\nhistory_max = 1.5\n",
            "orinoco.toml:2: stream.history_max: is a number with a fraction; use a whole number from 1 to 1000000",
        ),
        ("[stream]\npublic = \"yes\"\n", "orinoco.toml:2: stream.public: is text; use true or false, without quotes"),
        ("[kafka]\nbrokers = []\n", "orinoco.toml:2: kafka.brokers: holds 0 values; use 1 to 64"),
        ("[kafka]\nbrokers = \"a:1\"\n", "orinoco.toml:2: kafka.brokers: is text; write [\"...\", \"...\"]"),
        ("[kafka]\nbrokers = [\"a:1\", \"a:1\"]\n", "orinoco.toml:2: kafka.brokers: \"a:1\" is listed twice"),
        (
            "[mqtt]\nfilters = [\n\"coordX\",\n\"b/#/c\"]\n",
            "orinoco.toml:2: mqtt.filters: filter `b/#/c` must end in coordX or coordY, with at most one `+` level, which is the device, and no `#`",
        ),
        (
            "[redis_ws]\nurl = \"http://h\"\n",
            "orinoco.toml:2: redis_ws.url: unknown scheme \"http\"; use redis:// or rediss://",
        ),
        (
            "[telemetry]\nlog = \"a=b=c\"\n",
            "orinoco.toml:2: telemetry.log: \"a=b=c\" is no log filter; write for instance \"info\" or \"info,orinoco=debug\"",
        ),
        ("[mqtt]\npassword = \"hunter2\"\n", "orinoco.toml:2: mqtt.password: needs mqtt.username as well"),
        (
            "[mqtt]\nurl = \"mqtt://u:hunter2@h:1\"\n",
            "orinoco.toml:2: mqtt.url: must hold no user and no password; use mqtt.username and mqtt.password",
        ),
        (
            "[ws]\nlisten = \"127.0.0.1:8090\"\n",
            "orinoco.toml:2: ws.listen: http.listen and ws.listen are both 127.0.0.1:8090; give each a port of its own",
        ),
        (
            "[ws]\nidle_timeout_s = 20\n",
            "orinoco.toml:2: ws.idle_timeout_s: ws.ping_interval_s must be less than ws.idle_timeout_s, or every quiet socket is closed",
        ),
        (
            "[journal]\nbytes_max = 1048576\n",
            "orinoco.toml:2: journal.bytes_max: mqtt.packet_size_max must be a sixteenth of journal.bytes_max at most, \
             or a few messages fill the journal",
        ),
    ] {
        assert_eq!(problems_of(text, &[]), [expected], "{text}");
    }
}

#[test]
fn a_mistake_in_the_environment_is_named_by_its_variable() {
    for (name, value, expected) in [
        (
            "ORINOCO__STREAM__PAIRING",
            "lates",
            "ORINOCO__STREAM__PAIRING: unknown value \"lates\"; use \"latest\" or \"timestamp\"",
        ),
        (
            "ORINOCO__STREAM__HISTORY",
            "1",
            "ORINOCO__STREAM__HISTORY: unknown key; did you mean ORINOCO__STREAM__HISTORY_MAX?",
        ),
        ("ORINOCO__MOED", "services", "ORINOCO__MOED: unknown key; did you mean ORINOCO__MODE?"),
        ("ORINOCO__LIMITS", "off", "ORINOCO__LIMITS: is a section; its variables are ORINOCO__LIMITS__MODE"),
        ("ORINOCO__HTTP__listen", "a:1", "ORINOCO__HTTP__listen: unknown key; did you mean ORINOCO__HTTP__LISTEN?"),
        ("ORINOCO__REDIS_WS_URL", "x", "ORINOCO__REDIS_WS_URL: unknown key; did you mean ORINOCO__REDIS_WS__URL?"),
        (
            "ORINOCO__WS__CONNECTIONS_MAX",
            "many",
            "ORINOCO__WS__CONNECTIONS_MAX: \"many\" is no whole number; use a whole number from 1 to 1000000",
        ),
        ("ORINOCO__STREAM__PUBLIC", "1", "ORINOCO__STREAM__PUBLIC: unknown value \"1\"; use true or false"),
        ("ORINOCO__KAFKA__BROKERS", "[\"a:1\"", "ORINOCO__KAFKA__BROKERS: is text; write [\"...\", \"...\"]"),
    ] {
        assert_eq!(problems_of("", &[(name, value)]), [expected]);
    }
    let unlike = problems_of("", &[("ORINOCO__STREAM__FOO", "1")]);
    assert!(unlike[0].starts_with("ORINOCO__STREAM__FOO: unknown key; "), "{unlike:?}");
    assert!(unlike[0].contains("ORINOCO__STREAM__PAIRING"), "{unlike:?}");
}

#[test]
fn every_mistake_is_reported_at_once() {
    let problems = problems_of(
        "[ws]\nlisten = \"x\"\nfoo = 1\n[stream]\npairing = 3\n",
        &[("ORINOCO__MODE", "both"), ("ORINOCO__NOTHING__AT_ALL", "")],
    );
    let places: Vec<&str> = problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["orinoco.toml:2", "orinoco.toml:3", "orinoco.toml:5", "ORINOCO__MODE", "ORINOCO__NOTHING__AT_ALL"]
    );
}

#[test]
fn a_wrong_value_is_refused_though_a_stronger_layer_hides_it() {
    let problems = problems_of("mode = \"both\"\n", &[("ORINOCO__MODE", "services")]);
    assert_eq!(problems, ["orinoco.toml:1: mode: unknown value \"both\"; use \"embedded\" or \"services\""]);
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_the_line() {
    for (text, place) in
        [("[http\n", "orinoco.toml:1: is no TOML: "), ("a = 1\n\na = 2\n", "orinoco.toml:3: is no TOML: ")]
    {
        let problems = problems_of(text, &[]);
        assert!(problems[0].starts_with(place), "{problems:?}");
    }
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orinoco.toml");
    std::fs::write(&path, b"# \xff\n".to_vec().repeat(1)).unwrap();
    let problem = load_from(&Flags::default(), [], &path).unwrap_err().to_string();
    assert!(problem.ends_with("orinoco.toml:1: is not UTF-8 text"), "{problem}");
}

#[test]
fn a_named_file_must_be_there_and_the_default_one_need_not() {
    assert_eq!(load_from(&Flags::default(), [], Path::new(ABSENT)).unwrap().config, Config::default());
    let flags = Flags { config: Some(PathBuf::from(ABSENT)), ..Flags::default() };
    let problem = load_from(&flags, [], Path::new(ABSENT)).unwrap_err().to_string();
    assert!(problem.starts_with("--config: no/such/orinoco.toml can't be read: "), "{problem}");
}

#[test]
fn secrets_are_hidden_wherever_the_configuration_is_shown() {
    let environment = [
        ("ORINOCO__MQTT__USERNAME", "u"),
        ("ORINOCO__MQTT__PASSWORD", "hunter2"),
        ("ORINOCO__POSTGRES__URL", "postgres://u:hunter2@h/d?password=hunter2"),
        ("ORINOCO__REDIS_QR__URL", "redis://:hunter2@h"),
    ];
    let (loaded, _folder) = load_text("", &environment, Flags::default());
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config.mqtt.password.as_ref().unwrap().expose(), "hunter2");
    assert!(loaded.config.postgres.url.expose().contains("hunter2"));
    let shown = format!("{:?} {:?}", loaded.config, loaded.settings);
    assert!(!shown.contains("hunter2"), "{shown}");
    let wrong = problems_of(
        "",
        &[("ORINOCO__POSTGRES__URL", "postgre://u:hunter2@h/d"), ("ORINOCO__REDIS_WS__URL", "hunter2")],
    );
    assert!(!wrong.concat().contains("hunter2"), "{wrong:?}");
}

#[test]
fn a_supervision_file_that_was_named_must_be_there_and_the_default_one_need_not() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("supervision.toml");
    let built_in = SupervisionFile::read_with(&Config::default(), &[], &absent).unwrap();
    assert_eq!(built_in.name, "supervision.toml (built in)");
    assert!(!built_in.text.is_empty());
    std::fs::write(&absent, "root = \"r\"").unwrap();
    assert_eq!(SupervisionFile::read_with(&Config::default(), &[], &absent).unwrap().text, "root = \"r\"");
    std::fs::write(&absent, b"schema = 1\n# \xff\n").unwrap();
    let problem = SupervisionFile::read_with(&Config::default(), &[], &absent).unwrap_err().to_string();
    assert!(problem.ends_with("supervision.toml:2: is not UTF-8 text"), "{problem}");
    let (loaded, _folder) = load_text("supervision = \"no/such.toml\"\n", &[], Flags::default());
    let loaded = loaded.unwrap();
    let problem = SupervisionFile::read(&loaded.config, &loaded.settings).unwrap_err().to_string();
    assert!(problem.contains("orinoco.toml:1: supervision: no/such.toml can't be read: "), "{problem}");
}

#[test]
fn the_example_file_is_the_defaults_as_it_stands_and_with_every_key_uncommented() {
    let example = reference::example();
    assert_eq!(config_of(&example, &[]), Config::default());
    let uncommented: Vec<&str> = example
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect();
    let (loaded, _folder) = load_text(&uncommented.join("\n"), &[], Flags::default());
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config, Config::default());
    let unset: BTreeSet<&str> = loaded
        .settings
        .iter()
        .filter(|setting| setting.origin == Origin::Default)
        .map(|setting| setting.key.as_str())
        .collect();
    assert_eq!(unset, BTreeSet::new());
}

/// Writes the file anew where it differs, so that mending it is a matter of committing.
pub(crate) fn assert_up_to_date(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::fs::read_to_string(&path).unwrap_or_default() != expected {
        std::fs::write(&path, expected).unwrap();
        panic!("{} differed from the program and was written anew; look at it and commit it", path.display());
    }
}

#[test]
fn the_example_file_in_the_repository_is_up_to_date() {
    assert_up_to_date("orinoco.example.toml", &reference::example());
}

#[test]
fn the_documentation_in_the_repository_is_up_to_date() {
    assert_up_to_date("docs/configuration.md", &reference::markdown());
}

#[test]
fn anonymous_is_a_flag_or_loopback() {
    let anonymous = |text: &str| load_text(text, &[], Flags::default()).0.map(|loaded| loaded.config.mqtt.anonymous);
    assert_eq!(anonymous("").unwrap(), Anonymous::Loopback);
    for (value, expected) in [
        ("true", Anonymous::Everywhere),
        ("\"true\"", Anonymous::Everywhere),
        ("false", Anonymous::Nowhere),
        ("\"loopback\"", Anonymous::Loopback),
    ] {
        assert_eq!(anonymous(&format!("[mqtt]\nanonymous = {value}\n")).unwrap(), expected, "{value}");
    }
    for value in ["\"no\"", "1"] {
        let error = anonymous(&format!("[mqtt]\nanonymous = {value}\n")).unwrap_err().to_string();
        assert!(error.contains("is none of \"loopback\" or true or false"), "{error}");
    }
}

#[test]
fn a_key_that_nobody_reads_and_an_open_door_are_pointed_out() {
    let text = "[kafka]\nbrokers = [\"a:1\"]\n[log]\nretention_h = 1\n[mqtt]\nlisten = \"0.0.0.0:1\"\n";
    let loaded = load_text(text, &[], Flags::default()).0.unwrap();
    let advice = loaded.advice();
    assert_eq!(advice.len(), 2, "{advice:?}");
    assert_eq!(advice[0], "kafka.brokers is set, but has no effect where kafka.backend is \"embedded\"");
    assert!(advice[1].contains("mqtt.anonymous"), "{advice:?}");
    let services = load_text(&format!("mode = \"services\"\n{text}"), &[], Flags::default()).0.unwrap().advice();
    assert_eq!(
        services,
        [
            "mqtt.listen is set, but has no effect where mqtt.backend is \"service\"",
            "log.retention_h is set, but has no effect where kafka.backend is \"service\"",
        ]
    );
    assert_eq!(load_text("", &[], Flags::default()).0.unwrap().advice(), Vec::<String>::new());
}

#[test]
fn every_key_that_advice_knows_exists() {
    let loaded = load_text("", &[], Flags::default()).0.unwrap();
    for key in advice::keys() {
        assert!(loaded.settings.iter().any(|setting| setting.key == key), "{key}");
    }
}

#[test]
fn an_oauth_client_may_have_any_name_but_that_of_logins_without_oauth() {
    assert_eq!(Config::default().auth.oauth_clients, ["orinoco-cli", "orinoco-web"]);
    let own = config_of("", &[("ORINOCO__AUTH__OAUTH_CLIENTS", "tv.example")]);
    assert_eq!(own.auth.oauth_clients, ["tv.example"]);
    for wrong in ["orinoco", "a b", ""] {
        assert_eq!(problems_of("", &[("ORINOCO__AUTH__OAUTH_CLIENTS", wrong)]).len(), 1, "{wrong:?}");
    }
}

#[test]
fn a_part_is_switched_off_only_where_somebody_else_can_do_it() {
    let errors = |text: &str| load_text(text, &[], Flags::default()).0.map(|_| ()).map_err(|error| error.to_string());
    for part in ["ingest", "consumer"] {
        let refused = errors(&format!("[parts]\n{part} = false\n")).unwrap_err();
        assert!(refused.contains(&format!("parts.{part}")) && refused.contains("kafka.backend"), "{refused}");
        errors(&format!("mode = \"services\"\n[parts]\n{part} = false\n")).unwrap();
    }
}

#[test]
fn a_listener_speaks_tls_by_a_certificate_and_its_key() {
    for section in ["http", "ws", "mqtt"] {
        for (one, other) in [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")] {
            let tls_listen = if section == "mqtt" { "tls_listen = \"127.0.0.1:8883\"\n" } else { "" };
            let problems = problems_of(&format!("[{section}]\n{one} = \"a.pem\"\n{tls_listen}"), &[]);
            assert_eq!(problems, [format!("orinoco.toml:2: {section}.{one}: needs {section}.{other} as well")]);
        }
    }
    let pair = "tls_certificate = \"a.pem\"\ntls_key = \"a.key\"\n";
    for (text, expected) in [
        ("[mqtt]\ntls_listen = \"a:1\"\n".to_owned(), "mqtt.tls_listen: needs mqtt.tls_certificate and mqtt.tls_key"),
        (format!("[mqtt]\n{pair}"), "mqtt.tls_certificate: needs mqtt.tls_listen as well"),
        ("[mqtt]\nlisten = \"\"\n".to_owned(), "mqtt.listen: may be empty only where mqtt.tls_listen is set"),
        (format!("[mqtt]\n{pair}tls_listen = \"127.0.0.1:8090\"\n"), "are both 127.0.0.1:8090"),
        (format!("[http]\n{pair}public_url = \"http://localhost\"\n"), "http.public_url: must be https where"),
        (format!("[ws]\n{pair}public_url = \"ws://localhost\"\n"), "ws.public_url: must be wss where"),
    ] {
        let problems = problems_of(&text, &[]);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
    }
    let config = config_of(&format!("[http]\n{pair}[mqtt]\nlisten = \"\"\n{pair}tls_listen = \"0.0.0.0:8883\"\n"), &[]);
    assert_eq!(
        (config.public_url(), config.mqtt_url()),
        ("https://127.0.0.1:8090".into(), "mqtts://127.0.0.1:8883".into())
    );
    let services = config_of("mode = \"services\"\n[mqtt]\nlisten = \"\"\n", &[]);
    assert_eq!((services.mqtt_url(), services.broker_listeners()), ("mqtt://127.0.0.1:3123".into(), Vec::new()));
}

#[test]
fn a_daemon_takes_over_exactly_the_keys_that_are_declared_so() {
    let loaded = load_text("", &[], Flags::default()).0.unwrap();
    let of = |wanted: fn(Reload) -> bool| -> Vec<&str> {
        let found = loaded.settings.iter().filter(|setting| wanted(setting.reload));
        found.map(|setting| setting.key.as_str()).collect()
    };
    // `LiveValues::set` has a place for each of them; the first is the reload's own.
    let live = [
        "supervision",
        "ws.connections_max",
        "ws.queue_bytes_max",
        "ws.ping_interval_s",
        "ws.idle_timeout_s",
        "ws.stall_max_s",
        "auth.signup",
        "auth.refresh_token_ttl_s",
        "auth.challenge_ttl_s",
        "auth.audit_entries_max",
        "limits.mode",
        "telemetry.log",
    ];
    assert_eq!(of(|reload| reload == Reload::Live), live);
    // `Cast` reads these at each start of the actor.
    let by_actor = [
        "kafka.on_data_loss",
        "stream.pairing",
        "stream.pairing_grace_ms",
        "stream.pairing_pending_max",
        "stream.history_max",
    ];
    assert_eq!(of(|reload| matches!(reload, Reload::Actors(_))), by_actor);
    assert_eq!(of(|_| true).len(), live.len() + by_actor.len() + of(|reload| reload == Reload::Restart).len());
    let tree = include_str!("../../supervision.toml");
    for setting in &loaded.settings {
        if let Reload::Actors(starts) = setting.reload {
            assert!(starts.iter().all(|start| tree.contains(&format!("start = \"{start}\""))), "{}", setting.key);
        }
    }
}

#[test]
fn changed_keys_are_found_with_their_place_and_secrets_are_not_shown() {
    let (old, _folder) = load_text("[mqtt]\nusername = \"u\"\npassword = \"hunter1\"\n", &[], Flags::default());
    let text = "[limits]\nmode = \"off\"\n[mqtt]\nusername = \"u\"\npassword = \"hunter2\"\n";
    let (new, _other) = load_text(text, &[("ORINOCO__STREAM__HISTORY_MAX", "5")], Flags::default());
    let (old, new) = (old.unwrap(), new.unwrap());
    let found = old.changes(&new);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expected =
        ["mqtt.password: \"***\" -> \"***\"", "stream.history_max: 1000 -> 5", "limits.mode: \"on\" -> \"off\""];
    assert_eq!(lines, expected);
    assert!(found[0].origin.to_string().ends_with("orinoco.toml:5"));
    assert_eq!(found[1].origin.to_string(), "ORINOCO__STREAM__HISTORY_MAX");
    assert!(!format!("{found:?} {new:?}").contains("hunter"), "{found:?}");
    assert_eq!(new.changes(&new), []);
}
