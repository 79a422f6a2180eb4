//! The program as users call it, and a server of canned pages.
#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Command, Output},
};

/// Runs the program.
pub fn istioctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_istioctl")).args(arguments).output().unwrap()
}

/// What the program prints when it succeeds.
pub fn shown(arguments: &[&str]) -> String {
    let output = istioctl(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the program says when it fails.
pub fn failure(arguments: &[&str]) -> String {
    let output = istioctl(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// Serves pages by their paths, 404 for others, until the test process ends; returns the address.
pub fn serve(pages: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
            let (status, body) = match pages.iter().find(|(page, _)| *page == path) {
                Some((_, body)) => ("200 OK", body.to_string()),
                None => ("404 Not Found", format!("no page {path}")),
            };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    address
}
