use std::io::Write;

use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_defaults_are_a_whole_configuration() {
    Config::load(None, []).expect("the defaults pass their own checks");
}

#[test]
fn the_file_overrides_the_defaults_and_the_environment_the_file() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"data_dir = \"/a\"").expect("written");
    let load = |vars: &[(&str, &str)]| Config::load(Some(file.path()), env(vars)).expect("a configuration").data_dir;
    assert_eq!(load(&[]), Path::new("/a"));
    assert_eq!(load(&[("SENSORGATE__DATA_DIR", "/b"), ("HOME", "/c")]), Path::new("/b"));
}

#[test]
fn a_refusal_names_key_and_value() {
    let refused = |vars: &[(&str, &str)]| Config::load(None, env(vars)).expect_err("refused").to_string();
    let unknown = refused(&[("SENSORGATE__NO_SUCH_KEY", "7")]);
    assert!(unknown.contains("no_such_key") && unknown.contains("unknown field"), "{unknown}");
    let wrong = refused(&[("SENSORGATE__DATA_DIR", "[1]")]);
    assert!(wrong.contains("data_dir = [1]"), "{wrong}");
    let missing = Config::load(Some(Path::new("/nonexistent.toml")), []).expect_err("refused").to_string();
    assert!(missing.contains("/nonexistent.toml"), "{missing}");
}

#[test]
fn variables_spell_toml_values_or_strings() {
    for (text, value) in [
        ("5", Value::Integer(5)),
        ("true", Value::Boolean(true)),
        ("1.5", Value::Float(1.5)),
        ("127.0.0.1:80", Value::String("127.0.0.1:80".into())),
        ("a b", Value::String("a b".into())),
        ("\"5\"", Value::String("5".into())),
    ] {
        assert_eq!(env_value(text), value, "{text}");
    }
}
