//! Starting: configuration refused before a port is bound, one process a directory, health.

use std::process::Output;

use crate::support::{Facility, facility::send, server::sensorgate};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn serve(variables: &[(&str, &str)], data: &std::path::Path) -> Output {
    sensorgate()
        .args(["serve", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .envs(variables.iter().copied())
        .output()
        .expect("the binary starts")
}

#[test]
fn a_bad_configuration_ends_with_64_and_names_key_and_value() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, words) in [
        ("SENSORGATE__AUTH__FAILURES_PER_MINUTE", "0", ["auth.failures_per_minute", "0"]),
        ("SENSORGATE__AUTH__NO_SUCH_KEY", "7", ["no_such_key", "auth"]),
        ("SENSORGATE__AUTH__TRUSTED_PROXIES", "[\"10.0.0.0/99\"]", ["auth.trusted_proxies", "10.0.0.0/99"]),
    ] {
        let output = serve(&[(name, value)], folder.path());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{name}: {message}");
        assert!(words.iter().all(|word| message.contains(word)), "{name}: {message}");
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
}

#[tokio::test]
async fn a_second_process_on_the_directory_is_refused() {
    let facility = Facility::new().await;
    let output = serve(&[], &facility.server.data);
    let message = text(&output.stderr);
    assert!(!output.status.success());
    assert!(message.contains(&facility.server.data.display().to_string()), "{message}");
    assert!(message.contains("another"), "{message}");
}

#[tokio::test]
async fn probes_and_metrics_need_no_credentials_and_stand_on_the_admin_listener_only() {
    let facility = Facility::new().await;
    let admin = |path: &str| facility.client.get(format!("{}{path}", facility.server.admin_url));
    send(admin("/livez")).await.expect(200);
    send(admin("/readyz")).await.expect(200);
    let metrics = send(admin("/metrics")).await.expect(200);
    assert!(metrics.text.contains("# TYPE sensorgate_"), "{}", metrics.text);
    for path in ["/livez", "/readyz", "/metrics"] {
        send(facility.client.get(format!("{}{path}", facility.server.http_url))).await.expect(401);
    }
    send(facility.client.get(format!("{}/problems/unauthorized", facility.server.http_url))).await.expect(200);
    let openapi = send(facility.client.get(format!("{}/openapi.json", facility.server.http_url))).await.expect(200);
    assert_eq!(openapi.json["openapi"].as_str().map(|v| v.starts_with("3.1")), Some(true));
}
