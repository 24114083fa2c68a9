//! The examples and the lines of the README, run as they stand against the real service.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::json;

use crate::support::{
    Facility, Integration, mosquitto,
    mqtt::{Library, python},
    now_s,
};

const EXTERNAL_ID: &str = "BLW-TEMP-1";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A facility as the demo makes it, and its variables.
async fn demo(variables: &[(&str, &str)]) -> (Facility, Integration, Vec<(&'static str, String)>) {
    let facility = Facility::with(variables).await;
    let sender = facility.active(&["sensors:write"]).await;
    facility.sensor(&sender, EXTERNAL_ID).await;
    facility.limit(&sender, 10_000).await;
    let (host, port) = facility.server.mqtt_authority().rsplit_once(':').expect("host and port");
    let settings = vec![
        ("MQTT_URL", facility.server.mqtt_url.clone()),
        ("MQTT_HOST", host.to_owned()),
        ("MQTT_PORT", port.to_owned()),
        ("TOKEN_URL", facility.server.token_url.clone()),
        ("AUDIENCE", facility.server.audience.clone()),
        ("INTEGRATION_ID", sender.id.clone()),
        ("CLIENT_ID", sender.client_id.clone()),
        ("CLIENT_SECRET", sender.client_secret.clone()),
        ("API_KEY", sender.api_key.clone()),
    ];
    (facility, sender, settings)
}

// What the examples read stands in the demo's file.
#[test]
fn the_demo_writes_every_variable_that_the_examples_read() {
    let files = fs::read_to_string(root().join("src/demo/files.rs")).expect("the demo's source");
    let names = ["MQTT_URL", "MQTT_HOST", "MQTT_PORT", "TOKEN_URL", "AUDIENCE", "INTEGRATION_ID", "CLIENT_ID"];
    for name in names.into_iter().chain(["CLIENT_SECRET", "API_KEY"]) {
        assert!(files.contains(&format!("(\"{name}\", ")), "{name}");
    }
}

/// Readings as the gateways take them: one JSON object a line, the last one at `last_s`.
fn lines(count: i64, last_s: i64) -> String {
    let reading = |n: i64| {
        let at_s = last_s - (count - 1 - n);
        json!({"external_id": EXTERNAL_ID, "metric": "temperature", "value": 20.5, "unit": "C", "timestamp": at_s})
    };
    (0..count).map(|n| format!("{}\n", reading(n))).collect()
}

/// A gateway with its standard input open.
fn start(command: &mut Command, settings: &[(&str, String)], input: &str) -> Child {
    let mut child = command
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    child
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].concat().iter().map(|byte| *byte as char).collect()
}

/// The gateways that read lines, and the libraries that they need.
fn gateways() -> Vec<(Library, PathBuf, &'static str)> {
    let all = [(Library::Paho, python(), "python/gateway.py"), (Library::MqttJs, "node".into(), "node/gateway.mjs")];
    all.into_iter().filter(|(library, ..)| library.is_available()).collect()
}

/// A command that runs one of them.
fn command(program: &Path, script: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(root().join("examples").join(script));
    command
}

// The examples in Python and Node.js deliver everything, and tell what was rejected and why.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_deliver_everything_and_tell_what_was_rejected() {
    let (facility, sender, settings) = demo(&[]).await;
    let mut last_s = now_s() - 20_000;
    let mut stored = 0;
    for (library, program, script) in gateways() {
        let broken = "{\"external_id\":\"BLW-TEMP-1\",\"metric\":\"temperature\",\"value\":1e400}\n";
        let input =
            lines(1_200, last_s).replace("{\"external_id\"", "\n{\"external_id\"") + &broken.replace("1e400", "999");
        let output = start(&mut command(&program, script), &settings, &input).wait_with_output().expect("it ends");
        let said = said(&output);
        assert!(output.status.success(), "{library:?}: {said}");
        assert!(said.contains("value_out_of_range") && said.contains("999"), "{library:?}: {said}");
        assert!(!said.contains(&sender.client_secret) && !said.contains(&sender.api_key), "no secret is printed");
        stored += 1_200;
        let times = facility.stored(&sender, EXTERNAL_ID, "temperature", stored).await;
        assert_eq!(times.len(), stored, "{library:?}: {said}");
        last_s += 5_000;
    }
}

// They survive an outage of the service: what was not acknowledged goes out again.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_survive_an_outage() {
    let (mut facility, sender, settings) = demo(&[]).await;
    let (mut stored, mut last_s) = (0, now_s() - 20_000);
    for (library, program, script) in gateways() {
        // Away when the gateway starts, and killed again while it works.
        facility.server.kill_9();
        let gateway = start(&mut command(&program, script), &settings, &lines(6_000, last_s));
        facility.server.restart();
        facility.stored(&sender, EXTERNAL_ID, "temperature", stored + 500).await;
        facility.server.kill_9();
        facility.server.restart();
        let output = gateway.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{library:?}: {}", said(&output));
        stored += 6_000;
        let times = facility.stored(&sender, EXTERNAL_ID, "temperature", stored).await;
        assert_eq!(times.len(), stored, "{library:?}: {}", said(&output));
        last_s += 10_000;
    }
}

