use super::*;

fn load(toml: &str, environment: &[(&str, &str)], settings: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(CONFIG_FILE), toml).unwrap();
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let overrides =
        Overrides { environment: Some(pairs(environment).into_iter().collect()), settings: pairs(settings) };
    Config::load(directory.path(), &overrides).map_err(|e| e.to_string())
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(load("", &[], &[]), Ok(Config::default()));
}

#[test]
fn the_template_means_the_defaults() {
    assert_eq!(load(include_str!("../templates/watershed.toml"), &[], &[]), Ok(Config::default()));
    // Every key stands in the template, commented out.
    let template = include_str!("../templates/watershed.toml");
    for (key, _) in Config::default().lines() {
        let (section, key) = key.split_once('.').unwrap();
        let after = template.split(&format!("[{section}]")).nth(1).unwrap_or_else(|| panic!("no [{section}]"));
        let body = after.split("\n[").next().unwrap();
        assert!(body.contains(&format!("\n# {key} = ")), "{section}.{key} is missing in the template");
    }
    // And uncommented, they are valid; what has a default, equals it.
    let uncommented: String = template
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split(" = ").next().is_some_and(|k| !k.contains(' ')) && rest.contains(" = ") => rest,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let config = load(&uncommented, &[], &[]).unwrap();
    assert_eq!(config.batch, Config::default().batch);
    assert_eq!(config.speed, Config::default().speed);
    assert_eq!(config.epochs, Config::default().epochs);
    assert_eq!(config.query, Config::default().query);
    assert_eq!(config.log.segment_bytes, Config::default().log.segment_bytes);
    assert_eq!(config.log.segment_age, Config::default().log.segment_age);
}

#[test]
fn later_layers_win() {
    let toml = "[batch]\nkeep_manifests = 7\nkeep_minutes = 8\n[log]\nsegment_bytes = \"1 MiB\"\n[speed]\nmax_bytes = \"2 MiB\"";
    let environment =
        [("WATERSHED__BATCH__KEEP_MINUTES", "9"), ("WATERSHED__LOG__SEGMENT_BYTES", "2 MiB"), ("WATERSHED_LOG", "x")];
    let config = load(toml, &environment, &[("log.segment_bytes", "3 MiB")]).unwrap();
    assert_eq!(config.batch.keep_manifests, 7);
    assert_eq!(config.batch.keep_minutes, 9);
    assert_eq!(config.log.segment_bytes, ByteSize(3 << 20));
    assert_eq!(config.speed.max_bytes, ByteSize(2 << 20));
    assert!(load("", &[("WATERSHED__BATCH__ARCHIVE", "false")], &[]).is_ok_and(|c| !c.batch.archive));
}

#[test]
fn unknown_keys_are_errors_wherever_they_stand() {
    for error in [
        load("[batch]\nkep = 1", &[], &[]).unwrap_err(),
        load("", &[("WATERSHED__BATCH__KEP", "1")], &[]).unwrap_err(),
        load("", &[], &[("batch.kep", "1")]).unwrap_err(),
    ] {
        assert!(error.contains("kep") && error.contains("keep_manifests"), "{error}");
    }
    assert!(load("[bach]\nkeep_manifests = 1", &[], &[]).unwrap_err().contains("bach"));
    assert!(load("stray = 1", &[], &[]).unwrap_err().contains("stray"));
}

#[test]
fn mistakes_name_their_key() {
    for (toml, key) in [
        ("[log]\nsegment_bytes = \"64 parsecs\"", "log.segment_bytes"),
        ("[epochs]\nevery = \"soon\"", "epochs.every"),
        ("[epochs]\nevery = \"0 s\"", "epochs.every"),
        ("[batch]\ntime_zone = \"Mars/Olympus\"", "batch.time_zone"),
        ("[batch]\nkeep_manifests = 0", "batch.keep_manifests"),
        ("[log]\ndurability = \"maybe\"", "log.durability"),
        ("[store]\naccess_key_id = \"a\"", "store.secret_access_key"),
        ("[store]\nurl = \"s3://key:word@bucket/\"", "store.url"),
    ] {
        let error = load(toml, &[], &[]).unwrap_err();
        assert!(error.contains(key), "{error}");
        assert!(!error.contains("word@"), "{error}");
    }
}

#[test]
fn secrets_are_never_printed() {
    let toml = "[store]\naccess_key_id = \"hush-id\"\nsecret_access_key = \"hush-key\"";
    let config = load(toml, &[], &[]).unwrap();
    let shown = format!("{config:?} {config:#?} {:?} {}", config.lines(), serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
    for broken in [
        "[store]\nsecret_access_key = \"hush",
        "[store]\nsecret_access_key = hush",
        "[store]\nsecret_access_key = [\"hush\"]",
        "[store]\nsecret_access_key = { hush = 1 }",
        "[store]\naccess_key_id = \"hush\"",
    ] {
        let error = load(broken, &[], &[]).unwrap_err();
        assert!(!error.contains("hush"), "{error}");
    }
}
