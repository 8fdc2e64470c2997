//! What is told of programs that hang or block, and what Ctrl-C does.

use std::future::pending;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corering::sync::{Event, Lock};
use corering::time::{sleep, timeout};
use corering::{Builder, RunError, cancel, spawn};

use crate::{Case, child_of, contains, run};

fn output(case: &Case) -> Result<String, String> {
    let arguments = child_of(case);
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]);
    run(command)
}

pub(crate) fn block_a_core() {
    let run = Builder::new().debug(true).run(async {
        let blocks = spawn(async {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(300) {
                std::hint::spin_loop();
            }
            eprintln!("gives way");
        });
        blocks.name("busy").await.expect("ends");
        sleep(Duration::from_millis(10)).await;
    });
    run.expect("ends");
}

/// It is named once, while it still runs.
pub(crate) fn is_named_while_it_blocks(case: &Case) -> Result<(), String> {
    let text = output(case)?;
    contains(&text, &["'busy' (spawned at tests/process/told.rs:", "without giving way, and still is"])?;
    let (told, over) = (text.find("still is"), text.find("gives way\n"));
    match (told, over) {
        (Some(told), Some(over)) if told < over && text.matches("giving way").count() == 1 => Ok(()),
        _ => Err(format!("told {told:?}, over {over:?}: {text}")),
    }
}

pub(crate) fn wait_for_oneself() {
    let run = Builder::new().debug(true).run(async {
        let lock = Lock::new(());
        let _held = lock.lock().await;
        timeout(Duration::from_millis(50), lock.lock()).await.expect_err("it is held");
        // Given to a future that is not polled any more, and asked for by the same task.
        let other = Lock::new(());
        let held = other.lock().await;
        let mut first = std::pin::pin!(other.lock());
        std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx).is_pending())).await;
        drop(held);
        timeout(Duration::from_millis(50), other.lock()).await.expect_err("it was given away");
    });
    run.expect("ends");
}

pub(crate) fn is_told(case: &Case) -> Result<(), String> {
    let text = output(case)?;
    contains(
        &text,
        &[
            "'main' (spawned at tests/process/told.rs:",
            "may wait for itself, for ever: it waits for Lock::lock, called at",
            "the task itself held it then",
            "it was given Lock::lock, called at",
        ],
    )
}

pub(crate) fn hang_by_main() {
    #[corering::main]
    async fn main() {
        Event::new().wait().await;
    }
    main();
}

/// The program of `#[corering::main]` prints the report and fails.
pub(crate) fn prints_the_report(case: &Case) -> Result<(), String> {
    let Err(text) = output(case) else {
        return Err("it has ended well".to_owned());
    };
    contains(&text, &["exit status: 1", "error: deadlock: nothing can ever run again", "Event::wait, called at"])
}

pub(crate) fn clean_up_after_ctrl_c() {
    let run = Builder::new().cancel_on_ctrl_c(true).run(async {
        spawn(cancel::finally(pending::<()>(), async {
            sleep(Duration::from_millis(5)).await;
            println!("the task is cleaned up");
        }));
        let cleanup = async {
            sleep(Duration::from_millis(5)).await;
            println!("main is cleaned up");
        };
        let work = async {
            println!("working");
            pending::<()>().await;
        };
        cancel::finally(work, cleanup).await;
    });
    println!("{run:?}");
    assert!(matches!(run, Err(RunError::Interrupted)));
    // The handler is the one of before.
    let again = Builder::new().cancel_on_ctrl_c(true).run(async { 1 });
    println!("again: {again:?}");
}

/// Sends Ctrl-C as often when the child says that it works.
pub(crate) fn interrupted(case: &Case, times: usize) -> Result<std::process::Output, String> {
    use std::io::{BufRead as _, BufReader, Read as _};
    let arguments = child_of(case);
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    for _ in 0..times {
        // Each time, the child says something when it is ready for it.
        lines.read_line(&mut text).map_err(|error| error.to_string())?;
        // SAFETY: takes no pointers; the child has not been waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    }
    lines.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let mut output = child.wait_with_output().map_err(|error| error.to_string())?;
    output.stdout = text.into_bytes();
    Ok(output)
}

pub(crate) fn is_cleaned_up_after(case: &Case) -> Result<(), String> {
    let text = crate::text_of(&interrupted(case, 1)?)?;
    contains(&text, &["main is cleaned up", "the task is cleaned up", "Err(Interrupted)", "again: Ok(1)"])
}

pub(crate) fn hang_in_cleanup() {
    let cleanup = async {
        println!("cleaning up");
        pending::<()>().await;
    };
    let work = async {
        println!("working");
        pending::<()>().await;
    };
    let run = Builder::new().cancel_on_ctrl_c(true).run(cancel::finally(work, cleanup));
    println!("{run:?}");
}

/// The second one ends the process by the signal.
pub(crate) fn is_ended_by_the_second(case: &Case) -> Result<(), String> {
    use std::os::unix::process::ExitStatusExt as _;
    let output = interrupted(case, 2)?;
    if output.status.signal() == Some(libc::SIGINT) {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stdout)))
}
