//! The examples of docs/cli.md, run in their order as they stand.

use std::process::{Command, Stdio};

use crate::support::{Facility, cli::Cli, facility::send, skip};

/// The blocks of the page that are for a shell, and by whom they are run.
fn examples(page: &str) -> Vec<(&str, &str)> {
    page.split("\n```sh")
        .skip(1)
        .filter_map(|rest| {
            let (who, rest) = rest.split_once('\n')?;
            Some((who.trim(), rest.split_once("\n```").expect("an end of the block").0))
        })
        .collect()
}

// Every command has an example that works.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_page_work() {
    if Command::new("jq").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("jq is not installed");
    }
    let facility = Facility::new().await;
    let [alice, bob] = Cli::of(&facility);
    // Something to find in the log.
    send(facility.client.get(format!("{}/v1/limits", facility.server.http_url))).await.expect(401);
    let folder = tempfile::tempdir().unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_sensorgate")).parent().expect("a folder");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([binary.to_owned()].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let page = include_str!("../../docs/cli.md");
    let examples = examples(page);
    assert!(examples.len() > 8, "{examples:?}");
    for (who, lines) in examples {
        let cli = if who == "bob" { &bob } else { &alice };
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", lines]).current_dir(folder.path());
        shell.envs(cli.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", &path);
        shell.env_remove("SENSORGATE_TOKEN");
        let output = shell.output().expect("a shell");
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{who} {lines}\n{said}\n{errors}");
    }
}
