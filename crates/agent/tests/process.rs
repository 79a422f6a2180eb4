//! `pilot-agent` as a process: what it says before anything is started.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::process::{Command, Output};

fn pilot_agent(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilot-agent")).args(arguments).envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn a_setting_that_cannot_be_used_ends_it_with_the_name_of_the_setting() {
    for (name, value) in [("PROXY_CONFIG", "{concurrency: many}"), ("ECC_SIGNATURE_ALGORITHM", "P-1")] {
        let output = pilot_agent(&["proxy", "sidecar"], &[(name, value)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name}");
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn the_version_is_one_line() {
    let output = pilot_agent(&["version"], &[]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
}