// A gateway whose credentials do not work (any more) stops, and says whom to ask: no token, or a token without its key.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_stop_when_their_credentials_do_not_work() {
    let (facility, sender, settings) = demo(&[]).await;
    let mut wrong_key = settings.clone();
    wrong_key.last_mut().expect("the API key").1.replace_range(20..24, "XXXX");
    for settings in [&wrong_key, &settings] {
        for (library, program, script) in gateways() {
            let mut command = command(&program, script);
            let output = start(&mut command, settings, &lines(1, now_s())).wait_with_output().expect("it ends");
            assert_eq!(output.status.code(), Some(2), "{library:?}: {}", said(&output));
            assert!(said(&output).contains("Tell the administrator"), "{library:?}: {}", said(&output));
        }
        if let Some(mut shell) = shell() {
            let folder = tempfile::tempdir().expect("a directory");
            fs::write(folder.path().join("a.json"), "{}").expect("written");
            shell.arg(root().join("examples/shell/publish.sh")).arg("a.json").current_dir(folder.path());
            let output = start(&mut shell, settings, "").wait_with_output().expect("it ends");
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            assert!(folder.path().join("a.json").exists(), "what was not settled is kept");
        }
        if settings.last() == wrong_key.last() {
            facility.post(&format!("/admin/v1/integrations/{}/revoke", sender.id), json!({})).await.expect(200);
        }
    }
}

/// `sh` with the folder of the mosquitto clients on its path; none where they are not to be had.
fn shell() -> Option<Command> {
    let mosquitto = mosquitto::command("mosquitto_pub")?;
    let folder = Path::new(mosquitto.get_program()).parent().expect("a folder");
    let path = std::env::join_paths(
        [folder.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut shell = Command::new("sh");
    shell.env("PATH", path.expect("paths without a colon"));
    shell.envs(mosquitto.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(shell)
}

// The example in shell: good files are delivered and removed, a broken one is told and removed.
#[tokio::test(flavor = "multi_thread")]
async fn the_shell_script_delivers_its_files() {
    let Some(mut shell) = shell() else { return };
    let (facility, sender, settings) = demo(&[]).await;
    let folder = tempfile::tempdir().expect("a directory");
    let file = |name: &str, value: f64, at_s: i64| {
        let reading = json!({"external_id": EXTERNAL_ID, "metric": "temperature", "value": value, "timestamp": at_s});
        fs::write(folder.path().join(name), json!({"readings": [reading]}).to_string()).expect("written");
    };
    file("a.json", 20.0, now_s() - 1);
    file("b c.json", 21.0, now_s());
    file("broken.json", 999.0, now_s());
    let script = root().join("examples/shell/publish.sh");
    shell.arg(script).args(["a.json", "b c.json", "broken.json"]).current_dir(folder.path());
    let output = start(&mut shell, &settings, "").wait_with_output().expect("it ends");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("a.json: stored") && said.contains("b c.json: stored"), "{said}");
    assert!(said.contains("broken.json: {") && said.contains("value_out_of_range"), "{said}");
    assert!(fs::read_dir(folder.path()).expect("the directory").next().is_none(), "{said}");
    assert!(!said.contains(&sender.client_secret) && !said.contains(&sender.api_key), "no secret is printed");
    assert_eq!(facility.stored(&sender, EXTERNAL_ID, "temperature", 2).await.len(), 2);
}

/// The lines of a page's code block below `heading`.
fn block(page: &str, heading: &str) -> String {
    let text = fs::read_to_string(root().join(page)).expect("the page");
    let (_, below) = text.split_once(heading).expect("the heading");
    let (_, code) = below.split_once("```sh\n").expect("a code block");
    code.split_once("```").expect("its end").0.to_owned()
}

// The section "MQTT in five lines" works when pasted after `. demo.env`.
#[tokio::test(flavor = "multi_thread")]
async fn mqtt_in_five_lines_works_when_pasted() {
    let (facility, sender, settings) = demo(&[]).await;
    let folder = tempfile::tempdir().expect("a directory");
    let exports: String = settings.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    fs::write(folder.path().join("demo.env"), exports).expect("written");
    let code = block("README.md", "## MQTT in five lines");
    assert_eq!(code, block("docs/sending-over-mqtt.md", "## In five lines"), "one text in two places");
    let Some(mut shell) = shell() else { return };
    shell.current_dir(folder.path()).arg("-c").arg(format!(". ./demo.env\n{code}"));
    let output = start(&mut shell, &[], "").wait_with_output().expect("it ends");
    let said = said(&output);
    assert!(output.status.success() && said.contains("\"accepted\":1"), "{said}");
    assert_eq!(facility.stored(&sender, EXTERNAL_ID, "temperature", 1).await.len(), 1, "{said}");
}

// S229: over the limit the gateways wait, longer each time and never in step, and deliver everything once the window ends.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_wait_when_they_are_over_the_limit() {
    let (facility, sender, settings) = demo(&[]).await;
    facility.limit(&sender, 2).await;
    let Some((library, program, script)) = gateways().into_iter().next() else {
        return;
    };
    let input = lines(1_200, now_s() - 20_000);
    let output = start(&mut command(&program, script), &settings, &input).wait_with_output().expect("it ends");
    let said = said(&output);
    assert!(output.status.success(), "{library:?}: {said}");
    // Pauses of 1, 2, 4, … seconds fit into a window a handful of times, whatever stands in flight.
    let refusals = said.matches("over the limit").count();
    assert!((1..=32).contains(&refusals), "{refusals}: {said}");
    assert_eq!(facility.stored(&sender, EXTERNAL_ID, "temperature", 1_200).await.len(), 1_200);
}
