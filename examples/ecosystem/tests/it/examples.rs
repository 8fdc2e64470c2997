//! The examples, run as programs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use crate::common::{Killed, example, program};
use crate::postgres;

#[test]
fn axum_answers_what_fetch_asks_and_ends_in_good_order() {
    let (Some(mut server), Some(mut fetch), Some(curl)) = (example("axum"), example("fetch"), program("curl")) else {
        return;
    };
    let server = server.arg("127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut server = Killed(server.expect("axum runs"));
    let mut lines = BufReader::new(server.0.stdout.take().expect("a pipe"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening on ").expect("where it listens").to_owned();

    let names = ["one", "two", "three"].map(|name| format!("http://{address}/hello/{name}"));
    let fetched = fetch.args(&names).output().expect("fetch runs");
    let text = String::from_utf8_lossy(&fetched.stdout).into_owned();
    assert!(fetched.status.success() && names.iter().all(|name| text.contains(&**name)), "{fetched:?}");
    let mut missing = example("fetch").expect("it was there");
    assert!(!missing.arg("http://127.0.0.1:1/").output().expect("fetch runs").status.success());

    for asked_before in 0..3 {
        let url = format!("http://{address}/sum");
        let head = "Content-Type: application/json";
        let mut asks = Command::new(&curl);
        let answer = asks.args(["--silent", "--fail", "-H", head, "-d", r#"{"numbers":[1.5,2.5]}"#]).arg(url).output();
        let answer = String::from_utf8_lossy(&answer.expect("curl runs").stdout).into_owned();
        assert_eq!(answer, format!(r#"{{"sum":4.0,"asked_before":{asked_before}}}"#));
    }

    assert!(
        Command::new("sh").arg("-c").arg(format!("kill -TERM {}", server.0.id())).status().expect("sh runs").success()
    );
    assert!(server.0.wait().expect("it ends").success());
    let mut errors = String::new();
    server.0.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
    assert_eq!(errors, "");
}

#[test]
fn within_tokio_tells_the_lengths_of_files() {
    let Some(mut tells) = example("within_tokio") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let paths: Vec<_> = (1..=20_usize)
        .map(|number| {
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, vec![0; number * 1000]).expect("room");
            path
        })
        .collect();
    let told = tells.args(paths).output().expect("it runs");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success() && text.lines().count() == 21 && text.ends_with(" 210000 in all\n"), "{told:?}");
    let mut tells = example("within_tokio").expect("it was there");
    assert!(!tells.arg("/nowhere/at/all").output().expect("it runs").status.success());
}

#[test]
fn query_prints_rows() {
    let (Some(mut query), Some(server)) = (example("query"), postgres::Server::get()) else { return };
    let asked = query.arg(server.configuration()).args(["SELECT 1, 'one' UNION SELECT 2, NULL ORDER BY 1", "SELECT 3"]);
    let told = asked.output().expect("query runs");
    assert!(told.status.success(), "{told:?}");
    assert_eq!(String::from_utf8_lossy(&told.stdout), "1\tone\n2\tNULL\n3\n");
}
